"""Carries work from the raft thread to the event loop, in the order in which it was posted."""

import asyncio
import collections
from collections.abc import Callable, Iterable
from typing import Any

import structlog

log = structlog.get_logger()

SLICE_S = 0.005
"""How long one turn may hold the loop: a replay of thousands of entries must not starve the API."""

Call = Callable[[], "asyncio.Future[Any] | None"]


class Inbox:
    """Calls posted from any thread run on the loop, one after the other; one that raises is logged and passed over.

    A call that answers a future holds those behind it back until the future is done; for ever if it is cancelled.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[Call] = collections.deque()
        self._armed = False
        self._waits = False
        self._closed = False

    def close(self) -> None:
        """On the loop: nothing that was posted runs any more."""
        self._closed = True
        self._calls.clear()

    def post(self, calls: Iterable[Call]) -> None:
        """Run them on the loop after all that was posted before. Never raises, never waits; from any thread."""
        if self._closed:
            return
        self._calls.extend(calls)
        if not self._armed:
            self._armed = True
            try:
                self._loop.call_soon_threadsafe(self._pump)
            except RuntimeError:  # the loop is closed: nobody is left to hear it
                return

    def _pump(self) -> None:
        self._armed = False  # before the first look at the queue: who posts after the last look arms it again
        until = self._loop.time() + SLICE_S
        while self._calls and not self._waits and not self._closed:
            try:
                pending = self._calls.popleft()()
            except Exception:
                log.exception("a call from the raft thread failed")
                continue
            if pending is not None:
                self._waits = True
                pending.add_done_callback(self._go_on)
            elif self._loop.time() > until:
                self._armed = True
                self._loop.call_soon(self._pump)
                return

    def _go_on(self, done: "asyncio.Future[Any]") -> None:
        if done.cancelled():  # the loop ends
            return
        if (error := done.exception()) is not None:
            log.error("a call from the raft thread failed", exc_info=error)
        self._waits = False
        self._pump()
