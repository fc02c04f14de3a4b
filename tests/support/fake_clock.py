"""A clock that a test moves."""


class FakeClock:
    """Fills `Clock`. It stands still until `advance`; `jump` moves what people call the time, and nothing else."""

    def __init__(self) -> None:
        self._now_ms = 1_700_000_000_000
        self._monotonic_s = 1_000.0

    def now(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._now_ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
