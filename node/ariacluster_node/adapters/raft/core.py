"""One node's raft: driven by its inputs and by ticks, and nothing in it does IO by itself.

The private parts of the library are written as our own here: see `members`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pysyncobj import FAIL_REASON
from pysyncobj.node import Node

from ariacluster.domain.errors import StartFailed

from . import configurations
from .configurations import Configuration, Configurations, Voters, majority
from .host import Given, Host, Inconsistent, Links, Status, Timing
from .library import now
from .members import MEMBERSHIP, REGULAR, Peer
from .requests import Requests
from .store.snapshots import SnapshotMeta, Snapshots
from .store.wal import Wal
from .wire.messages import (
    Append,
    Appended,
    AskIndex,
    AskVote,
    Forward,
    Forwarded,
    LeadNow,
    Message,
    Piece,
    PieceTaken,
    ReadIndex,
    Vote,
)

LEAST_PAUSE_S = 0.005
"""Between two turns for which there is no reason but the time."""

MAX_APPLIED = 1000
"""Entries applied in one tick: heartbeats must get their turn."""

COMPACT_BYTES = 8 * 1024 * 1024
"""Applied commands are held in memory until a snapshot is made, and applied once more after a restart: after so many bytes, or
half of what the last snapshot has, whichever is more. The shortest commands in them, 200,000, take two seconds."""

MAX_COMPACT_BYTES = 64 * 1024 * 1024
"""More is not held in memory, however large the snapshots are."""

KEEP_BYTES = 8 * 1024 * 1024
"""What stays of the log behind a snapshot, for those who are a little late, is no larger."""


class _SyncObj(Requests):
    """Owned by one thread. See `Host` for what it tells, and when."""

    def __init__(
        self,
        me: str,
        *,
        found: Voters,
        wal: Wal,
        snapshots: Snapshots,
        links: Links,
        host: Host,
        dice: Callable[[], float],
        timing: Timing = Timing(),  # noqa: B008  # frozen
        compact_entries: int = 20_000,
        keep_entries: int = 5_000,
    ) -> None:
        """`found`: the first voters of a new cluster, told to each of them alike; empty for everybody else, and without
        effect once the log knows voters. `dice` answers in [0, 1). `keep_entries`: so much of the log stays behind a
        snapshot, for followers that are a little late.
        """
        self._compact_entries = compact_entries
        self._keep_entries = keep_entries
        self._ready = False
        self._freezing: SnapshotMeta | None = None
        self._since_snapshot = [0, 0]  # entries, bytes
        self._seen: tuple[Any, ...] = ()
        super().__init__(Given(me=me, wal=wal, snapshots=snapshots, links=links, host=host, dice=dice, timing=timing))
        self._reopen(found)

    def connected(self, peer: str) -> None:
        node = Peer(peer)
        self.__connectedNodes.add(node)
        if self._isLeader() and node in self._progress:
            self._progress[node].lost()
        self._sort_out()

    def disconnected(self, peer: str) -> None:
        node = Peer(peer)
        self.__connectedNodes.discard(node)
        if node in self._progress:
            self._progress[node].lost()
        self._sort_out()
        if node == self.__raftLeader:
            self._leader_gone()

    def receive(self, peer: str, messages: Sequence[Message]) -> None:
        node = Peer(peer)
        for message in messages:
            self._receivers[type(message)](self, node, message)

    def tick(self) -> bool:
        """One turn: what is due, what was committed, what is to be sent and written. True: another one is due at once."""
        self.__raftLog.land()
        self._count_own()
        self.doTick()
        self._count_votes()
        self._stand_down()
        if self._isLeader():
            for node in self._peers:
                self._feed(node, beat=False)
        self._links.flush()
        self._write()
        self._answer_held()
        self._answer_reads()
        self._tell()
        return bool(self.__raftCommitIndex > self.__raftLastApplied)

    def pause(self) -> float:
        """Seconds until the next turn, if nothing comes in before: until a heartbeat or an election is due, at most a tick."""
        due = self.__newAppendEntriesTime if self._isLeader() else self.__raftElectionDeadline
        return min(max(due - now(), LEAST_PAUSE_S), self._timing.tick_s)

    def _write(self) -> None:
        """All that came in goes to the disk at once, and nothing waits for that but what speaks of it."""
        self.__raftLog.setRaftCommitIndex(min(self.__raftCommitIndex, self.__raftLog[-1][1]))
        if (write := self.__raftLog.begin()) is not None:
            self._writing_since = now()
            self._host.write(write)
            self.__raftLog.land()

    def snapshot_written(self, meta: SnapshotMeta) -> None:
        """The snapshot asked for by `freeze` lies on disk."""
        self._freezing = None
        if self._snapshots.latest is not None and self._snapshots.latest.index >= meta.index:
            return  # a leader's came meanwhile
        self._snapshots.adopt(meta)
        self._drop_behind(meta)

    def _drop_behind(self, meta: SnapshotMeta) -> None:
        """What the snapshot covers, but for the last of it."""
        first = self.__raftLog[0][1]
        surplus, size = max(0, meta.index - self._keep_entries - first), 0
        for place in range(meta.index - first, surplus, -1):
            size += len(self.__raftLog[place][0])
            if size > KEEP_BYTES:
                surplus = place
                break
        if surplus > 0:
            self.__raftLog.deleteEntriesTo(surplus)
            self._configurations.forget_before(self.__raftLog[0][1])

    def snapshot_failed(self, meta: SnapshotMeta) -> None:
        """It could not be made; the next attempt is as far away as this one was."""
        self._freezing = None

    def close(self) -> None:
        """Write what is left to write. Whatever was asked and is open stays unsettled."""
        self.__raftLog.sync()
        self._doDestroy()
        for progress in self._progress.values():
            progress.stop_sending()

    def _reopen(self, found: Voters) -> None:
        """Take up what lies on disk. The configuration is the log's last one, committed or not (§4.1)."""
        meta = self._snapshots.latest
        if meta is not None:
            self._configurations = Configurations(Configuration(meta.config_index, meta.voters))
            self.__raftLastApplied = meta.index
            self.__raftCommitIndex = max(self.__raftCommitIndex, meta.index)
            self._host.restore(meta)
            self._drop_behind(meta)  # segments hold more than was kept
        for command, index, _ in self.__raftLog[:]:
            try:
                self._note_configuration(command, index)
            except ValueError as error:  # msgspec's are ValueErrors
                raise StartFailed(
                    f"Entry {index} of this node's log does not say who votes, as it should: {error}. It may be of a later "
                    "version of Aria Cluster: install that one."
                ) from error
        if found and not self._configurations.latest.voters and len(self.__raftLog) == 1:
            self.__raftLog.add(MEMBERSHIP + configurations.encode(found), 2, 0)
            self._note_configuration(self.__raftLog[-1][0], 2)
        self.__raftLog.sync()
        self.__raftElectionDeadline = now() + self.__generateRaftTimeout()
        self._sort_out()

    def __applyLogEntries(self) -> bool:
        """Nothing of ours runs inside, so nothing can fail in the middle of an entry."""
        count = min(self.__raftCommitIndex - self.__raftLastApplied, MAX_APPLIED)
        if count <= 0:
            return False
        payloads, settled = [], []
        for command, index, term in self.__getEntries(self.__raftLastApplied + 1, count):
            if command[:1] == REGULAR:
                payloads.append((index, command[1:]))
                self._since_snapshot[1] += len(command)
            for wanted, callback in self.__commandsWaitingCommit.pop(index, ()):
                settled.append((callback, FAIL_REASON.SUCCESS if wanted == term else FAIL_REASON.DISCARDED))
            self.__raftLastApplied = index
        self._since_snapshot[0] += count
        if payloads:
            self._host.apply(payloads)
        for callback, reason in settled:
            callback(None, reason)
        return False

    def __tryLogCompaction(self) -> None:
        entries, size = self._since_snapshot
        bound = min(max(COMPACT_BYTES, self._snapshots.size // 2), MAX_COMPACT_BYTES)
        if self._freezing is not None or (entries < self._compact_entries and size < bound):
            return
        self._since_snapshot = [0, 0]
        index = self.__raftLastApplied
        configuration = self._configurations.at(index)
        self._freezing = SnapshotMeta(
            index=index,
            term=self.__raftLog[index - self.__raftLog[0][1]][2],
            voters=configuration.voters,
            config_index=configuration.since,
        )
        self._host.freeze(self._freezing)

    def __loadDumpFile(self, clearJournal: bool) -> None:
        raise Inconsistent("the library's own snapshots are not used")

    def _tell(self) -> None:
        leads = self._isLeader()
        leader = self.__raftLeader
        if leader is not None and not leads and leader not in self.__connectedNodes:
            leader = None
        self.lease_until = self._lease()
        if not self._ready and (leads or (self._first_commit or self.__raftLastApplied + 1) <= self.__raftLastApplied):
            # The entry last applied is of this term, so all of earlier terms that was committed is applied as well.
            applied = self.__getEntries(self.__raftLastApplied, 1)
            self._ready = bool(applied) and applied[0][2] == self.__raftCurrentTerm
        voters = self._configurations.latest.voters
        changing = self._configurations.latest.since > self.__raftCommitIndex
        here = {node.id for node in self.__connectedNodes} | {self._me}
        missing = tuple(voter for voter in voters if voter not in here)
        has_quorum = bool(voters) and (leader is not None or len(voters) - len(missing) >= majority(voters))
        seen = (leader, leads, self.__raftCurrentTerm, voters, changing, has_quorum, self._ready, missing)
        if seen != self._seen:
            self._seen = seen
            self._host.changed(
                Status(
                    leader=leader.id if leader is not None else None,
                    leads=leads,
                    term=self.__raftCurrentTerm,
                    voters=voters,
                    changing=changing,
                    has_quorum=has_quorum,
                    ready=self._ready,
                    missing=missing,
                )
            )

    _receivers: dict[type, Callable[[Any, Node, Any], None]] = {  # noqa: RUF012
        Append: Requests._on_append,
        Appended: Requests._on_appended,
        Piece: Requests._on_piece,
        PieceTaken: Requests._on_piece_taken,
        AskVote: Requests._on_ask_vote,
        Vote: Requests._on_vote,
        LeadNow: Requests._on_lead_now,
        Forward: Requests._on_forward,
        Forwarded: Requests._on_forwarded,
        AskIndex: Requests._on_ask_index,
        ReadIndex: Requests._on_read_index,
    }


Core = _SyncObj
