"""How many things end per second, lately. Pure."""

import math
from typing import NamedTuple

LATELY_S = 10.0
"""Seconds after which what was counts for a third."""


class Pace(NamedTuple):
    """Per second, as of `at` (seconds of a clock that never goes back)."""

    rate: float = 0.0
    at: float = 0.0

    def after(self, ended: int, now: float) -> "Pace":
        """So many have ended since."""
        return Pace(self.rate * math.exp(-max(0.0, now - self.at) / LATELY_S) + ended / LATELY_S, now)
