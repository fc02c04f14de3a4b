"""This node's place in its cluster: letting others in, and knowing who is who and where."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from ariacluster.domain import formation
from ariacluster.domain.commands import Register
from ariacluster.domain.errors import AriaClusterError, Conflict, NoLeader, NotReady, StartFailed
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.domain.member import Member, at
from ariacluster.domain.table import Applied
from ariacluster_node.ports import ConsensusStatus, Memory

from .lan import Lan
from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

LOOK_PERIOD = 1.0
"""Seconds between looks at what makes no event: who is heard on the LAN, and where."""

WHERE_PERIOD = 5.0
"""Seconds between looks at this machine's own address."""

TRY_PAUSE = 0.5
"""Seconds between tries to be written down."""


class Cluster:
    """`membership` is None while this node belongs to no cluster. `whereabouts` tells the machine's address, if that may
    change."""

    def __init__(
        self,
        me: Member,
        cluster_name: str,
        membership: Membership | None,
        replica: Replica,
        lan: Lan,
        memory: Memory,
        *,
        whereabouts: Callable[[], Awaitable[str]] | None = None,
        invited: bool = False,
    ) -> None:
        self.me = me
        self.boot = secrets.token_hex(8)
        """Tells this run of the node from every other one."""
        self.cluster_name = cluster_name
        self.membership = membership
        self.leaving = False
        """This node is about to dissolve its cluster into another: it lets nobody in."""
        self._replica = replica
        self._lan = lan
        self._memory = memory
        self._keeping = asyncio.Lock()
        self._whereabouts = whereabouts
        self._invited = invited
        self._introduced: dict[tuple[str, str], str] = {}  # who told (table or LAN) of which node what address, last
        self._registered = False
        self._struck_off = False
        self._led_by: str | None = None
        self._unkept = ""
        self._wake = Wakeup()
        replica.watch(self._on_applied)

    @property
    def founds(self) -> bool:
        """Is this node to begin the cluster's log? It knows of nobody else; who was let in knows who did that. Means nothing
        where there is a log already."""
        return self.membership is not None and not set(self.membership.peers) - {self.me.id}

    async def keep(self, membership: Membership) -> None:
        """Belong to that cluster from now on, also after a restart."""
        async with self._keeping:
            await self._memory.save_membership(membership)
            self.membership = membership

    async def _amend(self, **changes: Any) -> None:
        """Keep what changed about the membership."""
        async with self._keeping:
            assert self.membership is not None
            now = msgspec.structs.replace(self.membership, **changes)
            if now != self.membership:
                await self._memory.save_membership(now)
                self.membership = now

    async def register(self) -> None:
        """Once the consensus runs: catch up, and be written down. Returns when that is so."""
        self._registered = False
        self._introduced.clear()
        changed = Wakeup()
        self._replica.consensus.on_change(changed)
        told = ""
        while not self._replica.ready:
            await changed.wait(LOOK_PERIOD)
            if self._replica.status and not self._replica.ready:
                leads = "it has not all of the log yet" if self._replica.status.leader else "no leader was heard yet"
                told = self._say_once(told, leads)
        if self.membership is not None:
            await self._memory.note_log(self.membership.cluster_id)
        while not self._is_written_down():
            try:
                await self._replica.change(Register(self.me))
            except AriaClusterError as error:
                told = self._say_once(told, error.detail)
                await asyncio.sleep(TRY_PAUSE)
        self._registered = True

    def _is_written_down(self) -> bool:
        known = self._replica.table.members.get(self.me.id)
        return known is not None and known == self.me.registered(known)

    @staticmethod
    def _say_once(told: str, what: str) -> str:
        if told != what:
            log.info("not in yet", reason=what)
        return what

    # -- letting others in --------------------------------------------------------------------------------------

    async def welcome(self, applicant: Applicant) -> Membership:
        """What an applicant needs to take part: it then comes as a learner by itself. An open cluster lets in whoever asks
        for it by its name."""
        if self.membership is None:
            raise NotReady("This node belongs to no cluster yet; ask again in a few seconds.")
        if applicant.cluster_name != self.cluster_name:
            raise Conflict(
                f"This node's cluster is called {self.cluster_name!r}; start with --cluster {self.cluster_name}.",
                field="cluster_name",
            )
        if self.leaving or self._replica.table.successor is not None:
            raise NotReady("This node's cluster is dissolving into another one; ask again in a few seconds.")
        if applicant.speaks < self._replica.table.language:
            raise Conflict(
                f"This cluster speaks version {self._replica.table.language} of the commands, which Aria Cluster "
                f"{applicant.version} does not understand. Update Aria Cluster on {applicant.node_name}.",
                field="version",
            )
        here = applicant.leaves and applicant.leaves in {self.membership.was, *self._replica.table.absorbed}
        if applicant.leaves and not self._replica.ready:
            raise NotReady("This node does not know yet how its cluster stands; ask again in a few seconds.")
        if applicant.stranded and not here:
            raise Conflict(
                "This cluster knows nothing of yours; `ariacluster cluster merge` makes one of the two.", field="leaves"
            )
        if self._is_taken(applicant.node_id) and not here:
            # A member does not ask: it remembers. Who asks under its id has a copy of its folder, or a part of it; with
            # its log it would have lost what it voted.
            raise Conflict(
                f"A node with the id {applicant.node_id} is in the cluster already. Was its data folder copied, or a "
                "part of it deleted? Start it with an empty one.",
                field="node_id",
            )
        if self.membership.lone:  # before anybody has the key, and on the disk: from now on it is not this node's alone
            if better := formation.yields(self.announcement(), self._lan.heard()):
                raise NotReady(f"This node is about to join {better.doors[0].node_name}; ask there.")
            await self._amend(lone=False)
        return msgspec.structs.replace(
            self.membership,
            peers={**self.membership.peers, self.me.id: self.me.raft},
            doors={**self.membership.doors, self.me.id: self.me.door},
        )

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
        """What this node tells others of itself."""
        kept = self.membership
        return Heard(
            node_id=self.me.id,
            node_name=self.me.name,
            cluster_name=self.cluster_name,
            cluster_id=kept.cluster_id if kept else "",
            address=self.me.address,
            port=self.me.port,
            raft_port=int(self.me.raft.rpartition(":")[2]),
            version=self.me.version,
            members=max(1, len(self._replica.table.members)) if kept else 0,
            born=kept.born if kept else 0,
            lone=kept.lone if kept else False,
            was=kept.was if kept else "",
            invited=self._invited and kept is None,
            boot=self.boot,
        )

    def met(self, other: Heard) -> list[Heard]:
        """Another node told of itself: the answer is this one, then whom it knows, the members of its cluster last."""
        known = self._lan.heard()
        self._lan.note(other, itself=True)
        members = [
            Heard(
                node_id=member.id,
                node_name=member.name,
                cluster_name=self.cluster_name,
                cluster_id=self.membership.cluster_id if self.membership else "",
                address=member.address,
                port=member.port,
            )
            for member in self._replica.table.members.values()
            if member.id != self.me.id
        ]
        return [self.announcement(), *known, *members]

    async def run(self) -> None:
        """Until cancelled: keep the others findable, now and at the next start, be found, and tell who leads."""
        self._replica.consensus.on_change(self._wake)
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
                    await self._remember_others()
            await self._lan.announce()
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
        if self.membership is not None:
            mine = self.membership.cluster_id
            told += [(h.node_id, "lan", h.raft) for h in self._lan.heard() if h.cluster_id == mine and h.raft]
        for node, teller, address in told:
            if node != self.me.id and self._introduced.get((node, teller)) != address:
                self._introduced[node, teller] = address
                self._replica.consensus.learn(node, address)

    def _say_if_struck_off(self) -> None:
        struck_off = self._registered and self.me.id not in self._replica.table.members
        if struck_off and not self._struck_off:
            log.warning("this node was taken off the cluster", hint="stop it; started again, it comes back")
        self._struck_off = struck_off

    async def _remember_others(self) -> None:
        members = self._replica.table.members
        if self.membership is None or self.me.id not in members:
            return
        peers = {member.id: member.raft for member in members.values()}
        peers |= {node: where for node, where in self._replica.consensus.addresses().items() if node in members}
        peers[self.me.id] = self.me.raft
        doors = {member.id: member.door for member in members.values()} | {self.me.id: self.me.door}
        changes: dict[str, Any] = {"peers": dict(sorted(peers.items())), "doors": dict(sorted(doors.items()))}
        if len(members) > 1:
            changes["lone"] = False
        try:
            await self._amend(**changes)
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
                self._wake()
            if self._registered and not self._struck_off and not self._is_written_down():
                try:
                    await self._replica.change(Register(self.me))
                except AriaClusterError as error:
                    log.info("the new address is not written down yet", reason=error.detail)
