"""Which download brings the engine down. Pure: it is told what ran when the engine ended, and what runs now.

What ran at two ends of the engine is tried: the engine then has one download at a time. The one that is alone when the
engine ends once more is guilty; one that runs alone for a while, or is whole, is acquitted.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

TRIED_AFTER = 2
"""Ends of the engine that a download may have seen before it is tried."""

ALONE_S = 30.0
"""Seconds for which a download must run alone to be acquitted, and twice as many each time that it is tried again: a bad
one mostly takes its engine down at once, but some take their time."""

LONGEST_S = 480.0
"""Seconds that a trial takes at most."""

FORGOTTEN_AFTER_S = 600.0
"""Seconds after which one end of the engine tells nothing about the next."""


class Run(NamedTuple):
    """One attempt of a task on this node."""

    task_id: str
    attempt: int


class Guilty(NamedTuple):
    """A download with which the engine ended so often, at last with no other."""

    run: Run
    ends: int


class _Record(NamedTuple):
    ends: int
    last: float


class Suspects:
    """What is known against the downloads of one node. Times are seconds of one clock that never goes back."""

    def __init__(self) -> None:
        self._records: dict[Run, _Record] = {}
        self._guilty: dict[Run, int] = {}
        self._acquittals: dict[Run, int] = {}
        self._on_trial: Run | None = None
        self._alone_since: float | None = None

    @property
    def guilty(self) -> list[Guilty]:
        """Those that were found guilty and are still wanted."""
        return [Guilty(run, ends) for run, ends in sorted(self._guilty.items())]

    def ended(self, running: Iterable[Run], now: float) -> None:
        """The engine ended by itself while it ran these."""
        there = set(running)
        self._alone_since = None
        for run in there:
            known = self._records.get(run)
            ends = known.ends + 1 if known and now - known.last < FORGOTTEN_AFTER_S else 1
            self._records[run] = _Record(ends, now)
            if len(there) == 1 and ends > TRIED_AFTER:
                self._guilty[run] = ends
                self.acquit(run)

    def look(self, wanted: Collection[Run], running: Collection[Run], now: float) -> None:
        """These are `wanted` here, and these the engine has now. Whatever is not wanted any more is forgotten."""
        for run in [run for run, record in self._records.items() if now - record.last >= FORGOTTEN_AFTER_S]:
            self.acquit(run)
        for run in [run for run in self._records if run not in wanted]:
            self.acquit(run)
        for known in (self._guilty, self._acquittals):
            for run in [run for run in known if run not in wanted]:
                del known[run]
        if self._on_trial is None or set(running) != {self._on_trial}:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since >= self._trial_s(self._on_trial):
            self._acquittals[self._on_trial] = self._acquittals.get(self._on_trial, 0) + 1
            self.acquit(self._on_trial)

    def acquit(self, run: Run) -> None:
        """Nothing is held against it: it is whole, or proved itself."""
        self._records.pop(run, None)
        if run == self._on_trial:
            self._on_trial, self._alone_since = None, None

    def held(self, wanted: Iterable[Run]) -> set[str]:
        """Those that the engine is not to have now, by task id: the guilty, and during a trial all but one."""
        here = set(wanted)
        tried = sorted(run for run in here if self._is_tried(run))
        if self._on_trial not in tried:
            self._on_trial, self._alone_since = (tried[0] if tried else None), None
        kept_back = here & self._guilty.keys()
        if self._on_trial is not None:
            kept_back |= here - {self._on_trial}
        return {run.task_id for run in kept_back}

    def _is_tried(self, run: Run) -> bool:
        record = self._records.get(run)
        return record is not None and record.ends >= TRIED_AFTER

    def _trial_s(self, run: Run) -> float:
        return min(LONGEST_S, ALONE_S * (1 << self._acquittals.get(run, 0)))
