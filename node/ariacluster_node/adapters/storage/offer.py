"""What a node has of a download that another node may go on with, and reading it. Blocking."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.partial import Partial, PartialFile

from . import control
from .confinement import parts_below, real_folder, survey

log = structlog.get_logger()

MAX_SEGMENTS = 1024
"""Of one file; small holes travel along where there would be more."""

MAX_READ = 16 << 20
"""Bytes in one read: they are held in memory."""

_SMALL_HOLE = 64 << 10
"""Asking for what lies behind it costs more than the zeros."""


def offered(data: Path) -> Partial | None:
    """What lies in `data` with a control file that fits it, control files last; None if nothing does.

    A pair that does not fit is left out as a whole: without its control file it must not be resumed.
    """
    found = {os.path.relpath(entry.path, data): entry for entry in survey(data)}
    controls = {path for path in found if path.endswith(control.SUFFIX) and path.removesuffix(control.SUFFIX) in found}
    files: set[str] = set()
    kept: set[str] = set()
    for path in controls:
        top = path.removesuffix(control.SUFFIX)
        below = {top} if found[top].is_file() else {p for p in found if p.startswith(f"{top}/") and found[p].is_file()}
        why = _unfit(data, path, below - controls, single=found[top].is_file())
        if why:
            log.info("partial file left out", path=path, reason=why)
            continue
        files |= below - controls
        kept.add(path)
    if not files:
        return None
    return Partial(files=tuple(_file(data, path) for path in (*sorted(files), *sorted(kept))))


def single(partial: Partial | None) -> str | None:
    """The name of the file that `partial` is of, if it is of one alone, outside of any folder."""
    names = [file.path for file in partial.files if not file.path.endswith(control.SUFFIX)] if partial else []
    return names[0] if len(names) == 1 and "/" not in names[0] else None


def read(data: Path, file: PartialFile, offset: int, length: int) -> bytes:
    """So many bytes of `file`. `Unavailable` if it is no plain file below `data` of that length, or ends before."""
    if not 0 <= length <= MAX_READ or offset < 0 or offset + length > file.size:
        raise Unavailable(f"{file.path} has no such bytes; ask for at most {MAX_READ} of them.")
    path = below(data, file.path)
    with _Opened(path) as opened:
        if opened.size != file.size:
            raise Unavailable(f"{file.path} has changed its length; ask anew what there is.")
        parts: list[bytes] = []
        while length > 0 and (part := os.pread(opened.number, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
    if length:
        raise Unavailable(f"{file.path} ends before it should; ask anew what there is.")
    return b"".join(parts)


def below(data: Path, path: str) -> Path:
    """`path` below `data`, with plain folders on the way. `Unavailable` if it leads elsewhere or is not there."""
    try:
        parts = parts_below(path)
    except InvalidInput as error:
        raise Unavailable(error.detail) from None
    here = data
    for part in parts[:-1]:
        here = here / part
        if not real_folder(here):
            raise Unavailable(f"{path} is not there.")
    return here / parts[-1]


class _Opened:
    """A plain file, open for reading, and its length."""

    def __init__(self, path: Path) -> None:
        try:
            self.number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Unavailable(f"{path.name} is not there.") from None
        found = os.fstat(self.number)
        self.size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            os.close(self.number)
            raise Unavailable(f"{path.name} is not a plain file.")

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def _unfit(data: Path, path: str, files: set[str], *, single: bool) -> str:
    """Why a control file and what it belongs to cannot be resumed elsewhere; empty if they can."""
    try:
        for name in (path, *files):
            parts_below(name)
        sizes = [(data / name).lstat().st_size for name in files]
        if not any(sizes):
            return "nothing has come yet"
        fits((data / path).read_bytes(), sizes[0] if single else None)
    except (InvalidInput, Unavailable) as error:
        return error.detail
    return ""


def fits(held: bytes, size: int | None) -> None:
    """`Unavailable` if a control file is not whole, or claims more than a file of `size` bytes has (None: several)."""
    total, reach = control.needed(held)
    if size is not None and not reach <= size <= total:
        raise Unavailable(
            f"The control file claims {reach} of {total} bytes and the file has {size}. The download starts over."
        )


def _file(data: Path, path: str) -> PartialFile:
    with _Opened(data / path) as opened:
        return PartialFile(path=path, size=opened.size, segments=_merged(list(_segments(opened.number, opened.size))))


def _segments(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """What is not a hole. A file system that does not tell gives the whole file."""
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = min(size, os.lseek(fd, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = at, size
        if start >= size:
            return
        yield start, end - start
        at = end


def _merged(segments: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Without the holes that are too small, or too many, to matter."""
    hole = _SMALL_HOLE
    while True:
        kept: list[tuple[int, int]] = []
        for start, length in segments:
            if kept and start - sum(kept[-1]) < hole:
                start, length = kept[-1][0], start + length - kept[-1][0]
                kept.pop()
            kept.append((start, length))
        if len(kept) <= MAX_SEGMENTS:
            return tuple(kept)
        hole *= 2
