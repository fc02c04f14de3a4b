"""Uploaded documents without a disk and without a network."""

import hashlib
from typing import TYPE_CHECKING

from ariacluster.domain.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from ariacluster_node.services.documents import Documents


class FakeDocumentStore:
    """Fills `DocumentStore`. `full`: the disk takes no more."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.full = False

    async def put(self, digest: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != digest:
            raise InvalidInput("This document is not what it is called.")
        if self.full:
            raise Unavailable("The disk is full.")
        self.kept[digest] = data

    async def get(self, digest: str) -> bytes | None:
        return self.kept.get(digest)

    async def known(self) -> set[str]:
        return set(self.kept)

    async def remove(self, digest: str) -> None:
        self.kept.pop(digest, None)


class FakeDocumentPeers:
    """Fills `DocumentPeers` among the nodes of one test: `doors` by `host:port`. Those in `cut` do not answer."""

    def __init__(self) -> None:
        self.doors: dict[str, Documents] = {}
        self.cut: set[str] = set()

    async def push(self, door: str, digest: str, data: bytes) -> None:
        await self._of(door).accept(digest, data)

    async def fetch(self, door: str, digest: str) -> bytes:
        return await self._of(door).give(digest)

    def _of(self, door: str) -> "Documents":
        if door in self.cut or door not in self.doors:
            raise Unavailable(f"{door} does not answer.")
        return self.doors[door]
