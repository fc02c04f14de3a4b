"""Is a node fit to download? What its disk and its engine mean for new tasks and for those that run. Pure."""

from typing import NamedTuple

from .placement import human

FULL_PART = 4
"""The disk counts as full below this part (one in so many) of what is to stay free: a node must be able to keep its log."""

EASED = 1.25
"""Times what is to stay free: so much must be there again before the disk counts as well. Without the distance, each file
that goes would call two others."""

LASTING_S = 5.0
"""Seconds of trouble after which running downloads should go elsewhere: a restart of the engine takes less."""


class Condition(NamedTuple):
    """How a node is. `trouble`: why it takes no tasks, as a sentence, or empty. `pressed`: what it has should go elsewhere,
    too. `full`: no download may write another byte. `since`: when the trouble began (seconds)."""

    trouble: str = ""
    pressed: bool = False
    full: bool = False
    low: bool = False
    since: float | None = None

    @property
    def faulty(self) -> bool:
        """Is there something wrong with the engine or the folder? No task is to blame for what fails meanwhile."""
        return self.since is not None

    def judge(self, fault: str, free: int | None, min_free: int, now: float) -> "Condition":
        """The condition after this one. `fault`: what is wrong with the engine or the folder, as a sentence. `free`: bytes on
        the disk, None if nobody knows; `min_free` of them are to stay free."""
        low, full = self.low, self.full
        if free is not None:
            eased = free >= EASED * min_free
            low = free < min_free or (low and not eased)
            full = free <= min_free // FULL_PART or (full and not eased)
        trouble = fault
        if full and not fault:
            trouble = f"Its disk has only {human(free or 0)} left, and {human(min_free)} are to stay free; make room."
        since = None if not fault else now if self.since is None else self.since
        lasts = since is not None and now - since >= LASTING_S
        return Condition(trouble, low or full or lasts, full, low, since)
