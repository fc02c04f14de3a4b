"""What a follower takes in from its leader, and what it vouches for.

The private parts of the library are written as our own here: see `members`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import ge, le

import structlog
from pysyncobj import FAIL_REASON
from pysyncobj.node import Node

from .configurations import Configuration, Configurations
from .host import Given, Inconsistent
from .leading import Leading
from .library import now
from .store.snapshots import SnapshotMeta
from .wire.messages import Append, Appended, Piece, PieceTaken

log = structlog.get_logger()


class _SyncObj(Leading):
    """The follower's side of replication."""

    def __init__(self, given: Given) -> None:
        self._held: dict[str, Appended] = {}
        """Answers that vouch for what is to be on disk first ("before responding to RPCs", figure 2)."""
        self._writing_since = 0.0
        self._beaten = 0.0  # the last heartbeat that was answered ahead of the disk
        self._first_commit: int | None = None  # the leader's commit index when it was first heard
        super().__init__(given)

    def _on_append(self, node: Node, told: Append) -> None:
        """Figure 2, AppendEntries: look before truncating, vouch for and commit no more than what the leader spoke of."""
        if not self._follow(node, told.term):
            self._links.send(node.id, Appended(self.__raftCurrentTerm, False, 0, told.sent))
            return
        entries = told.entries
        if reason := self._unfit(told.prev, entries):
            log.error("entries are not taken in", sender=node.id, reason=reason)
            return
        if self._first_commit is None:
            self._first_commit = told.commit
        agrees_at = self._agreement(told.prev, told.prev_term)
        if agrees_at is not None:
            self._links.send(node.id, Appended(self.__raftCurrentTerm, False, agrees_at, told.sent))
            return
        self._take_in(entries)
        agreed = told.prev + len(entries)
        self._commit(min(told.commit, agreed))
        self._vouch(node, agreed, told.sent)

    def _unfit(self, prev: int, entries: Sequence[tuple[bytes, int, int]]) -> str:
        """Why these cannot be a leader's of this version; empty if they can."""
        if any(entry[1] != index for index, entry in enumerate(entries, prev + 1)):
            return "they do not follow each other"
        try:
            for command, _, _ in entries:
                self.__parseChangeClusterRequest(command)
        except ValueError as error:  # msgspec's are ValueErrors
            return f"one does not say who votes: {error}"
        return ""

    def _agreement(self, prev: int, prev_term: int) -> int | None:
        """None if the log agrees with the leader's at `prev`; else the index at which it may."""
        first, last = self.__raftLog[0][1], self.__raftLog[-1][1]
        if prev <= first:
            return None  # the snapshot has it, hence it is committed
        if prev > last:
            return int(last)
        conflicting = self.__raftLog[prev - first][2]
        if conflicting == prev_term:
            return None
        while prev > self.__raftCommitIndex and prev > first and self.__raftLog[prev - first][2] == conflicting:
            prev -= 1
        return prev

    def _take_in(self, entries: Sequence[tuple[bytes, int, int]]) -> None:
        """Append what is new; cut off only where an entry of another term stands (§5.3)."""
        wal = self.__raftLog
        first, last, changed = wal[0][1], wal[-1][1], False
        for command, index, term in entries:
            if index <= first or (index <= last and wal[index - first][2] == term):
                continue
            if index <= last:
                if index <= self.__raftCommitIndex:
                    raise Inconsistent(f"a leader would replace entry {index}, which is committed here")
                wal.deleteEntriesFrom(index - first)
                self._lose(partial(le, index))
                changed = self._configurations.cut_from(index) or changed
            wal.add(command, index, term)
            last = index
            changed = self._note_configuration(command, index) or changed
        if changed:
            self._sort_out()

    def _lose(self, gone: Callable[[int], bool]) -> None:
        """The log has lost these indexes, and who waits for one of them: it may stand in other logs, and yet be committed."""
        for index in [index for index in self.__commandsWaitingCommit if gone(index)]:
            for _, callback in self.__commandsWaitingCommit.pop(index):
                callback(None, FAIL_REASON.UNKNOWN_OUTCOME)

    def _commit(self, index: int) -> None:
        if index > self.__raftCommitIndex:
            self.__raftCommitIndex = index
        self.__leaderCommitIndex = self.__raftCommitIndex

    def _vouch(self, node: Node, index: int, sent: float) -> None:
        """Answer that the log agrees up to `index`, as soon as that is on disk. One answer says it for all before it."""
        before = self._held.get(node.id)
        if before is not None and before.term == self.__raftCurrentTerm:
            index, sent = max(index, before.index), max(sent, before.sent)
        self._held[node.id] = Appended(self.__raftCurrentTerm, True, index, sent)

    def _answer_held(self) -> None:
        """What is on disk is vouched for. If the disk takes its time, at least the heartbeats are answered."""
        if not self._held:
            return
        synced = self.__raftLog.synced
        is_late = now() - self._writing_since >= self._timing.heartbeat_s
        for peer, answer in list(self._held.items()):
            if answer.term != self.__raftCurrentTerm:
                del self._held[peer]  # since then another leader may have replaced what this one spoke of
            elif answer.index <= synced:
                self._links.send(peer, answer)
                del self._held[peer]
            elif is_late and self._beaten != answer.sent:
                self._beaten = answer.sent
                self._links.send(peer, Appended(answer.term, True, synced, answer.sent))
        self._links.flush()

    def _on_piece(self, node: Node, told: Piece) -> None:
        """InstallSnapshot, figure 13. What is known already is not installed again: that would go back in time."""
        if not self._follow(node, told.term):
            self._links.send(node.id, Appended(self.__raftCurrentTerm, False, 0, told.sent))
            return
        first, last = self.__raftLog[0][1], self.__raftLog[-1][1]
        known = first <= told.index <= last and self.__raftLog[told.index - first][2] == told.index_term
        if told.index <= self.__raftCommitIndex or known:
            self._commit(min(told.index, last))
            self._vouch(node, told.index, told.sent)
            return
        held = self._snapshots.receive(told.index, told.index_term, told.size, told.offset, told.data)
        if held == told.size and (meta := self._snapshots.received()) is not None:
            self._install(meta)
            self._vouch(node, meta.index, told.sent)
        else:
            offset = held if held < told.size else 0
            self._links.send(node.id, PieceTaken(self.__raftCurrentTerm, told.index, offset, told.sent))

    def _install(self, meta: SnapshotMeta) -> None:
        """The leader's snapshot, whole and on disk, replaces log and state."""
        log.info("a snapshot replaces the log", index=meta.index, term=meta.term)
        self._snapshots.adopt(meta)
        self.__raftLog.reset(meta.index, meta.term)
        self._configurations = Configurations(Configuration(meta.config_index, meta.voters))
        self.__raftCommitIndex = self.__raftLastApplied = meta.index
        self._commit(meta.index)
        self._since_snapshot = [0, 0]
        self._lose(partial(ge, meta.index))
        self._host.restore(meta)
        self._sort_out()


Following = _SyncObj
