"""The `Consensus` port without a network: nodes of one process that share one log, with links that can be cut."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import Conflict, InvalidInput, NoLeader, Overloaded, Unavailable, UnknownOutcome
from ariacluster_node.ports import ConsensusStatus, StateMachine

log = structlog.get_logger()


class FakeCluster:
    """What the nodes of a cluster have in common; outlives them, as their disks would.

    Elections take no time: while a majority of the voters runs and is not cut off, one of them leads, unless `depose`d.
    """

    def __init__(self) -> None:
        self.voters: list[str] = []
        self.leader: str | None = None
        self.term = 0
        self.full = False
        """True: proposals are refused as `Overloaded`."""
        self.mute: set[str] = set()
        """Proposals of these nodes are committed, but answered with `UnknownOutcome`."""
        self._nodes: dict[str, FakeConsensus] = {}
        self._cut: set[str] = set()
        self._elections = True
        self._base = (0, b"")  # index and bytes of the last snapshot
        self._log: list[bytes] = []  # what was committed after it

    def cut(self, address: str) -> None:
        """Take the node off the network."""
        self._cut.add(address)
        self._settle()

    def heal(self, address: str) -> None:
        self._cut.discard(address)
        self._settle()

    def lead(self, address: str) -> None:
        """Make that node the leader."""
        assert address in self._reachable(), f"{address} is no voter that can be reached"
        self._elections = True
        self.leader, self.term = address, self.term + 1
        self._settle()

    def depose(self) -> None:
        """No leader from now on, until `lead` names one."""
        self._elections, self.leader = False, None
        self._settle()

    def _reachable(self) -> list[str]:
        return [voter for voter in self.voters if voter in self._nodes and voter not in self._cut]

    def _sees(self, address: str) -> bool:
        return address in self._reachable() and self._quorum()

    def _quorum(self) -> bool:
        return len(self._reachable()) * 2 > len(self.voters)

    def _settle(self) -> None:
        reachable = self._reachable()
        if self.leader not in reachable or not self._quorum():
            self.leader = None
        if self.leader is None and self._elections and self._quorum():
            self.leader, self.term = reachable[0], self.term + 1
        for node in list(self._nodes.values()):
            node._wake()

    def _commit(self, payload: bytes) -> int:
        self._log.append(payload)
        self._settle()
        return self._base[0] + len(self._log)


class FakeConsensus:
    """One node of a `FakeCluster`. Takes what the real one takes, as far as it means anything here."""

    def __init__(
        self,
        machine: StateMachine,
        *,
        cluster: FakeCluster,
        me: str,
        voters: Sequence[str] = (),
        joining: bool = False,
        compact_entries: int = 20_000,
    ) -> None:
        self._machine = machine
        self._cluster = cluster
        self._me = me
        self._others = voters
        self._joining = joining
        self._compact_entries = compact_entries
        self._applied = 0
        self._ready = False
        self._adding = False
        self._woken = False
        self._seen: tuple[str | None, int, tuple[str, ...]] | None = None
        self._moved = asyncio.Event()  # set and renewed whenever leader or applied index may have changed
        self._callbacks: list[Callable[[], None]] = []

    async def start(self) -> None:
        self._cluster._nodes[self._me] = self
        if not self._joining:
            self._cluster.voters.extend(sorted({self._me, *self._others} - set(self._cluster.voters)))
        self._cluster._settle()

    async def stop(self) -> None:
        if self._cluster._nodes.pop(self._me, None) is not None:
            self._cluster._settle()
            self._wake()

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        if len(payload) > MAX_PROPOSAL_BYTES:
            raise InvalidInput(f"a command may have {MAX_PROPOSAL_BYTES} bytes")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if not await self._until(lambda: self.status().leader is not None, deadline):
            raise NoLeader("the fake has no leader")
        if self._cluster.full:
            raise Overloaded("the fake is full")
        index = self._cluster._commit(payload)
        if not await self._until(lambda: self._applied >= index, deadline) or self._me in self._cluster.mute:
            raise UnknownOutcome("the fake does not tell")

    async def add_voter(self, address: str, *, timeout: float) -> None:
        if self.status().leader != self._me:
            raise NoLeader("the fake does not lead")
        if self._adding:
            raise Conflict("the fake is taking in another")
        self._adding = True
        try:
            await asyncio.sleep(0)
            if address in self._cluster.voters:
                return
            if address not in self._cluster._nodes or address in self._cluster._cut:
                raise Unavailable("nobody is there")
            self._cluster.voters.append(address)
            self._cluster._settle()
        finally:
            self._adding = False

    def status(self) -> ConsensusStatus:
        running = self._cluster._nodes.get(self._me) is self
        sees = running and self._cluster._sees(self._me)
        return ConsensusStatus(
            me=self._me,
            leader=self._cluster.leader if sees else None,
            term=self._cluster.term,
            voters=tuple(sorted(self._cluster.voters)),
            applied=self._applied,
            has_quorum=sees,
            ready=running and self._ready,
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._follow)

    def _follow(self) -> None:
        """Apply what can be seen, then say what changed."""
        self._woken = False
        cluster, status = self._cluster, self.status()
        if status.leader is not None:
            self._catch_up()
            self._ready = True
            if status.is_leader and len(cluster._log) >= self._compact_entries:
                cluster._base, cluster._log = (self._applied, self._machine.snapshot()()), []
        seen = status.leader, status.term, status.voters
        self._moved.set()
        self._moved = asyncio.Event()
        if seen != self._seen:
            self._seen = seen
            for callback in self._callbacks:
                callback()

    def _catch_up(self) -> None:
        index, state = self._cluster._base
        if self._applied < index:
            self._machine.restore(state)
            self._applied = index
        for payload in self._cluster._log[self._applied - index :]:
            self._applied += 1
            try:
                self._machine.apply(self._applied, payload)
            except Exception:
                log.exception("a call from the raft thread failed")

    async def _until(self, condition: Callable[[], bool], deadline: float) -> bool:
        try:
            async with asyncio.timeout_at(deadline):
                while not condition():
                    if self._cluster._nodes.get(self._me) is not self:
                        return False
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True
