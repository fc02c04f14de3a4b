"""Was the machine away? Clocks that count a suspended machine's time against what was meant to pass."""

import time

SLEPT = 10.0
"""Seconds beyond what was meant to pass that are no busy moment any more."""


def clocks() -> tuple[float, ...]:
    """Seconds of each clock that may tell. Time asleep is counted by Linux's CLOCK_BOOTTIME and by the clock on the wall, a
    virtual machine's standstill by the latter at best, that of a frozen process by every one."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only
    return (time.monotonic(), time.time(), *([] if boot is None else [time.clock_gettime(boot)]))


class Sleep:
    """Asked once a period, tells how long the machine was away. A clock that is set forward looks the same: that costs a
    question too many."""

    def __init__(self) -> None:
        self._before = clocks()

    def seconds(self, period: float) -> float:
        """Since the last call, beyond the `period` (s) that was meant to pass; 0 if it was awake."""
        before, self._before = self._before, clocks()
        away = max(now - then for now, then in zip(self._before, before, strict=True)) - period
        return away if away > SLEPT else 0.0
