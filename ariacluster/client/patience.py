"""How long to try again, and how often: an election takes a second, a node that is down stays down."""

import random
import time

FIRST_PAUSE = 0.1
"""Seconds before the second try; doubled for each further one."""

LONGEST_PAUSE = 1.0
"""Seconds: a leader is elected within about one, so a longer pause would only add to the wait."""


class Patience:
    """One call's budget of `seconds`. Pauses double, with jitter so that many callers do not return as one."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._pause = FIRST_PAUSE
        self.tries = 0

    @property
    def left(self) -> float:
        """Seconds until the budget is spent; never negative."""
        return max(0.0, self._ends - time.monotonic())

    def next_pause(self) -> float | None:
        """Seconds to wait before the next try; None if it would begin after the budget is spent."""
        self.tries += 1
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
        return pause if pause < self.left else None
