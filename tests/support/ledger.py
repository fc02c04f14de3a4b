"""The simplest state machine: it remembers what it was told, and refuses to swallow one thing."""

from collections.abc import Callable

import msgspec

BOOM = b"boom"


class Ledger:
    """Applied payloads in order. Raises at `BOOM`, against the rules, and does not remember it."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.last = 0
        self.restored = 0
        """How many times a snapshot was restored."""

    def apply(self, index: int, payload: bytes) -> None:
        assert index > self.last, f"{index} came after {self.last}"
        self.last = index
        if payload == BOOM:
            raise RuntimeError("no machine should do this")
        self.entries.append(payload)

    def snapshot(self) -> Callable[[], bytes]:
        frozen = self.last, self.entries.copy()
        return lambda: msgspec.msgpack.encode(frozen)

    def restore(self, data: bytes) -> None:
        self.last, self.entries = msgspec.msgpack.decode(data, type=tuple[int, list[bytes]])
        self.restored += 1
