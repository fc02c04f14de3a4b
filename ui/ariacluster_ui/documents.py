"""Torrents and Metalinks that were dropped on a page, kept until their dialog is said yes to."""

import asyncio
import base64
import secrets
import time
from typing import NamedTuple

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import InvalidInput, PayloadTooLarge
from ariacluster.domain.metalink import read_metalink
from ariacluster.domain.torrent import read_torrent

KEPT_FOR = 1800.0
"""Seconds until one that nobody came back for is let go of."""

KEPT_BYTES = 64 * 1024 * 1024
"""Of all together; the oldest go first."""


class Kept(NamedTuple):
    kind: str
    name: str
    size: int
    data: bytes
    until: float


class Documents:
    """By a token, which only the page that brought it knows."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    async def keep(self, data: bytes) -> tuple[str, Kept]:
        """`PayloadTooLarge`, or `InvalidInput` with a sentence if it is neither a torrent nor a Metalink."""
        if len(data) > MAX_DOCUMENT:
            raise PayloadTooLarge(f"It is larger than {MAX_DOCUMENT // 2**20} MiB, the most that a node takes.")
        kept = await asyncio.to_thread(_read, data)
        token = secrets.token_hex(16)
        self._kept[token] = kept
        self._tidy()
        return token, kept

    def take(self, token: str) -> Kept:
        """`InvalidInput` if it is not kept any more."""
        kept = self._kept.get(token)
        if kept is None:
            raise InvalidInput("This file was not kept any longer; drop it once more.", field="files")
        return kept

    def drop(self, token: str) -> None:
        self._kept.pop(token, None)

    def _tidy(self) -> None:
        now = time.monotonic()
        for token in [token for token, kept in self._kept.items() if kept.until < now]:
            del self._kept[token]
        while sum(len(kept.data) for kept in self._kept.values()) > KEPT_BYTES:
            del self._kept[next(iter(self._kept))]


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(data: bytes) -> Kept:
    until = time.monotonic() + KEPT_FOR
    if data[:1] == b"d":
        torrent = read_torrent(data)
        return Kept("torrent", torrent.name, torrent.size, data, until)
    link = read_metalink(data)
    name = link.files[0].name if len(link.files) == 1 else f"{link.files[0].name} and {len(link.files) - 1} more"
    return Kept("metalink", name, link.size, data, until)
