"""A download on its way here from another node, until it can be resumed. Blocking.

Its data files lie where aria2 will look for them; its control files lie aside until every byte of the data is on the disk,
and are then renamed into their places. At whatever moment this ends, a data file without its control file is dropped
when the folder is opened next, and one with it is whole.
"""

import bisect
import os
import threading
from pathlib import Path

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.partial import Partial, PartialFile

from . import control, offer
from .confinement import parts_below
from .durable import settle

ASIDE = "arriving"
"""Beside the data folder: the control files that have no place yet."""

MAX_FILES = 100_000
MAX_SIZE = 1 << 50
"""Bytes of one file."""


class Arrival:
    """Made when the folders are empty; used by many threads. After `end` nothing is written any more, however late."""

    def __init__(self, folder: Path, data: Path, partial: Partial) -> None:
        self._folder = folder
        self._data = data
        self._partial = partial
        controls = controls_of(partial)
        self._places: dict[str, Path] = {}
        for number, file in enumerate(partial.files):
            self._places[file.path] = folder / ASIDE / str(number) if file.path in controls else data / file.path
        self._files = {file.path: file for file in partial.files}
        self._controls = [file for file in partial.files if file.path in controls]
        self._came: dict[str, list[tuple[int, int]]] = {file.path: [] for file in partial.files}
        self._lock = threading.Lock()
        self._ended = False

    def make(self) -> None:
        """Make the files, empty and of full length."""
        room = os.statvfs(self._folder)
        if room.f_bavail * room.f_frsize < self._partial.length:
            raise Unavailable(f"{self._partial.length} bytes are to come, and the disk has no room for them.")
        (self._folder / ASIDE).mkdir()
        for file in self._partial.files:
            place = self._places[file.path]
            place.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                os.ftruncate(fd, file.size)
            finally:
                os.close(fd)

    def write(self, file: PartialFile, offset: int, data: bytes) -> None:
        if self._files.get(file.path) != file or offset < 0 or offset + len(data) > file.size:
            raise Unavailable(f"These bytes have no place in {file.path}.")
        with self._lock:
            self._check_open()
            fd = os.open(self._places[file.path], os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                at, left = offset, memoryview(data)
                while left:
                    wrote = os.pwrite(fd, left, at)
                    at, left = at + wrote, left[wrote:]
            finally:
                os.close(fd)
            _note(self._came[file.path], offset, offset + len(data))

    def finish(self, partial: Partial) -> None:
        """Check, bring to the disk, and put the control files in place. No more is written afterwards."""
        if partial != self._partial:
            raise Unavailable("This is not what is being received; begin again.")
        with self._lock:
            self._check_open()
            for file in self._partial.files:
                if not all(_covers(self._came[file.path], start, start + length) for start, length in file.segments):
                    raise Unavailable(f"Not all bytes of {file.path} have come.")
                if self._places[file.path].lstat().st_size != file.size:
                    raise Unavailable(f"{file.path} has not the length that it should have.")
            for file in self._controls:
                single = self._files.get(file.path.removesuffix(control.SUFFIX))
                offer.fits(self._places[file.path].read_bytes(), single.size if single else None)
            self._ended = True
            for file in self._partial.files:
                settle(self._places[file.path])
            folders = {parent for file in self._partial.files for parent in _folders(self._data, file.path)}
            for folder in folders:
                settle(folder)
            settle(self._folder)
            for file in self._controls:
                os.replace(self._places[file.path], self._data / file.path)
            for folder in folders:
                settle(folder)
            (self._folder / ASIDE).rmdir()

    def end(self) -> None:
        """Whoever writes still is waited for; whoever comes later is refused. Idempotent."""
        with self._lock:
            self._ended = True

    def _check_open(self) -> None:
        if self._ended:
            raise Unavailable("Nothing is being received for this task any more.")


def check(partial: Partial) -> None:
    """`InvalidInput` if another node told of what no download leaves: paths that lead out, lengths that do not fit, files that
    could not be resumed."""
    if not 0 < len(partial.files) <= MAX_FILES:
        raise _invalid(f"there are {len(partial.files)} files")
    controls = controls_of(partial)
    paths: set[str] = set()
    above: set[str] = set()
    for file in partial.files:
        parts = parts_below(file.path)
        if file.path in paths:
            raise _invalid(f"{file.path!r} is there twice")
        paths.add(file.path)
        tops = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        above.update(tops[:-1])
        if file.path not in controls and not any(top + control.SUFFIX in controls for top in tops):
            raise _invalid(f"{file.path!r} has no control file with it")
        _check_lengths(file, control.MAX_BYTES if file.path in controls else MAX_SIZE)
    if clash := above & paths:
        raise _invalid(f"{min(clash)!r} is a file and a folder")
    if controls == paths:
        raise _invalid("there is no file but control files")


def controls_of(partial: Partial) -> set[str]:
    """Which of its files are the control file of another one, or of a folder of others."""
    tops: set[str] = set()
    for file in partial.files:
        parts = file.path.split("/")
        tops.update("/".join(parts[: n + 1]) for n in range(len(parts)))
    named = {file.path for file in partial.files if file.path.endswith(control.SUFFIX)}
    return {path for path in named if path.removesuffix(control.SUFFIX) in tops}


def _check_lengths(file: PartialFile, longest: int) -> None:
    if not 0 <= file.size <= longest or len(file.segments) > offer.MAX_SEGMENTS:
        raise _invalid(f"{file.path!r} has {file.size} bytes in {len(file.segments)} segments")
    end = 0
    for start, length in file.segments:
        if start < end or length <= 0 or start + length > file.size:
            raise _invalid(f"the segments of {file.path!r} do not fit its length")
        end = start + length


def _invalid(why: str) -> InvalidInput:
    return InvalidInput(f"What the other node has cannot be taken: {why}.", field="files")


def _folders(data: Path, path: str) -> list[Path]:
    """From `data` to the folder that `path` lies in."""
    parts = parts_below(path)[:-1]
    return [data.joinpath(*parts[:n]) for n in range(len(parts) + 1)]


def _note(spans: list[tuple[int, int]], start: int, end: int) -> None:
    """Add [start, end) to what has come; `spans` stays sorted, and none touches another."""
    first = bisect.bisect_left(spans, start, key=lambda span: span[1])
    last = bisect.bisect_right(spans, end, key=lambda span: span[0])
    if first < last:
        start, end = min(start, spans[first][0]), max(end, spans[last - 1][1])
    spans[first:last] = [(start, end)]


def _covers(spans: list[tuple[int, int]], start: int, end: int) -> bool:
    at = bisect.bisect_right(spans, start, key=lambda span: span[0]) - 1
    return at >= 0 and spans[at][1] >= end
