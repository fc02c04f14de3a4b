"""Measurements of the last minutes, one a second, for as many things as there are."""

from collections import deque

SPAN = 300
"""Points that are kept: five minutes at one a second."""


class Series:
    """Rows of numbers on one common time axis. What was not measured is 0; what is gone for a whole span is forgotten."""

    def __init__(self, span: int = SPAN) -> None:
        self.span = span
        self.at = 0.0
        """When the last point was taken, in seconds since the epoch."""
        self.length = 0
        self._rows: dict[str, deque[int]] = {}

    def take(self, now: float, values: dict[str, int]) -> None:
        """One more point of everything."""
        self.at = now
        for name in values:
            if name not in self._rows:
                self._rows[name] = deque([0] * self.length, self.span)
        for name, row in self._rows.items():
            row.append(values.get(name, 0))
        self.length = min(self.length + 1, self.span)
        for name in [name for name, row in self._rows.items() if name not in values and not any(row)]:
            del self._rows[name]

    def row(self, name: str) -> list[int]:
        return list(self._rows.get(name, ()))

    def rows(self) -> dict[str, list[int]]:
        return {name: list(row) for name, row in self._rows.items()}
