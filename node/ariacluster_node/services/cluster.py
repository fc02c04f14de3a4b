"""Membership: becoming one cluster, letting others in, and knowing who is who and where."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from ariacluster.domain import formation
from ariacluster.domain.commands import Register
from ariacluster.domain.errors import AriaClusterError, Conflict, NoLeader, NotReady, StartFailed
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.domain.member import Member, at
from ariacluster.domain.table import Applied
from ariacluster_node.ports import ConsensusStatus, Discovery, Doors

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

LISTEN_FOR = 2.0
"""Seconds a fresh node listens before it decides; up to half as much again is added by dice, so that two that start
together do not decide together."""

LOOK_PERIOD = 1.0
"""Seconds between looks at what makes no event: who is heard on the LAN, and where."""

WHERE_PERIOD = 5.0
"""Seconds between looks at this machine's own address."""

TRY_PAUSE = 0.5
"""Seconds between tries to be written down."""


class Cluster:
    """This node's place in its cluster. `membership` is None while it belongs to none.

    `remember` keeps a membership on disk. `note_log` keeps there, before this node can become a voter, that it has the log
    of that cluster id from now on: without it, it must not come back. `whereabouts` tells the machine's address, if that
    may change.
    """

    def __init__(
        self,
        me: Member,
        cluster_name: str,
        membership: Membership | None,
        replica: Replica,
        discovery: Discovery | None,
        doors: Doors,
        remember: Callable[[Membership], Awaitable[None]],
        note_log: Callable[[str], Awaitable[None]],
        *,
        invited_by: tuple[str, ...] = (),
        whereabouts: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.me = me
        self.cluster_name = cluster_name
        self.membership = membership
        self._replica = replica
        self._discovery = discovery
        self._doors = doors
        self._remember = remember
        self._note_log = note_log
        self._invited_by = invited_by
        self._whereabouts = whereabouts
        self._introduced: dict[tuple[str, str], str] = {}  # who told (table or LAN) of which node what address, last
        self._registered = False
        self._struck_off = False
        self._led_by: str | None = None
        self._unkept = ""
        self._wake = Wakeup()

    # -- becoming a member --------------------------------------------------------------------------------------

    async def form(self) -> Membership:
        """The cluster that this node belongs to from now on: remembered, joined, or founded. May wait for others."""
        if self.membership is not None:
            log.info("rejoining", cluster=self.membership.cluster_id, peers=len(self.membership.peers))
            return self.membership
        welcome = await (self._join_invited() if self._invited_by else self._join_or_found())
        await self._keep(welcome)
        return welcome

    @property
    def founds(self) -> bool:
        """Is this node to begin the cluster's log? It knows of nobody else; who was let in knows who did that. Means nothing
        where there is a log already."""
        return self.membership is not None and not set(self.membership.peers) - {self.me.id}

    async def register(self) -> None:
        """Once the consensus runs: catch up, and be written down. Returns when that is so."""
        changed = Wakeup()
        self._replica.consensus.on_change(changed)
        told: dict[str, str] = {}
        while not self._replica.ready:
            await changed.wait(LOOK_PERIOD)
            if self._replica.status and not self._replica.ready:
                leads = "it has not all of the log yet" if self._replica.status.leader else "no leader was heard yet"
                self._say_once(told, "the log", leads)
        if self.membership is not None:
            await self._note_log(self.membership.cluster_id)
        while not self._is_written_down():
            try:
                await self._replica.change(Register(self.me))
            except AriaClusterError as error:
                self._say_once(told, "the log", error.detail)
                await asyncio.sleep(TRY_PAUSE)
        self._registered = True

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
                    for heard in doors:
                        if welcome := await self._knock(heard.door, told):
                            return welcome
            await asyncio.sleep(0.2)

    async def _knock(self, door: str, told: dict[str, str]) -> Membership | None:
        applicant = Applicant(
            node_id=self.me.id,
            node_name=self.me.name,
            cluster_name=self.cluster_name,
            version=self.me.version,
        )
        try:
            welcome = await self._doors.knock(door, applicant)
        except AriaClusterError as error:
            self._say_once(told, door, error.detail)
            return None
        log.info("joining", cluster=welcome.cluster_id, door=door)
        return welcome

    def _found(self) -> Membership:
        welcome = Membership(
            cluster_id=secrets.token_hex(8),
            cluster_name=self.cluster_name,
            key=secrets.token_hex(32),
            peers={self.me.id: self.me.raft},
        )
        log.info("founding", cluster=welcome.cluster_id, name=self.cluster_name)
        return welcome

    def _is_written_down(self) -> bool:
        known = self._replica.table.members.get(self.me.id)
        return known is not None and known == msgspec.structs.replace(self.me, joined_at=known.joined_at)

    @staticmethod
    def _say_once(told: dict[str, str], whom: str, what: str) -> None:
        if told.get(whom) != what:
            told[whom] = what
            log.info("not in yet", door=whom, reason=what)

    # -- letting others in --------------------------------------------------------------------------------------

    def welcome(self, applicant: Applicant) -> Membership:
        """What an applicant needs to take part: it then comes as a learner by itself. An open cluster lets in whoever asks
        for it by its name."""
        if self.membership is None:
            raise NotReady("This node belongs to no cluster yet; ask again in a few seconds.")
        if applicant.cluster_name != self.cluster_name:
            raise Conflict(
                f"This node's cluster is called {self.cluster_name!r}; start with --cluster {self.cluster_name}.",
                field="cluster_name",
            )
        if self._is_taken(applicant.node_id):
            # A member does not ask: it remembers. Who asks under its id has a copy of its folder, or a part of it; with
            # its log it would have lost what it voted.
            raise Conflict(
                f"A node with the id {applicant.node_id} is in the cluster already. Was its data folder copied, or a "
                "part of it deleted? Start it with an empty one.",
                field="node_id",
            )
        return msgspec.structs.replace(self.membership, peers={**self.membership.peers, self.me.id: self.me.raft})

    def _is_taken(self, node: str) -> bool:
        status = self._replica.status
        if node == self.me.id or node in self._replica.table.members:
            return True
        if status is None:
            return False
        here = {follower.node for follower in self._replica.consensus.followers() if follower.connected}
        return node in status.voters or node in here

    # -- who is who ---------------------------------------------------------------------------------------------

    def leader(self) -> Member | None:
        """The member that leads, as this node knows."""
        status = self._replica.status
        return self._replica.table.members.get(status.leader) if status and status.leader else None

    def require_lead(self) -> int:
        """The term in which this node leads; `NoLeader` if it does not."""
        status = self._replica.status
        if status is None or not self._replica.leads:
            raise NoLeader("This node does not lead the cluster.")
        return status.term

    def role(self, member: Member) -> str:
        """`leader`, `voter` or `learner`, as this node knows."""
        status = self._replica.status
        if status is None or member.id not in status.voters:
            return "learner"
        return "leader" if status.leader == member.id else "voter"

    def announcement(self) -> Heard:
        """What this node tells the LAN of itself."""
        return Heard(
            node_id=self.me.id,
            node_name=self.me.name,
            cluster_name=self.cluster_name,
            cluster_id=self.membership.cluster_id if self.membership else "",
            address=self.me.address,
            port=self.me.port,
            raft_port=int(self.me.raft.rpartition(":")[2]),
            version=self.me.version,
        )

    async def run(self) -> None:
        """Until cancelled: keep the others findable, now and at the next start, be found, and tell who leads."""
        self._replica.consensus.on_change(self._wake)
        self._replica.watch(self._on_applied)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_around())
            if self._whereabouts is not None:
                group.create_task(self._look_at_itself(self._whereabouts))

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is None or applied.members_changed:
            self._wake()

    async def _look_around(self) -> None:
        while True:
            status = self._replica.status
            if status is not None:
                self._say_who_leads(status)
                self._introduce()
                if status.ready:
                    self._say_if_struck_off()
                    await self._remember_peers()
            await self._wake.wait(LOOK_PERIOD)

    def _say_who_leads(self, status: ConsensusStatus) -> None:
        if status.leader == self._led_by:
            return
        self._led_by = status.leader
        leader = self.leader()
        if status.leader is None:
            log.warning("the cluster has no leader", term=status.term)
        else:
            log.info("leader", node=leader.name if leader else status.leader, term=status.term, me=status.is_leader)

    def _introduce(self) -> None:
        """Tell the consensus where the others are. Of what the table and the LAN say, whatever changed last is the newest."""
        told = [(m.id, "table", m.raft) for m in self._replica.table.members.values()]
        if self._discovery is not None and self.membership is not None:
            mine = self.membership.cluster_id
            told += [(h.node_id, "lan", h.raft) for h in self._discovery.heard() if h.cluster_id == mine and h.raft]
        for node, teller, address in told:
            if node != self.me.id and self._introduced.get((node, teller)) != address:
                self._introduced[node, teller] = address
                self._replica.consensus.learn(node, address)

    def _say_if_struck_off(self) -> None:
        struck_off = self._registered and self.me.id not in self._replica.table.members
        if struck_off and not self._struck_off:
            log.warning("this node was taken off the cluster", hint="stop it; started again, it comes back")
        self._struck_off = struck_off

    async def _remember_peers(self) -> None:
        members = self._replica.table.members
        if self.membership is None or self.me.id not in members:
            return
        peers = {member.id: member.raft for member in members.values()}
        peers |= {node: where for node, where in self._replica.consensus.addresses().items() if node in members}
        peers[self.me.id] = self.me.raft
        if peers == self.membership.peers:
            return
        try:
            await self._keep(msgspec.structs.replace(self.membership, peers=dict(sorted(peers.items()))))
        except StartFailed as error:
            # It only matters at a start, and what was kept last may still do then.
            if self._unkept != error.detail:
                self._unkept = error.detail
                log.warning("where the others are is not remembered", reason=error.detail)

    async def _look_at_itself(self, whereabouts: Callable[[], Awaitable[str]]) -> None:
        """A machine may be given another address at any time (DHCP): tell the table and the LAN."""
        while True:
            await asyncio.sleep(WHERE_PERIOD)
            address = await whereabouts()
            if address != self.me.address:
                log.info("this machine has another address", before=self.me.address, now=address)
                port = int(self.me.raft.rpartition(":")[2])
                self.me = msgspec.structs.replace(self.me, address=address, raft=at(address, port))
                if self._discovery is not None:
                    await self._discovery.update(self.announcement())
            if self._registered and not self._struck_off and not self._is_written_down():
                try:
                    await self._replica.change(Register(self.me))
                except AriaClusterError as error:
                    log.info("the new address is not written down yet", reason=error.detail)

    async def _keep(self, welcome: Membership) -> None:
        await self._remember(welcome)
        self.membership = welcome
