"""What a leader sends, and what it makes of the answers.

The private parts of the library are written as our own here: see `members`.
"""

from pysyncobj.node import Node

from .elections import Elections
from .host import Inconsistent
from .library import now
from .progress import Progress
from .wire.messages import BATCH_BYTES, PIECE_BYTES, Append, Appended, Piece, PieceTaken

MAX_BATCH = 1000
"""Entries in one message."""


class _SyncObj(Elections):
    """The leader's side of replication."""

    def _count_own(self) -> None:
        """What this leader has on its own disk counts as what a follower has: see `_sort_out`."""
        if self._isLeader():
            self.__raftMatchIndex[self.__selfNode] = self.__raftLog.synced
            self.__lastResponseTime[self.__selfNode] = now()

    def __sendAppendEntries(self) -> None:
        """A heartbeat is due."""
        self.__newAppendEntriesTime = now() + self._timing.heartbeat_s
        for node in self._peers:
            self._feed(node, beat=True)
        self._tell_followers()

    def _feed(self, node: Node, *, beat: bool) -> None:
        """Send a follower what it lacks; `beat`: something at any rate."""
        if node not in self.__connectedNodes:
            return
        progress = self._progress[node]
        if progress.probing and not progress.answered and not beat:
            return
        if self._links.congested(node.id):
            return  # it will hear something when it has taken what was sent
        if progress.next <= self.__raftLog[0][1]:
            self._feed_snapshot(node, progress, beat=beat)
            return
        progress.stop_sending()
        if progress.probing:
            progress.probed, progress.answered = now(), False
            self._append(node, progress, self._batch(progress.next))
            return
        while progress.next <= self.__raftLog[-1][1] and not self._links.congested(node.id):
            entries = self._batch(progress.next)
            self._append(node, progress, entries)
            progress.next += len(entries)
            beat = False
        if beat or progress.told_commit < min(self.__raftCommitIndex, progress.match):
            self._append(node, progress, [])

    def _append(self, node: Node, progress: Progress, entries: list[tuple[bytes, int, int]]) -> None:
        prev = progress.next - 1
        commit = self.__raftCommitIndex
        prev_term = self.__raftLog[prev - self.__raftLog[0][1]][2]
        self._links.send(node.id, Append(self.__raftCurrentTerm, prev, prev_term, commit, now(), entries))
        progress.told_commit = min(commit, prev + len(entries))

    def _batch(self, first: int) -> list[tuple[bytes, int, int]]:
        entries: list[tuple[bytes, int, int]] = self.__getEntries(first, MAX_BATCH)
        size = 0
        for number, entry in enumerate(entries):
            size += len(entry[0])
            if size > BATCH_BYTES and number:
                return entries[:number]
        return entries

    def _feed_snapshot(self, node: Node, progress: Progress, *, beat: bool) -> None:
        """One piece at a time: the next one goes when the last was answered."""
        outgoing = progress.begin_sending(self._snapshots.outgoing)
        if not progress.answered and not beat:
            return
        progress.probing, progress.answered = True, False
        term, meta, offset = self.__raftCurrentTerm, outgoing.meta, progress.offset
        data = outgoing.read(offset, PIECE_BYTES)
        self._links.send(node.id, Piece(term, meta.index, meta.term, outgoing.size, offset, data, now()))

    def _answered(self, node: Node, term: int, sent: float) -> Progress | None:
        """An answer in `term` to something sent at `sent`. None if it says nothing about this leadership."""
        if term > self.__raftCurrentTerm:
            self._step_down(term)
        progress = self._progress.get(node)
        if term != self.__raftCurrentTerm or progress is None or not self._isLeader():
            return None
        progress.heard(sent, now())
        # By when it was sent: an answer that took long says nothing of now.
        self.__lastResponseTime[node] = max(self.__lastResponseTime[node], sent)
        return progress

    def _on_appended(self, node: Node, answer: Appended) -> None:
        if not answer.ok and not answer.index:
            # What was sent in a term gone by. Its answer bears the term of now, but says nothing of what was sent in that.
            if answer.term > self.__raftCurrentTerm:
                self._step_down(answer.term)
            return
        progress = self._answered(node, answer.term, answer.sent)
        if progress is None:
            return
        if answer.ok:
            if answer.index > self.__raftLog[-1][1]:
                raise Inconsistent(f"{node.id} vouches for entry {answer.index}, which this leader does not have")
            progress.accepted(answer.index)
            self.__raftMatchIndex[node] = progress.match
        else:
            progress.rejected(answer.index, answer.sent)

    def _on_piece_taken(self, node: Node, answer: PieceTaken) -> None:
        progress = self._answered(node, answer.term, answer.sent)
        if progress is None or progress.outgoing is None:
            return
        if answer.index == progress.outgoing.meta.index:
            progress.offset = answer.offset
            progress.answered = True


Leading = _SyncObj
