"""Nothing that a download brings, and nothing that a task asks for, leads out of the download folder. Blocking."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ariacluster.domain.errors import InvalidInput, Unavailable

STAGING = ".ariacluster"
"""The folder below the download folder that belongs to the cluster; on the same disk, so that publishing is a rename."""


MAX_NAME_BYTES = 255
"""NAME_MAX of every file system that matters."""

_MAX_DEPTH = 64


def parts_of(dir: str) -> tuple[str, ...]:
    """The parts of a task's `dir`, or `Unavailable` if they do not stay below the download folder."""
    pure = PurePosixPath(dir)
    if pure.is_absolute() or ".." in pure.parts or "\0" in dir:
        raise Unavailable(f"The folder {dir!r} leads out of the download folder; give a relative one without '..'.")
    if pure.parts[:1] == (STAGING,):
        raise Unavailable(f"The folder {dir!r} is reserved for the cluster; choose another one.")
    return pure.parts


def parts_below(path: str) -> tuple[str, ...]:
    """The parts of the path of a file below a task's data folder, as another node tells it. `InvalidInput` if it leads out,
    is reserved, or is no name that every node can have."""
    parts = tuple(path.split("/"))
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise InvalidInput("A path of the download is not UTF-8.", field="files") from None
    if {"", ".", ".."} & set(parts) or "\0" in path or parts[0] == STAGING:
        raise InvalidInput(f"{path!r} does not stay in the folder of its task.", field="files")
    if max(lengths) > MAX_NAME_BYTES or len(parts) > _MAX_DEPTH:
        raise InvalidInput(f"The path {path[:80]!r}… is too long or too deep.", field="files")
    return parts


def missing_folders(root: Path, dir: str) -> list[str]:
    """The folders on the way to `root/dir` that are still to be made, outermost first, relative to `root`.

    Raises `Unavailable` if a symbolic link on the way leads out of `root`, or something that is no folder stands there.
    """
    parts = parts_of(dir)
    if not parts:
        return []
    inside = root.resolve()
    reserved = inside / STAGING
    here = root
    missing: list[str] = []
    for part in parts:
        here = here / part
        if missing or not os.path.lexists(here):
            missing.append(str(here.relative_to(root)))
            continue
        real = here.resolve()
        if not real.is_relative_to(inside) or real.is_relative_to(reserved):
            raise Unavailable(
                f"{here} is a link that leads out of the download folder; remove it or choose another dir."
            )
        if not here.is_dir():
            raise Unavailable(f"{here} is not a folder; move it away or choose another dir for the task.")
    return missing


def real_folder(path: Path) -> bool:
    """Is `path` a folder? `Unavailable` if it is a link or anything else, False if there is nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise Unavailable(f"{path} must be a plain folder and is not; remove it.")
    return True


def survey(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below `folder`, depth first and by name. `Unavailable` at anything but a plain file or folder."""
    left = _last_first(folder)
    while left:  # not by recursion: a torrent may nest folders deeper than Python nests calls
        entry = left.pop()
        if entry.is_dir(follow_symlinks=False):
            yield entry
            left += _last_first(entry)
        elif entry.is_file(follow_symlinks=False):
            yield entry
        else:
            raise Unavailable(f"{entry.path} is neither a file nor a folder (a link?); it is not touched. Remove it.")


def remove(path: Path) -> None:
    """Remove a file, a link (not what it leads to) or a whole folder, however deep; nothing there is fine. Raises `OSError`."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    folders = [os.fspath(path)]
    for folder in folders:
        for entry in _last_first(folder):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                os.unlink(entry.path)
    for folder in reversed(folders):
        os.rmdir(folder)


def _last_first(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        return sorted(found, key=lambda entry: entry.name, reverse=True)
