"""Carries work from the raft thread to the event loop, in the order in which it was posted."""

import asyncio
import collections
import concurrent.futures
import contextlib
from collections.abc import Callable
from typing import TypeVar

import structlog

log = structlog.get_logger()

SLICE_S = 0.005
"""How long one turn may hold the loop: a replay of thousands of entries must not starve the API."""

_T = TypeVar("_T")


class Inbox:
    """Calls posted from any thread run on the loop, one after the other; one that raises is logged and passed over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._armed = False

    def post(self, call: Callable[[], None]) -> None:
        """Run `call` on the loop after all that was posted before. Never raises, never waits; from any thread."""
        self._calls.append(call)
        if not self._armed:
            self._armed = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
                self._loop.call_soon_threadsafe(self._pump)

    def ask(self, question: Callable[[], _T], *, timeout: float) -> _T:
        """From the raft thread only: the answer of `question` on the loop, after all that was posted before.

        Raises what it raises, and `TimeoutError` after `timeout` seconds. The loop must never wait for the thread meanwhile.
        """
        answer: concurrent.futures.Future[_T] = concurrent.futures.Future()

        def reply() -> None:
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)

        self.post(reply)
        return answer.result(timeout)

    def _pump(self) -> None:
        self._armed = False  # before the first look at the queue: who posts after the last look arms it again
        until = self._loop.time() + SLICE_S
        while self._calls:
            try:
                self._calls.popleft()()
            except Exception:
                log.exception("a call from the raft thread failed")
            if self._loop.time() > until:
                self._armed = True
                self._loop.call_soon(self._pump)
                return
