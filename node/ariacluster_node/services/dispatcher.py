"""The dispatcher: on the leader, turns what is into what should be, by proposing the scheduler's decision."""

import structlog

from ariacluster.domain import scheduler
from ariacluster.domain.commands import Assign, Command, Refusal, Release
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.table import Applied
from ariacluster_node.ports import Clock

from .replica import Replica
from .roster import Roster
from .wakeup import Wakeup

log = structlog.get_logger()

TICK = 0.5
"""Seconds between looks when nothing wakes it: silence and due retries make no event."""

BREATH = 0.005
"""Seconds to gather changes: submits that arrive together are placed together."""


class Dispatcher:
    """Runs on every node, acts only on the one that leads."""

    def __init__(self, replica: Replica, roster: Roster, clock: Clock, *, node_timeout: float) -> None:
        self._replica = replica
        self._roster = roster
        self._clock = clock
        self._node_timeout = node_timeout
        self._wake = Wakeup()
        replica.watch(self._on_applied)

    def _on_applied(self, applied: Applied | None) -> None:
        self._wake()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait(TICK, breath=BREATH)
            self._roster.lead(self._replica.leads)
            try:
                while self._replica.leads and (commands := self._decide()):
                    await self._propose(commands)
            except AriaClusterError as error:
                log.warning("dispatching paused", reason=error.detail)

    def _decide(self) -> list[Command]:
        return scheduler.decide(
            self._replica.table, self._roster.views(), self._clock.now(), node_timeout=self._node_timeout
        )

    async def _propose(self, commands: list[Command]) -> None:
        """Each decision is committed and applied here before the next one is made, so none is made twice."""
        outcomes = await self._replica.propose(commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            match command:
                case _ if isinstance(outcome, Refusal):
                    log.info("decision overtaken", task=command.task, reason=outcome.detail)  # type: ignore[union-attr]
                case Assign():
                    log.info("assigned", task=command.task, attempt=command.attempt, why=command.reason)
                case Release():
                    log.warning("taken back", task=command.task, attempt=command.attempt, why=command.message)
