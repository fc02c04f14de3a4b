"""The `Consensus` port without a network: nodes of one process that share one log, with links that can be cut."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import (
    Conflict,
    InvalidInput,
    NoLeader,
    NotSpoken,
    Overloaded,
    Unavailable,
    UnknownOutcome,
)
from ariacluster_node.ports import ConsensusStatus, Follower, StateMachine

log = structlog.get_logger()


class FakeCluster:
    """What the nodes of a cluster have in common; outlives them, as their disks would.

    Elections take no time: while some voter reaches a majority of the voters, one leads, unless `depose`d. Nodes are known
    by their ids. `introduced`: everybody knows where everybody is; else a link needs one of the two to have learned where
    the other is now.
    """

    def __init__(self, *, introduced: bool = True) -> None:
        self.introduced = introduced
        self.voters: list[str] = []
        self.leader: str | None = None
        self.term = 0
        self.full = False
        """True: proposals are refused as `Overloaded`."""
        self.mute: set[str] = set()
        """Proposals of these nodes are committed, but answered with `UnknownOutcome`."""
        self.stuck: set[str] = set()
        """Nodes that follow, and get nothing."""
        self.leaseless: set[str] = set()
        """Nodes that hold no lease although they lead."""
        self.silent: dict[str, float] = {}
        """For how long the leader has not heard these nodes, whatever the truth is (s)."""
        self._nodes: dict[str, FakeConsensus] = {}
        self._cut: set[str] = set()
        self._fed: set[str] = set()
        self._met: dict[str, float] = {}  # when each node was last linked to the leader (the loop's time)
        self._led_since = 0.0
        self._elections = True
        self._base: tuple[int, list[bytes]] = (0, [])  # index and chunks of the last snapshot
        self._log: list[bytes] = []  # what was committed after it

    @property
    def last(self) -> int:
        """The index of the last committed entry."""
        return self._base[0] + len(self._log)

    def cut(self, node: str) -> None:
        """Take the node off the network."""
        self._cut.add(node)
        self._settle()

    def heal(self, node: str) -> None:
        self._cut.discard(node)
        self._settle()

    def lead(self, node: str) -> None:
        """Make that node the leader."""
        assert self._can_lead(node), f"{node} is no voter that reaches a majority"
        self._elections = True
        self._elect(node)
        self._settle()

    def depose(self) -> None:
        """No leader from now on, until `lead` names one."""
        self._elections, self.leader = False, None
        self._settle()

    def _linked(self, one: str, other: str) -> bool:
        """Is there a link between the two? A node that runs reaches itself, and nobody else while it is cut off."""
        if one not in self._nodes or other not in self._nodes:
            return False
        if one == other:
            return True
        if one in self._cut or other in self._cut:
            return False
        a, b = self._nodes[one], self._nodes[other]
        return self.introduced or a._where.get(other) == b._listens or b._where.get(one) == a._listens

    def _quorum(self, node: str, voters: list[str] | None = None) -> bool:
        """Does `node` reach a majority of the voters?"""
        voters = self.voters if voters is None else voters
        return sum(self._linked(node, voter) for voter in voters) * 2 > len(voters)

    def _can_lead(self, node: str) -> bool:
        return node in self.voters and node not in self._cut and self._quorum(node)

    def _elect(self, node: str) -> None:
        self.leader, self.term = node, self.term + 1
        self._led_since = asyncio.get_running_loop().time()

    def _settle(self) -> None:
        if self.leader is not None and not self._can_lead(self.leader):
            self.leader = None
        if self.leader is None and self._elections:
            able = next((voter for voter in self.voters if self._can_lead(voter)), None)
            if able is not None:
                self._elect(able)
        for node in list(self._nodes.values()):
            if self.leader is not None and self._linked(node._me, self.leader):
                self._met[node._me] = asyncio.get_running_loop().time()
            node._wake()

    def _commit(self, payload: bytes) -> int:
        self._log.append(payload)
        self._settle()
        return self.last

    def _hear(self, node: str) -> float:
        """Seconds since the leader heard `node`."""
        if node in self.silent:
            return self.silent[node]
        if self.leader is not None and self._linked(node, self.leader):
            return 0.0
        return asyncio.get_running_loop().time() - max(self._led_since, self._met.get(node, 0.0))


class FakeConsensus:
    """One node of a `FakeCluster`. Takes what the real one takes, as far as it means anything here.

    `listens` is where it could be reached; `addresses` is what it knows of the others.
    """

    def __init__(
        self,
        machine: StateMachine,
        *,
        cluster: FakeCluster,
        me: str,
        listens: str = "",
        addresses: Mapping[str, str] | None = None,
        found: bool = False,
        compact_entries: int = 20_000,
    ) -> None:
        self._machine = machine
        self._cluster = cluster
        self._me = me
        self._listens = listens or f"{me}:8001"
        self._where = dict(addresses or {})
        self._found = found
        self._compact_entries = compact_entries
        self._applied = 0
        self._ready = False
        self._changing = False
        self._woken = False
        self._seen: tuple[object, ...] | None = None
        self._moved = asyncio.Event()  # set and renewed whenever leader or applied index may have changed
        self._callbacks: list[Callable[[], None]] = []

    async def start(self) -> None:
        cluster = self._cluster
        cluster._nodes[self._me] = self
        if self._found and not cluster.voters:
            cluster.voters.append(self._me)
        cluster._settle()

    async def stop(self) -> None:
        if self._running:
            del self._cluster._nodes[self._me]
            self._cluster._settle()
            self._wake()

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        if len(payload) > MAX_PROPOSAL_BYTES:
            raise InvalidInput(f"a command may have {MAX_PROPOSAL_BYTES} bytes")
        deadline = await self._led_in(timeout)
        if self._cluster.full:
            raise Overloaded("the fake is full")
        leader = self._cluster._nodes[self._cluster.leader or ""]
        if leader is not self and not leader._machine.admits(payload):
            raise NotSpoken("the fake's leader does not understand it")
        index = self._cluster._commit(payload)
        if not await self._until(lambda: self._applied >= index, deadline) or self._me in self._cluster.mute:
            raise UnknownOutcome("the fake does not tell")

    async def barrier(self, *, timeout: float) -> None:
        deadline = await self._led_in(timeout)
        index = self._cluster.last
        if not await self._until(lambda: self._applied >= index, deadline):
            raise UnknownOutcome("the fake is behind")

    async def add_voter(self, node: str, *, timeout: float) -> None:
        await self._change(node, add=True)

    async def remove_voter(self, node: str, *, timeout: float) -> None:
        await self._change(node, add=False)

    async def transfer(self, *, timeout: float, to: str | None = None) -> None:
        cluster = self._cluster
        self._require_lead()
        await asyncio.sleep(0)
        able = [
            voter for voter in cluster.voters if voter != self._me and to in (None, voter) and cluster._can_lead(voter)
        ]
        if not able:
            raise Unavailable("nobody else could lead")
        cluster.lead(able[0])

    def followers(self) -> list[Follower]:
        cluster = self._cluster
        if not self.status().is_leader:
            return []
        others = {*cluster.voters, *cluster._nodes, *cluster._fed} - {self._me}
        return [
            Follower(
                node=node,
                lag=cluster.last - (cluster._nodes[node]._applied if node in cluster._nodes else 0),
                silent_for=cluster._hear(node),
                connected=cluster._linked(self._me, node),
            )
            for node in sorted(others)
            if node in cluster.voters or node in cluster._met
        ]

    def learn(self, node: str, address: str) -> None:
        if node != self._me:
            self._where[node] = address
            self._cluster._settle()

    def addresses(self) -> dict[str, str]:
        """As learned, and as every linked node tells of itself."""
        linked = {node: other._listens for node, other in self._cluster._nodes.items() if self._hears(node)}
        return self._where | linked

    def status(self) -> ConsensusStatus:
        cluster = self._cluster
        leader = cluster.leader
        knows = self._me in cluster.voters or self._me in cluster._fed
        return ConsensusStatus(
            me=self._me,
            leader=leader if self._running and leader is not None and cluster._linked(self._me, leader) else None,
            term=cluster.term,
            voters=tuple(sorted(cluster.voters)) if knows else (),
            applied=self._applied,
            has_quorum=self._running and bool(cluster.voters) and cluster._quorum(self._me),
            ready=self._running and self._ready,
            missing=tuple(v for v in sorted(cluster.voters) if not cluster._linked(self._me, v)) if knows else (),
        )

    def holds_lease(self) -> bool:
        return self.status().is_leader and self._me not in self._cluster.leaseless

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    @property
    def _running(self) -> bool:
        return self._cluster._nodes.get(self._me) is self

    def _hears(self, node: str) -> bool:
        return node != self._me and self._running and self._cluster._linked(self._me, node)

    def _require_lead(self) -> None:
        if not self.status().is_leader:
            raise NoLeader("the fake does not lead")

    async def _change(self, node: str, *, add: bool) -> None:
        cluster = self._cluster
        self._require_lead()
        if self._changing:
            raise Conflict("the fake is at another change")
        self._changing = True
        try:
            await asyncio.sleep(0)
            self._require_lead()
            if (node in cluster.voters) == add:
                return
            if add:
                if not cluster._linked(self._me, node) or node in cluster.stuck:
                    raise Unavailable("not there, or not caught up")
                cluster.voters.append(node)
            else:
                left = [voter for voter in cluster.voters if voter != node]
                if node == self._me:
                    raise Conflict("the leader cannot take its own vote")
                if not cluster._quorum(self._me, left):
                    raise Conflict("this would cost the majority")
                cluster.voters.remove(node)
            cluster._settle()
        finally:
            self._changing = False

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._follow)

    def _follow(self) -> None:
        """Apply what can be seen, then say what changed."""
        self._woken = False
        cluster = self._cluster
        if self.status().leader is not None and self._me not in cluster.stuck:
            cluster._fed.add(self._me)
            self._where |= self.addresses()
            self._catch_up()
            self._ready = True
            if self.status().is_leader and len(cluster._log) >= self._compact_entries:
                cluster._base, cluster._log = (self._applied, list(self._machine.snapshot()())), []
        status = self.status()
        seen = status.leader, status.term, status.voters, status.ready
        self._moved.set()
        self._moved = asyncio.Event()
        if seen != self._seen:
            self._seen = seen
            for callback in self._callbacks:
                callback()

    def _catch_up(self) -> None:
        index, chunks = self._cluster._base
        if self._applied < index:
            self._machine.load(iter(chunks))()
            self._applied = index
        for payload in self._cluster._log[self._applied - index :]:
            self._applied += 1
            try:
                self._machine.apply(self._applied, payload)
            except Exception:
                log.exception("a call from the raft thread failed")

    async def _led_in(self, timeout: float) -> float:
        """The deadline, once there is a leader; `NoLeader` if that comes first."""
        deadline = asyncio.get_running_loop().time() + timeout
        if not await self._until(lambda: self.status().leader is not None, deadline):
            raise NoLeader("the fake has no leader")
        return deadline

    async def _until(self, condition: Callable[[], bool], deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                while not condition():
                    if not self._running:
                        return False
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True
