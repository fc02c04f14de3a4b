"""The calls by which bytes come to the disk: one folder of plain files, and nothing else of this adapter opens one.

What POSIX promises, and no more: written bytes are on disk after `File.sync`, a new name, a rename or a removal after
`Disk.sync_folder`; before that a power cut may keep any part of them. A killed process loses nothing it has written.
"""

import os
from pathlib import Path
from typing import Final, Protocol

Data = bytes | bytearray | memoryview


class DiskFailed(Exception):
    """The log could not be written. The sentence is for a person; nothing may go on after it."""


class File(Protocol):
    """A file that is written at its end."""

    def write(self, data: Data) -> None:
        """All of it, or `OSError` with any beginning of it written."""

    def sync(self) -> None:
        """All that was written is on disk. After an `OSError` nobody can tell, and a second try would not find out."""

    def close(self) -> None:
        """Idempotent; does not sync."""


class Reader(Protocol):
    """A file held open for reading: it stays as it is, even if its name is removed or goes to another."""

    size: int

    def pread(self, offset: int, size: int) -> bytes:
        """Fewer bytes only at the end."""

    def close(self) -> None:
        """Idempotent."""


class Disk:
    """The files of one folder, which exists, by their names. All raise `OSError`; tests put another in its place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Of all files, sorted."""
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_file(follow_symlinks=False))

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def open_read(self, name: str) -> Reader:
        return _Reader(os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC))

    def create(self, name: str) -> File:
        """A new empty file; one that has the name already is emptied."""
        return _File(
            os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        )

    def append(self, name: str) -> File:
        """The file as it is; `FileNotFoundError` if there is none."""
        return _File(os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))

    def truncate(self, name: str, size: int) -> None:
        """The file ends there, on disk when it returns."""
        file = os.open(self.folder / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(file, size)
            os.fsync(file)
        finally:
            os.close(file)

    def rename(self, old: str, new: str) -> None:
        """In one step; what had the new name is gone."""
        os.replace(self.folder / old, self.folder / new)

    def remove(self, name: str) -> None:
        os.unlink(self.folder / name)

    def sync_folder(self) -> None:
        """All names are on disk as they are now."""
        folder = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


_sync: Final = getattr(os, "fdatasync", os.fsync)


class _File:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: Data) -> None:
        written = os.write(self._fd, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def sync(self) -> None:
        _sync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class _Reader:
    __slots__ = ("_fd", "size")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def pread(self, offset: int, size: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()  # of what was opened to be read later, and never was
