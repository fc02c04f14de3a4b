"""A download that is not whole, as one node tells another of it."""

import msgspec


class PartialFile(msgspec.Struct, frozen=True, gc=False):
    """A file of it: path below the data folder of the task, length, and the segments (offset, length) that are not holes."""

    path: str
    size: int
    segments: tuple[tuple[int, int], ...]

    @property
    def length(self) -> int:
        """Bytes that have to travel."""
        return sum(length for _, length in self.segments)


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, aria2's control files last: without them the rest must not be resumed."""

    files: tuple[PartialFile, ...]

    @property
    def length(self) -> int:
        """Bytes that have to travel."""
        return sum(file.length for file in self.files)
