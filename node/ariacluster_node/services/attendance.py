"""Attendance: on the leader, writes down that it leads, who is away and who is back. `domain.attendance` decides."""

import asyncio

import structlog

from ariacluster.domain import attendance
from ariacluster.domain.commands import Command, Elect, Miss, Unregister
from ariacluster.domain.errors import AriaClusterError
from ariacluster_node.ports import Clock, ConsensusStatus

from .replica import Replica
from .roster import Roster

log = structlog.get_logger()

TICK = 1.0
"""Seconds between looks: silence makes no event."""


class Attendance:
    """Runs on every node, acts only on the one that leads. The times (s) are this node's own, where the cluster has none."""

    def __init__(
        self, replica: Replica, roster: Roster, clock: Clock, *, node_timeout: float, forget_after: float
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._clock = clock
        self._node_timeout = node_timeout
        self._forget_after = forget_after

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(TICK)
            if not self._replica.leads or not (status := self._replica.status):
                continue
            commands = self._decide(status)
            if commands:
                names = {member.id: member.name for member in self._replica.table.members.values()}
                try:
                    await self._replica.propose(commands)
                except AriaClusterError as error:
                    log.info("attendance not written down yet", reason=error.detail)
                    continue
                for command in commands:
                    match command:
                        case Miss(node, since):
                            log.info("away" if since else "back", node=names.get(node, node))
                        case Unregister(node):
                            log.warning("forgotten: it was away for too long", node=names.get(node, node))

    def _decide(self, status: ConsensusStatus) -> list[Command]:
        table = self._replica.table
        node_timeout, forget_after = table.policy.node_timeout, table.policy.forget_after
        commands = attendance.decide(
            self._roster.views(),
            self._clock.now(),
            voters=status.voters,
            node_timeout=self._node_timeout if node_timeout is None else node_timeout,
            forget_after=self._forget_after if forget_after is None else forget_after,
        )
        if status.term > table.term and self._replica.understood(Elect):
            commands.insert(0, Elect(status.me, status.term))
        return commands
