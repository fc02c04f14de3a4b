"""The dispatcher: on the leader, turns what is into what should be, by proposing the scheduler's decision."""

import structlog

from ariacluster.domain import scheduler
from ariacluster.domain.commands import Assign, Command, Move, Refusal, Release
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.table import Applied
from ariacluster_node.ports import Clock

from .replica import Replica
from .roster import Roster
from .wakeup import Wakeup

log = structlog.get_logger()

TICK = 0.5
"""Seconds between looks when nothing wakes it, and no task comes due before: silence makes no event."""

BREATH = 0.005
"""Seconds to gather changes: submits that arrive together are placed together."""


class Dispatcher:
    """Runs on every node, acts only on the one that leads. `node_timeout`: this node's own, where the cluster has none."""

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
            await self._wake.wait(self._pause(), breath=BREATH)
            self._roster.lead(self._replica.leads)
            try:
                while self._replica.leads and (commands := self._decide()):
                    if not await self._propose(commands):
                        break  # the table refuses all of it: looking again at once would not help
            except AriaClusterError as error:
                log.warning("dispatching paused", reason=error.detail)

    def _pause(self) -> float:
        """Seconds to the next look if nothing wakes it. What is due and not taken up (no place for it) waits for an event."""
        due, now = self._replica.table.queue.next_due(), self._clock.now()
        return min(TICK, (due - now) / 1000) if due is not None and due > now else TICK

    def _decide(self) -> list[Command]:
        table = self._replica.table
        node_timeout = self._node_timeout if table.policy.node_timeout is None else table.policy.node_timeout
        return scheduler.decide(table, self._roster.views(), self._clock.now(), node_timeout=node_timeout)

    async def _propose(self, commands: list[Command]) -> bool:
        """Each decision is committed and applied here before the next one is made, so none is made twice. Did any of it take
        effect?"""
        had = {command.task: self._node_of(command.task) for command in commands if isinstance(command, Move | Release)}
        outcomes = await self._replica.propose(commands)
        for command, outcome in zip(commands, outcomes, strict=True):
            match command:
                case _ if isinstance(outcome, Refusal):
                    log.info("decision overtaken", task=command.task, reason=outcome.detail)  # type: ignore[union-attr]
                case Assign():
                    log.info("assigned", task=command.task, attempt=command.attempt, why=command.reason)
                case Move():
                    log.info(
                        "moved",
                        task=command.task,
                        attempt=command.attempt,
                        source=had[command.task],
                        to=self._replica.table.name_of(command.node),
                        why=command.reason,
                    )
                case Release():
                    log.warning(
                        "taken back",
                        task=command.task,
                        attempt=command.attempt,
                        source=had[command.task],
                        why=command.message,
                    )
        return any(outcome is None for outcome in outcomes)

    def _node_of(self, task: str) -> str:
        """The name of the node that has a task now."""
        row = self._replica.table.tasks.get(task)
        return self._replica.table.name_of(row.node) if row and row.node else ""
