"""The `Consensus` port, by PySyncObj: the loop's side. Raft itself runs in a thread of its own, see `core`."""

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
from pysyncobj import FAIL_REASON, SyncObjException
from pysyncobj.version import VERSION

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import (
    Conflict,
    InvalidInput,
    NoLeader,
    Overloaded,
    StartFailed,
    UnknownOutcome,
)
from ariacluster_node.ports import ConsensusStatus, StateMachine

from .core import Core, configure
from .disk import Meta, read_snapshot
from .inbox import Inbox
from .knock import knock

log = structlog.get_logger()

NEEDED_VERSION = "0.3.17"
PAUSE_S = 0.05
"""Between two looks at something that no event tells of."""
HAND_OVER_S = 2.0
"""How long a leader that stops tries to leave another one behind."""

NOT_TAKEN = frozenset({FAIL_REASON.MISSING_LEADER, FAIL_REASON.NOT_LEADER, FAIL_REASON.DISCARDED})
"""Certainly not in the log: nobody led, the one asked did not lead, or another entry was committed in its place."""


class PySyncObjConsensus:
    """One voter. `me` is what the others dial, `bind` (`host` or `host:port`; None: every interface) where it listens.

    `voters` are the others as far as remembered; what the log says is added. `joining`: they do not know this node yet,
    so it holds no election before a leader has spoken to it. `compact_entries`: applied entries between two snapshots.
    """

    def __init__(
        self,
        machine: StateMachine,
        *,
        me: str,
        bind: str | None,
        voters: Sequence[str],
        key: bytes,
        folder: Path,
        joining: bool = False,
        compact_entries: int = 20_000,
    ) -> None:
        self._machine = machine
        self._others = [voter for voter in voters if voter != me]
        bind = bind or "0.0.0.0"
        self._bind = bind if ":" in bind else f"{bind}:{_port(me)}"
        # The library decrypts with it before it unpickles anything: who lacks the key cannot say a word.
        self._password = hashlib.blake2b(key, person=b"ariacluster.raft").hexdigest().encode()
        self._folder = folder
        self._joining = joining
        self._compact_entries = compact_entries
        self._core: Core | None = None
        self._adding = False
        self._led = asyncio.Event()
        self._waiting: set[asyncio.Future[int]] = set()
        self._callbacks: list[Callable[[], None]] = []
        self._status = ConsensusStatus(
            me=me,
            leader=None,
            term=0,
            voters=tuple(sorted({me, *voters})),
            applied=0,
            has_quorum=False,
            ready=False,
        )

    async def start(self) -> None:
        if VERSION != NEEDED_VERSION:
            raise StartFailed(f"PySyncObj {NEEDED_VERSION} is needed, {VERSION} is installed. Install that version.")
        self._inbox = Inbox(asyncio.get_running_loop())
        self._core = await asyncio.to_thread(self._open)
        self._core.begin()

    async def stop(self) -> None:
        core = self._core
        if core is None:
            return
        try:
            await self._hand_over(core)
        finally:
            self._core = None
            core.end()
        await asyncio.to_thread(core.join)  # the loop stays free meanwhile: the thread may be asking it for a snapshot
        for future in self._waiting:
            if not future.done():
                future.set_result(FAIL_REASON.UNKNOWN_OUTCOME)
        self._take_status(msgspec.structs.replace(self._status, leader=None, has_quorum=False, ready=False))
        self._led.set()  # who waits for a leader shall see that none will come

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        if len(payload) > MAX_PROPOSAL_BYTES:
            raise InvalidInput(f"A command may have {MAX_PROPOSAL_BYTES} bytes, this one has {len(payload)}. Split it.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            core = await self._leader_known(deadline)
            reason = await self._outcome(partial(core.submit, payload), deadline)
            if reason == FAIL_REASON.SUCCESS:
                return
            if reason == FAIL_REASON.QUEUE_FULL:
                raise Overloaded("Too many commands wait to be written to the log. Try again in a moment.")
            if reason not in NOT_TAKEN:
                raise UnknownOutcome("The leader changed before it answered. The command may yet take effect.")
            if loop.time() + PAUSE_S >= deadline:
                raise NoLeader("The cluster lost its leader. Nothing was changed; try again in a moment.")
            await asyncio.sleep(PAUSE_S)

    async def add_voter(self, address: str, *, timeout: float) -> None:
        _port(address)
        if not self._status.is_leader:
            raise NoLeader("Only the leader can take in a voter, and this node does not lead.")
        if self._adding:
            raise Conflict("Another node is being taken in right now. Try again in a moment.")
        self._adding = True
        try:
            await self._add(address, asyncio.get_running_loop().time() + timeout)
        finally:
            self._adding = False

    def status(self) -> ConsensusStatus:
        return self._status

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def _open(self) -> Core:
        """Bind the port and read the log; in a worker thread. Leaves nothing open if it raises."""
        self._probe_port()
        journal, snapshot = self._folder / "journal", self._folder / "snapshot"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # The library would go on without what it cannot read, and vote and lead with an empty table.
            Meta(f"{journal}.meta").getMeta()
            read_snapshot(snapshot)
            return Core(
                self._status.me,
                self._others,
                configure(
                    bind=self._bind,
                    password=self._password,
                    journal=journal,
                    snapshot=snapshot,
                    joining=self._joining,
                ),
                machine=self._machine,
                inbox=self._inbox,
                snapshots=snapshot,
                compact_entries=self._compact_entries,
                on_apply=self._apply,
                on_status=self._take_status,
            )
        except SyncObjException as error:
            raise StartFailed(f"Nothing can listen on {self._bind}. Choose another port.") from error
        except (OSError, ValueError, struct.error) as error:  # msgspec's errors are ValueErrors
            raise StartFailed(f"The log in {self._folder} cannot be used: {error}. Restore that folder.") from error

    def _probe_port(self) -> None:
        host, _, port = self._bind.rpartition(":")
        try:
            family, *_, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            reason = error.strerror or error
            raise StartFailed(f"Port {port} of {host} cannot be listened on: {reason}. Choose another.") from error

    def _apply(self, index: int, payload: bytes) -> None:
        try:
            self._machine.apply(index, payload)
        except Exception:
            log.exception("an entry could not be applied; going on without it", index=index)
        self._status = msgspec.structs.replace(self._status, applied=index)

    def _take_status(self, status: ConsensusStatus) -> None:
        before, self._status = self._status, status
        if status.leader is None:
            self._led.clear()
        else:
            self._led.set()
        if any(getattr(before, told) != getattr(status, told) for told in ("leader", "term", "voters", "ready")):
            log.debug("raft changed", leader=status.leader, term=status.term, voters=status.voters)
            for callback in self._callbacks:
                try:
                    callback()
                except Exception:
                    log.exception("a listener for changes of raft failed")

    async def _leader_known(self, deadline: float) -> Core:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._led.wait()
        if self._core is None or self._status.leader is None:
            raise NoLeader("No leader was elected in time. Nothing was changed; try again in a moment.")
        return self._core

    async def _outcome(self, begin: Callable[[Callable[[Any, int], None]], None], deadline: float) -> int:
        """Begin something of the library's and wait for its reason; `UnknownOutcome` when time is up."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def settle(reason: int) -> None:
            if not future.done():
                future.set_result(reason)

        # By the same way as the entry itself, hence after it was applied.
        self._waiting.add(future)
        try:
            begin(lambda _, reason: self._inbox.post(partial(settle, reason)))
            async with asyncio.timeout_at(deadline):
                return await future
        except TimeoutError:
            raise UnknownOutcome("The cluster did not confirm in time. The command may yet take effect.") from None
        finally:
            self._waiting.discard(future)

    async def _add(self, address: str, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        core = self._core
        if core is not None and address not in self._status.voters:
            await knock(address, core.encryptor, deadline=deadline)
        while True:
            if core is None or self._core is None or not self._status.is_leader:
                raise NoLeader("Leadership went elsewhere. Ask the new leader.")
            # If it stands in the log already, an entry behind it tells when that is committed.
            known = address in self._status.voters
            begin = core.barrier if known else partial(core.addNodeToCluster, address)
            reason = await self._outcome(begin, deadline)
            if reason == FAIL_REASON.SUCCESS:
                break
            if reason in NOT_TAKEN or reason == FAIL_REASON.QUEUE_FULL:
                raise NoLeader("Leadership went elsewhere. Ask the new leader.")
            if reason != FAIL_REASON.REQUEST_DENIED:
                raise UnknownOutcome("The leader changed meanwhile. Ask the new leader; that is safe.")
            # An earlier change, or the first entry of this leadership, is not committed yet.
            if loop.time() + PAUSE_S >= deadline:
                raise Conflict("Another change of the voters is not finished. Try again in a moment.")
            await asyncio.sleep(PAUSE_S)
        while not core.reaches(address):
            if loop.time() + PAUSE_S >= deadline:
                raise UnknownOutcome(f"{address} is a voter now, but has not been reached. Ask again; that is safe.")
            await asyncio.sleep(PAUSE_S)

    async def _hand_over(self, core: Core) -> None:
        """Leave another leader behind: then the others need not wait for an election."""
        if not self._status.is_leader or len(self._status.voters) == 1:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HAND_OVER_S
        while self._status.leader in (None, self._status.me) and self._status.has_quorum and loop.time() < deadline:
            core.errand(core.transferLeadership)  # refused while the best follower lacks an entry: ask again
            await asyncio.sleep(PAUSE_S)


def _port(address: str) -> int:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidInput(f"{address!r} is not an address like host:port.", field="address")
    return int(port)
