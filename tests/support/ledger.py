"""The simplest state machine: it remembers what it was told, and refuses to swallow one thing."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

BOOM = b"boom"
FOREIGN = b"foreign"
"""What begins with it is not admitted."""
ROWS = 16
"""Entries in one chunk of a snapshot: few, so that small tests have many chunks."""


class Ledger:
    """Applied payloads in order. Raises at `BOOM`, against the rules, and does not remember it."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.last = 0
        self.restored = 0
        """How many times a snapshot was put in place."""

    def apply(self, index: int, payload: bytes) -> None:
        assert index > self.last, f"{index} came after {self.last}"
        self.last = index
        if payload == BOOM:
            raise RuntimeError("no machine should do this")
        self.entries.append(payload)

    def admits(self, payload: bytes) -> bool:
        return not payload.startswith(FOREIGN)

    def snapshot(self) -> Callable[[], Iterable[bytes]]:
        last, entries = self.last, self.entries.copy()

        def chunks() -> Iterator[bytes]:
            yield msgspec.msgpack.encode((last, len(entries)))
            for start in range(0, len(entries), ROWS):
                yield msgspec.msgpack.encode(entries[start : start + ROWS])

        return chunks

    def load(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        head, *rows = chunks
        last, count = msgspec.msgpack.decode(head, type=tuple[int, int])
        entries = [entry for row in rows for entry in msgspec.msgpack.decode(row, type=list[bytes])]
        if len(entries) != count:
            raise ValueError("the snapshot is not whole")

        def put() -> None:
            assert last >= self.last, f"a snapshot of {last} came after {self.last}"
            self.last, self.entries = last, entries
            self.restored += 1

        return put
