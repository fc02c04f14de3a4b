"""The clocks of this machine."""

import time


class SystemClock:
    """Fills `Clock`."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()
