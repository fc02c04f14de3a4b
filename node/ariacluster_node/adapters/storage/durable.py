"""Writing so that a power loss leaves the old or the new, never a half. Blocking: for threads only."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data` in one step that survives a power loss. Raises `OSError`; `path` is whole in any case."""
    fresh = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(fresh, flags, mode)
    except FileExistsError:  # of a write that a crash cut short: its mode may be another
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, flags, mode)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)
    settle(path.parent)


def settle(path: Path) -> None:
    """fsync a file or a folder: what it holds is on the disk afterwards. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
