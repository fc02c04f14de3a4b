"""Becoming a member: the cluster that this node remembers, is let into, or founds."""

import asyncio
import secrets

import structlog

from ariacluster.domain import formation
from ariacluster.domain.commands import LANGUAGE
from ariacluster.domain.errors import AriaClusterError, StartFailed
from ariacluster.domain.formation import Applicant, Membership
from ariacluster_node.ports import Clock, Doors

from .cluster import Cluster
from .lan import Lan

log = structlog.get_logger()

LISTEN_FOR = 2.0
"""Seconds a fresh node listens before it decides; up to half as much again is added by dice, so that two that start
together do not decide together."""

TRY_PAUSE = 0.5
"""Seconds between two rounds of knocking where it was invited."""

LOOK_PAUSE = 0.2
"""Seconds between two looks at who is heard."""


class Forming:
    """How this node comes to a membership. `invited_by`: doors to knock at instead of listening."""

    def __init__(
        self,
        cluster: Cluster,
        lan: Lan,
        doors: Doors,
        clock: Clock,
        *,
        multicast: bool,
        invited_by: tuple[str, ...] = (),
    ) -> None:
        self._cluster = cluster
        self._lan = lan
        self._doors = doors
        self._clock = clock
        self._multicast = multicast
        self._invited_by = invited_by
        self._told: dict[str, str] = {}

    async def form(self) -> Membership:
        """The cluster that this node belongs to from now on. May wait for others. `StartFailed` if a copy of this node
        runs."""
        if (known := self._cluster.membership) is not None:
            await self._meet_copies(known)
            log.info("rejoining", cluster=known.cluster_id, peers=len(known.peers))
            return known
        welcome = await (self._join_invited() if self._invited_by else self._join_or_found())
        await self._cluster.keep(welcome)
        return welcome

    async def knock(self, door: str, *, leaves: str = "", stranded: bool = False) -> Membership | None:
        """Ask the node at `door` to let this one in; None, with a line in the log, if it does not."""
        me = self._cluster.me
        applicant = Applicant(
            node_id=me.id,
            node_name=me.name,
            cluster_name=self._cluster.cluster_name,
            version=me.version,
            leaves=leaves,
            stranded=stranded,
            speaks=LANGUAGE,
        )
        try:
            welcome = await self._doors.knock(door, applicant)
        except AriaClusterError as error:
            self._say_once(door, error.detail)
            return None
        log.info("joining", cluster=welcome.cluster_id, door=door)
        return welcome

    def founded(self, *, was: str = "") -> Membership:
        """A new cluster of this node alone; `was`: the one that it goes on for."""
        me = self._cluster.me
        return Membership(
            cluster_id=secrets.token_hex(8),
            cluster_name=self._cluster.cluster_name,
            key=secrets.token_hex(32),
            peers={me.id: me.raft},
            doors={me.id: me.door},
            born=self._clock.now(),
            lone=not was,
            was=was,
        )

    async def _join_invited(self) -> Membership:
        while True:
            for door in self._invited_by:
                if welcome := await self.knock(door):
                    return welcome
            await asyncio.sleep(TRY_PAUSE)

    async def _join_or_found(self) -> Membership:
        if not self._multicast:
            return self._found()
        await asyncio.sleep(LISTEN_FOR + secrets.randbelow(1000) / 1000 * LISTEN_FOR / 2)
        met: set[str] = set()
        while True:
            heard = [h for h in self._lan.heard() if h.cluster_name == self._cluster.cluster_name]
            match formation.decide(self._cluster.me.id, self._cluster.cluster_name, heard):
                case formation.Found():
                    # Whoever it did not hear somebody else has: only then is it sure that it is to found.
                    unmet = [h.door for h in heard if h.door not in met]
                    if not unmet:
                        return self._found()
                    met.update(unmet)
                    await self._lan.meet(unmet)
                    continue
                case formation.Wait(whom):
                    self._say_once("wait", f"{whom} is to found it")
                case formation.Join(doors):
                    for door in doors:
                        if welcome := await self.knock(door.door):
                            return welcome
            await asyncio.sleep(LOOK_PAUSE)

    def _found(self) -> Membership:
        welcome = self.founded()
        log.info("founding", cluster=welcome.cluster_id, name=self._cluster.cluster_name)
        return welcome

    async def _meet_copies(self, known: Membership) -> None:
        """A node of which a copy runs must not take part: together they would vote twice. The copy is where this node was
        last, or where the others know it."""
        me = self._cluster.me
        await self._lan.meet(door for door in known.doors.values() if door != me.door)
        elsewhere = {known.doors.get(me.id, me.door), *self._lan.told_of(me.id), *self._lan.twins} - {me.door}
        for other in await self._lan.meet(elsewhere):
            if other.node_id == me.id and other.boot != self._cluster.boot:
                raise StartFailed(
                    f"This node ({me.id}) runs already, as {other.node_name} at {other.door}. Was its data folder copied? "
                    "Start this one with an empty data folder (--data)."
                )

    def _say_once(self, whom: str, what: str) -> None:
        if self._told.get(whom) != what:
            self._told[whom] = what
            log.info("not in yet", door=whom, reason=what)
