"""Membership: becoming one cluster, letting others in, and knowing who is who."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from ariacluster.domain import formation
from ariacluster.domain.commands import Register
from ariacluster.domain.errors import AriaClusterError, Conflict, NoLeader, NotReady
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.domain.member import Member
from ariacluster_node.ports import ConsensusStatus, Discovery, Doors

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

LISTEN_FOR = 2.0
"""Seconds a fresh node listens before it decides; up to half as much again is added by dice, so that two that start
together do not decide together."""

ENTER_TIMEOUT = 20.0
"""Seconds for the leader to make an applicant a voter: the applicant has to answer first."""


class Cluster:
    """This node's place in its cluster. `membership` is None while it belongs to none."""

    def __init__(
        self,
        me: Member,
        cluster_name: str,
        membership: Membership | None,
        replica: Replica,
        discovery: Discovery | None,
        doors: Doors,
        remember: Callable[[Membership], Awaitable[None]],
        *,
        invited_by: tuple[str, ...] = (),
    ) -> None:
        self.me = me
        self.cluster_name = cluster_name
        self.membership = membership
        self._replica = replica
        self._discovery = discovery
        self._doors = doors
        self._remember = remember
        self._invited_by = invited_by
        self._door: str | None = None
        self._admitting = asyncio.Lock()
        self._wake = Wakeup()

    # -- becoming a member --------------------------------------------------------------------------------------

    async def form(self) -> Membership:
        """The cluster that this node belongs to from now on: remembered, joined, or founded. May wait for others."""
        if self.membership is not None:
            log.info("rejoining", cluster=self.membership.cluster_id, voters=len(self.membership.voters))
            return self.membership
        welcome = await (self._join_invited() if self._invited_by else self._join_or_found())
        await self._keep(welcome)
        return welcome

    async def enter(self) -> None:
        """Once the consensus listens: be made a voter if this node is none yet, and be written down."""
        if not self.is_remembered_voter:
            await self._be_admitted()
        await self._register()

    @property
    def is_remembered_voter(self) -> bool:
        """Was this node a voter when its membership was last written? If not, it must not hold elections yet."""
        return self.membership is not None and self.me.raft in self.membership.voters

    async def _join_invited(self) -> Membership:
        told: dict[str, str] = {}
        while True:
            for door in self._invited_by:
                if welcome := await self._knock(door, told):
                    return welcome
            await asyncio.sleep(0.5)

    async def _join_or_found(self) -> Membership:
        if self._discovery is None:
            return self._found()
        await asyncio.sleep(LISTEN_FOR + secrets.randbelow(1000) / 1000 * LISTEN_FOR / 2)
        told: dict[str, str] = {}
        while True:
            match formation.decide(self.me.id, self.cluster_name, self._discovery.heard()):
                case formation.Found():
                    return self._found()
                case formation.Wait(whom):
                    self._say_once(told, "wait", f"{whom} is to found it")
                case formation.Join(doors):
                    for door in doors:
                        if welcome := await self._knock(f"{door.address}:{door.port}", told):
                            return welcome
            await asyncio.sleep(0.2)

    async def _knock(self, door: str, told: dict[str, str]) -> Membership | None:
        try:
            welcome = await self._doors.knock(door, self._applicant())
        except AriaClusterError as error:
            self._say_once(told, door, error.detail)
            return None
        self._door = door
        log.info("joining", cluster=welcome.cluster_id, door=door)
        return welcome

    def _found(self) -> Membership:
        welcome = Membership(
            cluster_id=secrets.token_hex(8),
            cluster_name=self.cluster_name,
            key=secrets.token_hex(32),
            voters=(self.me.raft,),
        )
        log.info("founding", cluster=welcome.cluster_id, name=self.cluster_name)
        return welcome

    async def _be_admitted(self) -> None:
        told: dict[str, str] = {}
        while True:
            for door in self._known_doors():
                try:
                    await self._doors.enter(door, self._applicant())
                except AriaClusterError as error:
                    self._say_once(told, door, error.detail)
                else:
                    return
            await asyncio.sleep(0.5)

    def _known_doors(self) -> list[str]:
        """Where to ask to be let in: where this node knocked, who invited it, and whoever is heard of its cluster. A node
        that was killed between knocking and entering knows only the last two."""
        mine = self.membership.cluster_id if self.membership else ""
        heard = self._discovery.heard() if self._discovery else []
        knocked = [self._door] if self._door else []
        return [*knocked, *self._invited_by, *(f"{h.address}:{h.port}" for h in heard if h.cluster_id == mine)]

    async def _register(self) -> None:
        """Write this node into the table unless it stands there as it is."""
        told: dict[str, str] = {}
        while True:
            known = self._replica.table.members.get(self.me.id)
            if self._replica.ready and known == msgspec.structs.replace(
                self.me, joined_at=known.joined_at if known else 0
            ):
                return
            try:
                await self._replica.change(Register(self.me))
            except AriaClusterError as error:
                self._say_once(told, "the log", error.detail)
                await asyncio.sleep(0.5)

    def _applicant(self) -> Applicant:
        return Applicant(
            node_id=self.me.id,
            node_name=self.me.name,
            cluster_name=self.cluster_name,
            raft=self.me.raft,
            version=self.me.version,
        )

    @staticmethod
    def _say_once(told: dict[str, str], whom: str, what: str) -> None:
        if told.get(whom) != what:
            told[whom] = what
            log.info("not in yet", door=whom, reason=what)

    # -- letting others in --------------------------------------------------------------------------------------

    def welcome(self, applicant: Applicant) -> Membership:
        """What an applicant needs to take part. An open cluster lets in whoever asks for it by its name."""
        if self.membership is None:
            raise NotReady("This node belongs to no cluster yet; ask again in a few seconds.")
        if applicant.cluster_name != self.cluster_name:
            raise Conflict(
                f"This node's cluster is called {self.cluster_name!r}; start with --cluster {self.cluster_name}.",
                field="cluster_name",
            )
        known = self._replica.table.members.get(applicant.node_id)
        if applicant.node_id == self.me.id or (known is not None and known.raft != applicant.raft):
            raise Conflict(
                f"A node with the id {applicant.node_id} is in the cluster already. Was its data folder copied? "
                "Start the copy with an empty one.",
                field="node_id",
            )
        return self.membership

    async def admit(self, applicant: Applicant) -> None:
        """Make an applicant a voter: here if this node leads, else through the leader."""
        self.welcome(applicant)
        status = self._replica.status
        if status is None or not status.is_leader:
            leader = self.leader()
            if leader is None:
                raise NoLeader("The cluster has no leader right now; ask again in a second.")
            await self._doors.enter(f"{leader.address}:{leader.port}", applicant)
            return
        async with self._admitting:
            await self._replica.consensus.add_voter(applicant.raft, timeout=ENTER_TIMEOUT)
        log.info("let in", node=applicant.node_name, id=applicant.node_id, raft=applicant.raft)

    # -- who is who ---------------------------------------------------------------------------------------------

    def leader(self) -> Member | None:
        """The member that leads, as this node knows."""
        status = self._replica.status
        if status is None or status.leader is None:
            return None
        return next((m for m in self._replica.table.members.values() if m.raft == status.leader), None)

    def require_lead(self) -> int:
        """The term in which this node leads; `NoLeader` if it does not."""
        status = self._replica.status
        if status is None or not self._replica.leads:
            raise NoLeader("This node does not lead the cluster.")
        return status.term

    def is_voter(self, member: Member) -> bool:
        status = self._replica.status
        return status is not None and member.raft in status.voters

    def announcement(self) -> Heard:
        """What this node tells the LAN of itself."""
        return Heard(
            node_id=self.me.id,
            node_name=self.me.name,
            cluster_name=self.cluster_name,
            cluster_id=self.membership.cluster_id if self.membership else "",
            address=self.me.address,
            port=self.me.port,
            version=self.me.version,
        )

    async def run(self) -> None:
        """Until cancelled: remember the voters for the next start whenever they change, and tell who leads."""
        self._replica.consensus.on_change(self._wake)
        led_by: str | None = None
        while True:
            status = self._replica.status
            if status is not None and status.leader != led_by:
                led_by = status.leader
                self._say_who_leads(status)
            if status is not None and status.ready:
                await self._remember_voters(status.voters)
            await self._wake.wait(5.0)

    def _say_who_leads(self, status: ConsensusStatus) -> None:
        leader = self.leader()
        if status.leader is None:
            log.warning("the cluster has no leader", term=status.term)
        else:
            log.info("leader", node=leader.name if leader else status.leader, term=status.term, me=status.is_leader)

    async def _remember_voters(self, voters: tuple[str, ...]) -> None:
        if self.membership is not None and voters and set(voters) != set(self.membership.voters):
            await self._keep(msgspec.structs.replace(self.membership, voters=tuple(sorted(voters))))

    async def _keep(self, welcome: Membership) -> None:
        await self._remember(welcome)
        self.membership = welcome
