"""The voters: on the leader, makes who votes what it should be, one step at a time. `domain.voters` decides."""

import asyncio

import structlog

from ariacluster.domain import voters
from ariacluster.domain.commands import Resign
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.table import Applied
from ariacluster.domain.voters import CLOSE_ENTRIES, HandOver, Promote, Remove, Standing
from ariacluster_node.ports import Clock

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

TICK = 1.0
"""Seconds between looks: silence and steadiness make no event."""

SOON = 0.05
"""Seconds until a new leader looks again whether it may act: who stops waits for it."""

STEP_TIMEOUT = 5.0
"""Seconds for one change of the voters; what came of a later one is seen at the next look."""


FAREWELL = 1.5
"""Seconds that a node which stops gives the other one to take its vote."""


class Voters:
    """Runs on every node, acts only on the one that leads."""

    def __init__(self, replica: Replica, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._steady_since: dict[str, float] = {}
        self._told = ""
        self._wake = Wakeup()
        replica.watch(self._on_applied)

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is None or applied.members_changed:
            self._wake()

    async def run(self) -> None:
        """Until cancelled."""
        self._replica.consensus.on_change(self._wake)
        while True:
            standings = self._look()
            if self._replica.leads and (step := voters.decide(self._replica.node_id, standings)):
                await self._take(step)
            status = self._replica.status
            takes_over = status is not None and status.is_leader and not self._replica.leads
            await self._wake.wait(SOON if takes_over else TICK)

    async def farewell(self) -> None:
        """This node stops: of two voters, the one that stays shall go on alone. It votes again when it is back. (Of three, any
        two do without the third: there a vote that was given up would only be missed when the others stop as well.)"""
        status = self._replica.status
        me = self._replica.node_id
        if status is None or len(status.voters) != 2 or me not in status.voters or status.missing:
            return
        try:
            async with asyncio.timeout(FAREWELL):
                await self._replica.change(Resign(me))
                if status.is_leader:
                    await self._replica.consensus.transfer(timeout=FAREWELL)
                changed = Wakeup()
                self._replica.consensus.on_change(changed)
                while me in self._replica.consensus.status().voters:
                    await changed.wait(TICK)
        except (AriaClusterError, TimeoutError) as error:
            log.info("stopping with its vote", reason=str(error) or "the other node did not take it in time")

    def _look(self) -> list[Standing]:
        """Everyone's standing now. To be asked at every look: steadiness is counted between them."""
        status = self._replica.status
        if status is None or not status.is_leader:
            self._steady_since.clear()
            return []
        now = self._clock.monotonic()
        members = self._replica.table.members
        followers = {follower.node: follower for follower in self._replica.consensus.followers()}
        steady = {node for node, f in followers.items() if f.connected and f.lag <= CLOSE_ENTRIES}
        self._steady_since = {node: self._steady_since.get(node, now) for node in sorted(steady)}
        standings = [
            Standing(
                node=node,
                voter=node in status.voters,
                member=node in members,
                connected=node in followers and followers[node].connected,
                silent_for=followers[node].silent_for if node in followers else voters.REPLACE_S,
                steady_for=now - self._steady_since.get(node, now),
                witness=node in members and members[node].witness,
                resigned=node in members and members[node].resigned,
            )
            for node in sorted({*status.voters, *members, *followers} - {status.me})
        ]
        me = Standing(
            node=status.me,
            voter=status.me in status.voters,
            member=status.me in members,
            connected=True,
            silent_for=0.0,
            steady_for=float("inf"),
            witness=status.me in members and members[status.me].witness,
            resigned=status.me in members and members[status.me].resigned,
        )
        return [me, *standings]

    async def _take(self, step: Promote | Remove | HandOver) -> None:
        consensus = self._replica.consensus
        try:
            match step:
                case Promote(node, why):
                    await consensus.add_voter(node, timeout=STEP_TIMEOUT)
                    log.info("votes from now on", node=self._replica.table.name_of(node), why=why)
                case Remove(node, why):
                    await consensus.remove_voter(node, timeout=STEP_TIMEOUT)
                    log.info("votes no more", node=self._replica.table.name_of(node), why=why)
                case HandOver(why):
                    await consensus.transfer(timeout=STEP_TIMEOUT)
                    log.info("handed over the lead", why=why)
        except AriaClusterError as error:
            # Somebody went, or another change is under way: the next look tells whether it is still to be done.
            if self._told != (told := f"{step}: {error.detail}"):
                self._told = told
                log.info("the voters stay as they are for now", wanted=type(step).__name__, reason=error.detail)
