"""Virtual time: what is to happen when. Events of one instant happen in the order in which they were entered."""

import heapq
from collections.abc import Callable
from typing import Any

Call = Callable[..., None]


class Timeline:
    """Seconds, from 0 on. Nothing is ever taken out: an event looks for itself whether it still makes sense."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events = 0
        """How many have happened so far."""
        self._queue: list[tuple[float, int, Call, tuple[Any, ...]]] = []
        self._entered = 0

    def at(self, when: float, call: Call, *arguments: Any) -> None:
        """`call` at `when`; at once, but not before this returns, if that is over."""
        self._entered += 1
        heapq.heappush(self._queue, (max(when, self.now), self._entered, call, arguments))

    def after(self, delay_s: float, call: Call, *arguments: Any) -> None:
        self.at(self.now + delay_s, call, *arguments)

    def run_until(self, end: float) -> None:
        """All that happens up to `end`; it is `end` then."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, call, arguments = heapq.heappop(queue)
            self.events += 1
            call(*arguments)
        self.now = end
