"""One reader of the node's events: what it wants to hear, and a bounded buffer of what it has not read yet."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

import msgspec

from ariacluster.wire.events import Bye, Frame, History

MAX_BUFFER = 1024 * 1024
"""Bytes that wait for a reader: some minutes of everything. Who leaves more unread is too slow to be told anything."""

MAX_WAITING = 4_096
"""Frames that wait for a reader, however small they are."""


AT_ONCE = 256
"""Frames of what a reader has missed that are made at a time: about 2 ms."""


class Encoded:
    """A frame as bytes, made once for all who want the same. `seq`: its number, if it has one."""

    def __init__(self, kind: str, json: bytes, seq: int | None = None) -> None:
        self.kind = kind
        self.json = json
        self.seq = seq

    @cached_property
    def sse(self) -> bytes:
        """As a server-sent event (WHATWG HTML, section 9.2.6). JSON has no line breaks of its own."""
        number = b"" if self.seq is None else b"id: %d\n" % self.seq
        return b"%sevent: %s\ndata: %s\n\n" % (number, self.kind.encode(), self.json)


def encoded(frame: Frame) -> Encoded:
    kind = str(type(frame).__struct_config__.tag)
    return Encoded(kind, msgspec.json.encode(frame), frame.entry.seq if isinstance(frame, History) else None)


class Subscription:
    """What one reader is told. `fresh`: the watched tasks of which it knows nothing yet; `knows_nodes`, `knows_summary`: it has
    been told once, so that from now on changes will do."""

    def __init__(self, topics: Iterable[str], *, watch: Iterable[str] = (), top: int = 0) -> None:
        self.topics = frozenset(topics)
        self.watched: frozenset[str] = frozenset()
        self.fresh: set[str] = set()
        self.top = 0
        self.knows_nodes = self.knows_summary = False
        self.ended = False
        self.why = ""
        """The code with which it ended."""
        self._owed: Iterator[Encoded] = iter(())
        self._frames: deque[Encoded] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self.follow(watch, top)

    def follow(self, watch: Iterable[str], top: int) -> None:
        """These tasks from now on, in place of those before."""
        before, self.watched = self.watched, frozenset(watch)
        self.fresh = (self.fresh & self.watched) | (self.watched - before)
        if top != self.top:
            self.top, self.knows_summary = top, False

    def owe(self, frames: Iterator[Encoded]) -> None:
        """The reader is to be told these before all else: they are made as it reads, and count for no buffer."""
        self._owed = frames

    def put(self, frame: Encoded) -> None:
        """The reader is to be told this. One that is too slow is told so instead, and nothing more."""
        if self.ended:
            return
        self._frames.append(frame)
        self._size += len(frame.json)
        if self._size > MAX_BUFFER or len(self._frames) > MAX_WAITING:
            self._frames.clear()
            self.end("slow_reader", "You read more slowly than things happen here; subscribe anew.")
        self._news.set()

    def end(self, code: str, reason: str) -> None:
        """Nothing comes after this."""
        if not self.ended:
            self._frames.append(encoded(Bye(code=code, reason=reason)))
            self.ended, self.why = True, code
            self._news.set()

    async def next(self, at_most: float) -> list[Encoded]:
        """Wait for what is new, for so many seconds; all of it, in order. Empty if nothing is. After the end: `EOFError`."""
        if owed := list(islice(self._owed, AT_ONCE)):
            return owed
        if not self._frames and not self.ended:
            self._news.clear()
            try:
                async with asyncio.timeout(at_most):
                    await self._news.wait()
            except TimeoutError:
                return []
        if not self._frames:
            raise EOFError
        waiting = list(self._frames)
        self._frames.clear()
        self._size = 0
        return waiting
