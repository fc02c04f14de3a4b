"""The `Consensus` port, by PySyncObj: the loop's side. Raft itself runs in a thread of its own, see `thread`."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import (
    AriaClusterError,
    InvalidInput,
    NoLeader,
    NotSpoken,
    Overloaded,
    Unavailable,
    UnknownOutcome,
)
from ariacluster_node.ports import ConsensusStatus, Follower, StateMachine

from .host import Outcome, Status, Timing
from .inbox import Inbox
from .library import check_version, now
from .store.snapshots import SnapshotMeta
from .thread import Plan, RaftThread

log = structlog.get_logger()

PAUSE_S = 0.05
"""Between two looks at something that no event tells of."""

HAND_OVER_S = 2.0
"""How long a leader that stops tries to leave another one behind."""

Answer = tuple[Outcome, AriaClusterError | None]


class PySyncObjConsensus:
    """One member, known by its id `me`. `listen` is its bound socket; `addresses` says where others were last, by id.

    `found`: begin a new cluster of this node alone, unless the folder holds a log already. Else it follows as a learner
    until the log says that it votes. `compact_entries`: applied entries between two snapshots. `on_failure` is told, on the
    loop, why raft has ended for good: the process shall end then too.
    """

    def __init__(
        self,
        machine: StateMachine,
        *,
        me: str,
        listen: socket.socket,
        cluster_id: str,
        key: bytes,
        addresses: Mapping[str, str],
        found: bool,
        folder: Path,
        compact_entries: int = 20_000,
        timing: Timing | None = None,
        on_failure: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._machine = machine
        self._plan = Plan(
            me=me,
            listen=listen,
            # Who has the key of another cluster, or none, cannot say a word.
            secret=HKDF(SHA256(), 32, salt=cluster_id.encode(), info=b"ariacluster raft 1").derive(key),
            addresses=dict(addresses),
            found=found,
            folder=folder,
            compact_entries=compact_entries,
            timing=timing or Timing(),
        )
        self._on_failure = on_failure
        self._thread: RaftThread | None = None
        self._waiting: set[asyncio.Future[Answer]] = set()
        self._freezing: set[asyncio.Task[None]] = set()
        self._restoring: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._led = asyncio.Event()
        self._moved = asyncio.Event()
        self._changing = False
        self._status = ConsensusStatus(me=me, leader=None, term=0, voters=(), applied=0, has_quorum=False, ready=False)

    async def start(self) -> None:
        check_version()
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop)
        self._thread = RaftThread(self._plan, self._inbox, self, self._machine.admits)
        try:
            await self._thread.start()
        except BaseException:
            self._thread = None
            raise

    async def stop(self) -> None:
        thread = self._thread
        if thread is None:
            return
        try:
            await self._hand_over()
        finally:
            self._thread = None
            await thread.stop()
            self._inbox.close()
            if self._restoring is not None:
                self._restoring.cancel()
            await asyncio.gather(*self._freezing, return_exceptions=True)
            self._leave()

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        if len(payload) > MAX_PROPOSAL_BYTES:
            raise InvalidInput(f"A command may have {MAX_PROPOSAL_BYTES} bytes, this one has {len(payload)}. Split it.")
        deadline = self._loop.time() + timeout
        while True:
            thread = await self._leader_known(deadline)
            outcome, _ = await self._ask(partial(thread.submit, payload), deadline)
            if outcome is Outcome.DONE:
                return
            if outcome is Outcome.REFUSED:
                raise NotSpoken(
                    "The leader runs an older Aria Cluster, which does not understand that: update it first."
                )
            if outcome is Outcome.FULL:
                raise Overloaded("Too many commands wait to be written to the log. Try again in a moment.")
            if outcome is not Outcome.NOT_TAKEN:
                raise UnknownOutcome("The leader changed before it answered. The command may yet take effect.")
            await self._pause(deadline, "The cluster lost its leader. Nothing was changed; try again in a moment.")

    async def barrier(self, *, timeout: float) -> None:
        deadline = self._loop.time() + timeout
        while True:
            thread = await self._leader_known(deadline)
            outcome, _ = await self._ask(thread.read, deadline)
            if outcome is Outcome.DONE:
                return
            await self._pause(deadline, "No leader could vouch for what this node knows. Try again in a moment.")

    async def add_voter(self, node: str, *, timeout: float) -> None:
        await self._change(lambda voters: voters | {node}, timeout)

    async def remove_voter(self, node: str, *, timeout: float) -> None:
        await self._change(lambda voters: voters - {node}, timeout)

    async def transfer(self, *, timeout: float, to: str | None = None) -> None:
        if not self._status.is_leader or self._thread is None:
            raise NoLeader("Only the leader can hand leadership over, and this node does not lead.")
        if len(self._status.voters) == 1:
            raise Unavailable("There is no other voter that could lead.")
        if to is not None and to not in self._status.voters:
            raise Unavailable("It does not vote, and cannot lead.")
        deadline = self._loop.time() + timeout
        while self._status.leader in (None, self._status.me):
            if self._thread is None or self._loop.time() > deadline:
                raise Unavailable("Nobody took leadership over in time. It may yet happen.")
            self._thread.transfer(to)  # not heeded while the best follower lacks an entry: ask again
            await asyncio.sleep(PAUSE_S)

    def followers(self) -> list[Follower]:
        if self._thread is None:
            return []
        present = now()
        return [
            Follower(node=f.node, lag=f.lag, silent_for=max(present - f.responded, 0.0), connected=f.connected)
            for f in sorted(self._thread.core.followers, key=lambda f: f.node)
        ]

    def learn(self, node: str, address: str) -> None:
        if self._thread is not None:
            self._thread.learn(node, address)

    def addresses(self) -> dict[str, str]:
        return dict(self._thread.links.addresses) if self._thread is not None else {}

    def status(self) -> ConsensusStatus:
        return self._status

    def holds_lease(self) -> bool:
        return self._thread is not None and now() < self._thread.core.lease_until

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    # What the thread tells.

    def on_entry(self, index: int, payload: bytes) -> None:
        try:
            self._machine.apply(index, payload)
        except NotSpoken as error:
            self._inbox.close()
            self.on_failure(error)
            return
        except Exception:
            log.exception("an entry could not be applied; going on without it", index=index)
        self._status = msgspec.structs.replace(self._status, applied=index)

    def on_settled(self, token: asyncio.Future[Answer], outcome: Outcome, said: AriaClusterError | None) -> None:
        if not token.done():
            token.set_result((outcome, said))

    def on_restore(self, chunks: Any, index: int) -> asyncio.Future[None]:
        self._restoring = asyncio.ensure_future(self._restore(chunks, index))
        return self._restoring

    def on_freeze(self, meta: SnapshotMeta) -> None:
        thread = self._thread
        if thread is None:
            return
        task = asyncio.create_task(asyncio.to_thread(thread.write_snapshot, meta, self._machine.snapshot()))
        self._freezing.add(task)
        task.add_done_callback(self._freezing.discard)

    def on_status(self, status: Status) -> None:
        before = self._status
        self._changing = status.changing
        self._status = msgspec.structs.replace(
            before,
            leader=status.leader,
            term=status.term,
            voters=status.voters,
            has_quorum=status.has_quorum,
            ready=status.ready,
            missing=status.missing,
        )
        self._told(before)

    def on_failure(self, error: BaseException) -> None:
        log.critical(
            "raft has ended", reason=str(error), exc_info=None if isinstance(error, AriaClusterError) else error
        )
        self._leave()
        self._on_failure(str(error))

    # Inside.

    def _told(self, before: ConsensusStatus) -> None:
        status = self._status
        if status.leader is None:
            self._led.clear()
        else:
            self._led.set()
        self._moved.set()
        if any(getattr(before, told) != getattr(status, told) for told in ("leader", "term", "voters", "ready")):
            log.debug("raft changed", leader=status.leader, term=status.term, voters=status.voters)
            for callback in self._callbacks:
                try:
                    callback()
                except Exception:
                    log.exception("a listener for changes of raft failed")

    def _leave(self) -> None:
        """Nothing more will be heard: say so to whoever waits."""
        before = self._status
        self._status = msgspec.structs.replace(before, leader=None, has_quorum=False, ready=False)
        self._told(before)
        for future in self._waiting:
            if not future.done():
                future.set_result((Outcome.UNKNOWN, None))
        self._led.set()  # who waits for a leader shall see that none will come

    async def _restore(self, chunks: Any, index: int) -> None:
        try:
            put_in_place = await asyncio.to_thread(self._machine.load, chunks)
            put_in_place()
        except Exception as error:
            self._inbox.close()  # what comes after it must not be applied to another state
            self.on_failure(error)
            return
        log.info("snapshot restored", index=index)
        self._status = msgspec.structs.replace(self._status, applied=index)

    async def _leader_known(self, deadline: float) -> RaftThread:
        if not self._led.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._led.wait()
        if self._thread is None or self._status.leader is None:
            raise NoLeader("No leader was elected in time. Nothing was changed; try again in a moment.")
        return self._thread

    async def _pause(self, deadline: float, sentence: str) -> None:
        if self._loop.time() + PAUSE_S >= deadline:
            raise NoLeader(sentence)
        await asyncio.sleep(PAUSE_S)

    async def _ask(self, ask: Callable[[asyncio.Future[Answer]], None], deadline: float) -> Answer:
        """Ask the core for something; its answer comes by the same way as the entry itself, hence after it was applied."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting.add(future)
        try:
            ask(future)
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise UnknownOutcome("The cluster did not confirm in time. The command may yet take effect.") from None
        finally:
            self._waiting.discard(future)

    async def _change(self, to: Callable[[frozenset[str]], Collection[str]], timeout: float) -> None:
        """One change of the voters, committed when it returns."""
        deadline = self._loop.time() + timeout
        if not self._status.is_leader or self._thread is None:
            raise NoLeader("Only the leader can change who votes, and this node does not lead.")
        before = frozenset(self._status.voters)
        after = to(before)
        if after != before:
            outcome, said = await self._ask(partial(self._thread.change, after), deadline)
            if outcome is Outcome.REFUSED and said is not None:
                raise said
            if outcome in (Outcome.NOT_TAKEN, Outcome.FULL):
                raise NoLeader("Leadership went elsewhere. Ask the new leader.")
            if outcome is not Outcome.DONE:
                raise UnknownOutcome("The leader changed meanwhile. Ask the new leader; that is safe.")
        while self._changing or frozenset(self._status.voters) != after:
            self._moved.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._moved.wait()
            except TimeoutError:
                raise UnknownOutcome("The change was not confirmed in time. Ask again; that is safe.") from None

    async def _hand_over(self) -> None:
        """Leave another leader behind: then the others need not wait for an election."""
        deadline = self._loop.time() + HAND_OVER_S
        while self._status.is_leader and self._thread is not None and self._loop.time() < deadline:
            if not any(other.connected and other.node in self._status.voters for other in self.followers()):
                return  # the others are stopping too
            self._thread.transfer()
            await asyncio.sleep(PAUSE_S)
