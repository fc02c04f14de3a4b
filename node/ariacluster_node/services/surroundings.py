"""What the worker works in: the download folder and its disk, and what they mean for its work."""

from collections.abc import Callable

import structlog

from ariacluster.domain.condition import Condition
from ariacluster.domain.policy import Policy
from ariacluster_node.ports import Folders, Machine

log = structlog.get_logger()

LOOK_PERIOD = 1.0
"""Seconds between looks at folder and disk: rounds may come much faster."""


class Surroundings:
    """`condition` is as of the last look. `clock` tells seconds and never goes back."""

    def __init__(self, folders: Folders, machine: Machine, clock: Callable[[], float]) -> None:
        self.condition = Condition()
        self._folders = folders
        self._machine = machine
        self._looked = float("-inf")
        self._trouble = ""
        self._free: int | None = None
        self._clock = clock

    async def look(self, fault: str, policy: Policy) -> Condition:
        """`fault`: what is wrong with the engine, as a sentence; empty if it is well."""
        if (now := self._clock()) - self._looked >= LOOK_PERIOD:
            self._trouble = await self._folders.trouble()
            vitals = await self._machine.vitals()
            self._free = vitals.disk_free if vitals.disk_total else None
            self._looked = now
        before = self.condition
        self.condition = before.judge(fault or self._trouble, self._free, policy.min_free, now)
        if self.condition.full != before.full:
            event = "disk full" if self.condition.full else "disk has room again"
            log.warning(event, free=self._free, min_free=policy.min_free)
        return self.condition
