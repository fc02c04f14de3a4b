"""The library's state machine with our commands, and the thread that ticks it.

Names that begin with `_SyncObj__` are private to the library: overriding or reading them is why its version is pinned
exactly and checked when a node starts. No properties here: the library evaluates every attribute while it is built.
"""

import collections
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from pysyncobj import _COMMAND_TYPE, SyncObj, SyncObjConf
from pysyncobj.monotonic import monotonic
from pysyncobj.node import TCPNode

from ariacluster_node.ports import ConsensusStatus, StateMachine

from .disk import Entry, Snapshots
from .inbox import Inbox
from .transport import Transport

log = structlog.get_logger()

TICK_S = 0.02
"""The thread wakes at least this often; a command or a message wakes it at once."""

ELECTION_S: Final = (0.5, 1.0)
"""Measured: with a heartbeat each 0.1 s a new leader stands 0.4 to 1.5 s after the old one fell."""

NEVER_S: Final = (1800.0, 3600.0)
"""The same for a node that nobody knows yet: its elections would only raise its term and depose the leader it joins."""

FREEZE_TIMEOUT_S = 5.0
COMPACT_BYTES = 64 * 1024 * 1024
"""Applied entries are held in memory and in the journal until a snapshot is made: after so many bytes at the latest."""


def configure(*, bind: str, password: bytes, journal: Path, snapshot: Path, joining: bool) -> SyncObjConf:
    """The settings that were measured best. The library's own triggers for compaction are off, see `Core._take`."""
    low, high = NEVER_S if joining else ELECTION_S
    return SyncObjConf(
        autoTick=False,  # our thread ticks: it then also runs the errands, and ends when it is told to
        password=password,
        bindAddress=bind,
        maxBindRetries=1,
        raftMinTimeout=low,
        raftMaxTimeout=high,
        appendEntriesPeriod=0.1,
        appendEntriesUseBatch=False,
        leaderFallbackTimeout=1.0,
        connectionRetryTime=0.5,
        connectionTimeout=NEVER_S[1],  # it would close idle links instead of sending the vote request
        tcp_keepalive=(4, 2, 3),
        commandsQueueSize=10_000,
        commandsWaitLeader=False,  # a queued command would outlive the deadline of its caller
        dynamicMembershipChange=True,
        journalFile=str(journal),
        fullDumpFile=str(snapshot),
        useFork=False,
        logCompactionMinEntries=2**62,
        logCompactionMinTime=2**62,
    )


class Core(SyncObj):  # type: ignore[misc]  # the library has no types
    """One node's raft. Built in any thread, then owned by its own; others use `submit` and `errand`, and `end`.

    Nothing of ours is pickled: a command is the payload's bytes behind the library's one-byte type.
    """

    def __init__(
        self,
        me: str,
        others: list[str],
        conf: SyncObjConf,
        *,
        machine: StateMachine,
        inbox: Inbox,
        snapshots: Path,
        compact_entries: int,
        on_apply: Callable[[int, bytes], None],
        on_status: Callable[[ConsensusStatus], None],
    ) -> None:
        """Open the journal and bind the port. Raises `SyncObjException` if the port is taken, and what the disk raises."""
        self._machine = machine
        self._inbox = inbox
        self._compact_entries = compact_entries
        self._on_apply = on_apply
        self._on_status = on_status
        self._status: ConsensusStatus | None = None
        self._since_snapshot = [0, 0]  # entries, bytes
        self._first_commit = 0  # the leader's commit index when it was first heard
        self._caught_up = False
        self._joining = conf.raftMinTimeout == NEVER_S[0]
        self._errands: collections.deque[Callable[[], None]] = collections.deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            super().__init__(me, others, conf, transportClass=Transport)
        except Exception:
            if hasattr(self, "_SyncObj__pipeNotifier"):
                self._close()
            raise
        self._store = Snapshots(snapshots, freeze=self._freeze, restore=self._restored, has=self._has)
        self._SyncObj__serializer = self._store
        # It counts from 0 after a restart: a late answer to the dead process would acknowledge another command.
        self._SyncObj__commandsLocalCounter = secrets.randbits(48)
        # A voter counts from the moment that it stands in the log. The library would wait until that is known committed.
        for entry in self._SyncObj__raftLog[:]:
            request = self._SyncObj__parseChangeClusterRequest(entry[0])
            if request is not None:
                self._SyncObj__doChangeCluster(request)
        self.addOnTickCallback(self._after_tick)

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="raft", daemon=True)
        self._thread.start()

    def submit(self, payload: bytes, done: Callable[[Any, int], None]) -> None:
        """From any thread: propose `payload`; `done(None, reason)` is called in some thread, once or never."""
        self._enqueue(payload, done, _COMMAND_TYPE.REGULAR)

    def barrier(self, done: Callable[[Any, int], None]) -> None:
        """As `submit`, with an entry that changes nothing: once it is committed, all before it is."""
        self._enqueue(b"", done, _COMMAND_TYPE.NO_OP)

    def _enqueue(self, command: bytes, done: Callable[[Any, int], None], kind: int) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe that wakes the thread is full: it is awake
            self._applyCommand(command, done, kind)

    def errand(self, call: Callable[[], None]) -> None:
        """From any thread: run `call` in the raft thread."""
        self._errands.append(call)

    def end(self) -> None:
        """Ask the thread to close everything and end. At once; `join` waits for it."""
        self._ending.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def reaches(self, address: str) -> bool:
        """From any thread: whether there is a link to that voter, or it is this one."""
        node = TCPNode(address)
        return bool(node == self.selfNode or self.isNodeConnected(node))

    def heard(self, commit_index: int) -> None:
        """A leader of the present term spoke; its commit index was this."""
        self._first_commit = self._first_commit or commit_index

    # In the raft thread, from here on.

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                while self._errands:
                    self._errands.popleft()()
                self.doTick(TICK_S)
            except Exception:
                log.exception("a tick of raft failed")
                time.sleep(TICK_S)
        self._close()

    def _close(self) -> None:
        try:
            self._SyncObj__raftLog.onOneSecondTimer()  # the commit index, which is written once a second
        finally:
            self._doDestroy()
            notifier = self._SyncObj__pipeNotifier
            os.close(notifier._PipeNotifier__pipeR)
            os.close(notifier._PipeNotifier__pipeW)

    def _take(self, index: int, payload: bytes) -> None:
        self._inbox.post(partial(self._on_apply, index, payload))
        self._since_snapshot[0] += 1
        self._since_snapshot[1] += len(payload)
        if self._since_snapshot[0] >= self._compact_entries or self._since_snapshot[1] >= COMPACT_BYTES:
            self._since_snapshot = [0, 0]  # if it fails, the next attempt is as far away again
            self.forceLogCompaction()

    def _freeze(self) -> bytes:
        encode = self._inbox.ask(self._machine.snapshot, timeout=FREEZE_TIMEOUT_S)
        return encode()

    def _restored(self, index: int, state: bytes) -> None:
        log.info("snapshot restored", index=index, bytes=len(state))
        self._since_snapshot = [0, 0]
        self._inbox.post(partial(self._machine.restore, state))

    def _has(self, entry: Entry) -> bool:
        return bool(self.raftLastApplied >= entry[1] or self._SyncObj__getEntries(entry[1], 1) == [entry])

    def _after_tick(self) -> None:
        """Also before the thread sleeps: tell where we stand."""
        leader = self._getLeader()
        others = self._SyncObj__otherNodes
        mine = leader is not None and leader == self._SyncObj__selfNode
        if leader is not None and not mine and not self.isNodeConnected(leader):
            leader = None  # the library names the last one until the next election, and holds none without a link
        if leader is not None and self._joining:
            self._joining = False
            self.conf.raftMinTimeout, self.conf.raftMaxTimeout = ELECTION_S
            self._SyncObj__raftElectionDeadline = monotonic() + ELECTION_S[1]
        if leader is not None and not self._caught_up:
            # The entry last applied is of this term, so all of earlier terms that was committed is applied as well.
            applied = self._SyncObj__getEntries(self.raftLastApplied, 1)
            in_term = bool(applied) and applied[0][2] == self.raftCurrentTerm
            self._caught_up = in_term and self.raftLastApplied >= self._first_commit
        status = ConsensusStatus(
            me=self.selfNode.id,
            leader=leader.id if leader is not None else None,
            term=self.raftCurrentTerm,
            voters=tuple(sorted(node.id for node in others | {self.selfNode})),
            applied=self.raftLastApplied,
            # A follower cannot see the links of others, but a leader stands down within 1 s without a majority.
            has_quorum=not self._joining and (self.hasQuorum or (leader is not None and not mine)),
            ready=self._caught_up,
        )
        if status != self._status:
            self._status = status
            self._inbox.post(partial(self._on_status, status))
        if not others and self._SyncObj__raftLog[-1][1] > self.raftCommitIndex:
            self._SyncObj__pipeNotifier.notify()  # alone, no answer would wake the thread to commit what it just took

    # Overrides of the library's private parts.

    def _SyncObj__doApplyCommand(self, command: bytes) -> None:
        if command[0] == _COMMAND_TYPE.REGULAR:
            self._take(self.raftLastApplied + 1, command[1:])
        elif command[0] == _COMMAND_TYPE.MEMBERSHIP:
            super()._SyncObj__doApplyCommand(command)

    def _SyncObj__changeCluster(self, request: Any) -> Any:
        """One change at a time: the library forgets to set the variable with which it would refuse a second one."""
        pending = self._SyncObj__getEntries(self.raftCommitIndex + 1)
        if any(self._SyncObj__parseChangeClusterRequest(entry[0]) is not None for entry in pending):
            return False
        return super()._SyncObj__changeCluster(request)

    def _SyncObj__loadDumpFile(self, clearJournal: bool) -> None:
        if clearJournal:  # a leader's snapshot replaces all that is here
            super()._SyncObj__loadDumpFile(True)
            return
        # Killed after the snapshot was renamed and before the journal was cut, the journal begins earlier than the
        # snapshot says. The library would throw all of it away, with every entry after the snapshot.
        snapshot, journal = self._store.read(), self._SyncObj__raftLog
        if snapshot is not None:
            surplus = snapshot.before[1] - journal[0][1]
            if 0 < surplus < len(journal) and journal[surplus] == snapshot.before:
                journal.deleteEntriesTo(surplus)
        known = self.otherNodes
        super()._SyncObj__loadDumpFile(False)
        for node in known - self.otherNodes:  # told by the caller, or in the log after the snapshot
            self._SyncObj__doChangeCluster(("add", node.id, node))
