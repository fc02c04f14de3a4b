"""Attendance: on the leader, writes down who is away and who is back. `domain.attendance` decides."""

import asyncio

import structlog

from ariacluster.domain import attendance
from ariacluster.domain.commands import Miss, Unregister
from ariacluster.domain.errors import AriaClusterError
from ariacluster_node.ports import Clock

from .replica import Replica
from .roster import Roster

log = structlog.get_logger()

TICK = 1.0
"""Seconds between looks: silence makes no event."""


class Attendance:
    """Runs on every node, acts only on the one that leads."""

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
            if self._replica.leads and (status := self._replica.status):
                commands = attendance.decide(
                    self._roster.views(),
                    self._clock.now(),
                    voters=status.voters,
                    node_timeout=self._node_timeout,
                    forget_after=self._forget_after,
                )
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
