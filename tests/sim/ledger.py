"""The replicated state machine of the simulation: which command ids took effect, in order.

A payload names a command and the attempt at it: `id/attempt/filler`. An id takes effect the first time that it is applied,
as in the table of tasks; every payload that is applied changes the digest, so that two ledgers tell whether they went the
same way.
"""

import zlib
from collections.abc import Iterable, Iterator

import msgspec

CHUNK_IDS = 40


class Head(msgspec.Struct, frozen=True, array_like=True):
    """How many payloads were applied, the index of the last one, and the digest of them all."""

    position: int
    index: int
    digest: int


_head = msgspec.msgpack.Decoder(Head)
_ids = msgspec.msgpack.Decoder(list[str])


def payload_of(command: str, attempt: int, filler: bytes) -> bytes:
    return b"%s/%d/%s" % (command.encode(), attempt, filler)


def command_of(payload: bytes) -> str:
    return payload.split(b"/", 1)[0].decode()


class Ledger:
    """One copy of it."""

    def __init__(self) -> None:
        self.head = Head(0, 0, 0)
        self.effects: list[str] = []
        self._known: set[str] = set()

    def apply(self, index: int, payload: bytes) -> bool:
        """Whether it had an effect: false for an id that had one before."""
        self.head = Head(self.head.position + 1, index, zlib.crc32(payload, self.head.digest ^ index))
        command = command_of(payload)
        if self.is_known(command):
            return False
        self._known.add(command)
        self.effects.append(command)
        return True

    def is_known(self, command: str) -> bool:
        return command in self._known

    def frozen(self) -> Iterator[bytes]:
        """The state as it is now, as chunks that may be made later."""
        return _encoded(self.head, tuple(self.effects))

    @classmethod
    def thawed(cls, chunks: Iterable[bytes]) -> "Ledger":
        self, pieces = cls(), iter(chunks)
        self.head = _head.decode(next(pieces))
        for piece in pieces:
            self.effects += _ids.decode(piece)
        self._known = set(self.effects)
        return self


def _encoded(head: Head, effects: tuple[str, ...]) -> Iterator[bytes]:
    yield msgspec.msgpack.encode(head)
    for start in range(0, len(effects), CHUNK_IDS):
        yield msgspec.msgpack.encode(effects[start : start + CHUNK_IDS])
