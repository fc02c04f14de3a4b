"""The replicated log on disk, with term, vote and commit index, in a chain of segments.

Each write is one record: what changed since the one before. A start takes nothing for synced that it finds: a killed
process, or a sync that failed, leaves bytes in the kernel's cache that are not on disk, and no later sync need write them.
That can be the last record only, so every start begins a new segment, whose record 0 repeats it, and from then on what the
old one holds from that record's beginning does not count. Older segments are removed only once there is a record 1.
"""

from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from typing import Final, overload

import structlog

from ariacluster.domain.errors import StartFailed

from .disk import Disk, DiskFailed, File
from .segments import PARTIAL, Change, Entry, State, first_bytes, name_of, number_of, read_chain, record_bytes, refuse
from .write import Write

log = structlog.get_logger()

SEGMENT_BYTES = 8 * 1024 * 1024
"""A segment that has grown to this is followed by another: so much, and one sync, lies there beyond what is needed."""

BASE_COMMAND: Final = b"\x01"
"""Of the entry that stands for all up to a snapshot's last: the library's NO_OP."""


class Wal:
    """Stands in for the library's journal, whose names it bears. Owned by one thread.

    In memory at once; on disk after `sync`, or when the `Write` that `begin` answers has been run and `land` was called:
    one is on its way at a time, and what changes meanwhile goes with the next. Term and vote are on disk at once. What raises
    `DiskFailed` once, does so ever after: a page that could not be written may be dropped by the kernel, and the next sync
    would not tell.
    """

    def __init__(self, disk: Disk, *, base: tuple[int, int] | None, entropy: Callable[[int], bytes]) -> None:
        """Read it, or begin it; `base` is index and term of the snapshot beside it, whose name is on disk already.

        With a base the log has an entry `base`, which may be its first; without, it begins at 1 or is empty. Raises
        `StartFailed` if it is damaged, does not fit to `base`, or cannot be read or written.
        """
        self.synced = 0
        """The highest index that is on disk."""
        self._disk = disk
        self._entropy = entropy
        self._entries: list[Entry] = []
        self._known = State()
        self._pending: list[Change] = []
        self._writing: Write | None = None
        self._reaches = 0
        """The highest index that is on disk once that is."""
        self._due = False
        """A second has passed: what could wait shall be written."""
        self._failure: DiskFailed | None = None
        self._file: File | None = None
        self._written = self._known
        self._promising = False  # the last record may hold more than a commit index
        self._tidies = 0  # so often, once the current write has landed
        # Of each segment in use, oldest first: its number, and an index below which no entry that is held lies in it or
        # in later ones.
        self._numbers: list[int] = []
        self._lows: list[int] = []
        try:
            self._open(base)
        except OSError as error:
            raise StartFailed(
                f"The log in {disk.folder} cannot be opened: {error.strerror or error}. Free or replace the disk, or let "
                "this user read and write that folder; then start the node again."
            ) from error

    # What changes the log.

    def add(self, command: bytes, idx: int, term: int) -> None:
        entry = (command, idx, term)
        self._entries.append(entry)
        self._pending.append(entry)

    def clear(self) -> None:
        self._cut(0, 0)

    def reset(self, index: int, term: int) -> None:
        """A leader's snapshot replaces the log: it is one entry that stands for all up to `index`. On disk after `sync`.

        The snapshot must have its name on disk by now. If the power goes before the `sync`, the old log is found beside
        it, and the snapshot outranks it (Raft paper, figure 13). Raises `ValueError` if it would take back what is
        known as committed.
        """
        if index < self._known.commit:
            raise ValueError(f"entry {self._known.commit} is committed; a snapshot up to {index} cannot replace it")
        self._cut(0, 0)
        self.add(BASE_COMMAND, index, term)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """From that place in the list on. Raises `ValueError` for what is known as committed: that never goes."""
        if entryFrom < len(self._entries):
            index = self._entries[entryFrom][1]
            if index <= self._known.commit:
                raise ValueError(f"entry {index} is committed and cannot be cut off")
            self._cut(entryFrom, index)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """Up to that place in the list: a snapshot that is on disk covers them. After a restart they may be back."""
        del self._entries[:entryTo]

    def sync(self) -> None:
        """All that was changed is on disk when it returns; the commit index alone may wait. Raises `DiskFailed`."""
        if self._writing is not None:
            self._writing.run()
            self.land()
        if self.begin() is not None:
            self.sync()

    def begin(self) -> Write | None:
        """What is to be written next, for somebody to run; None if there is nothing, or one is on its way."""
        self._check()
        if self._writing is not None:
            return None
        due, self._due = self._due, False
        if self._pending or (due and (self._promising or self._known != self._written)):
            return self._take_off(due=due)
        if due:
            self._tidy()
        return None

    def land(self) -> None:
        """Take note of the write that was begun, if it has been run. Raises `DiskFailed`."""
        writing = self._writing
        if writing is None or not writing.is_done:
            return
        self._writing = None
        if writing.error is not None:
            self._failure = DiskFailed(
                f"The log in {self._disk.folder} could not be written: {writing.error.strerror or writing.error}. The node "
                "ends, for it can keep no promise. Free or replace the disk, then start it again."
            )
            raise self._failure from writing.error
        self._file = writing.file
        self.synced = self._reaches
        for _ in range(self._tidies):
            self._tidy()

    def _cut(self, place: int, index: int) -> None:
        del self._entries[place:]
        self._pending.append(index)
        self.synced = min(self.synced, max(index - 1, 0))
        self._reaches = min(self._reaches, max(index - 1, 0))
        self._lows = [min(low, index) for low in self._lows]

    def _destroy(self) -> None:
        """Close it, with everything written if that is possible. Idempotent."""
        if self._file is not None:
            with suppress(DiskFailed):
                self.sync()
                self._due = True
                self.sync()
            self._file.close()
            self._file = None

    # What is asked of it.

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        return self._entries[item]

    def __len__(self) -> int:
        return len(self._entries)

    # Term, vote and commit index.

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Never goes back, nor beyond the end of the log. On disk with the next record, or within a second.

        What is committed need not be on this disk: a majority has it on theirs.
        """
        commit = min(raftCommitIndex, self._last_index())
        if commit > self._known.commit:
            self._known = State(self._known.term, self._known.vote, commit)

    def getRaftCommitIndex(self) -> int:
        return max(self._known.commit, 1)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        """On disk when it returns, with all that was pending: the library calls it before it asks for votes or grants one
        (Raft paper §5.2). Raises `DiskFailed`."""
        self._check()
        if self._writing is not None:
            self._writing.run()
            self.land()
        self._known = State(term, votedForNodeId, self._known.commit)
        self._take_off(due=False).run()
        self.land()

    def getCurrentTerm(self) -> int:
        return self._known.term

    def getVotedForNodeId(self) -> str | None:
        return self._known.vote

    def onOneSecondTimer(self) -> None:
        """With the next write goes the commit index, or an empty record behind one that holds a promise.

        For what is damaged at the end is taken for torn; with a record behind it, damage is told from that.
        """
        self._due = True

    # Writing.

    def _take_off(self, *, due: bool) -> Write:
        changes = self._pending if self._known == self._written else [*self._pending, self._known]
        told = (self._known.term, self._known.vote) != (self._written.term, self._written.vote)
        opening = None
        if self._size >= SEGMENT_BYTES:
            # All in the current one is on disk, up to its last byte.
            opening = self._next_segment(self._numbers[-1] + 1, (self._numbers[-1], self._size), self._written, [])
        record = record_bytes(changes, self._numbers[-1], self._salt, self._records)
        self._size += len(record)
        self._records += 1
        self._promising = told or bool(self._pending)
        self._pending.clear()
        self._written = self._known
        self._reaches = self._last_index()
        # For each segment that is begun, two may go: they cannot pile up.
        self._tidies = 2 if self._records == 2 else int(due)
        self._writing = Write(self._disk, self._file, opening, record)
        return self._writing

    def _next_segment(
        self, number: int, before: tuple[int, int] | None, known: State, repeated: list[Change]
    ) -> tuple[str, bytes]:
        """Name and first bytes of the next segment, current from now on; `repeated`: the changes of the last record, if it
        may not be on disk.
        """
        self._salt = int.from_bytes(self._entropy(8), "little")
        state = State(known.term, known.vote, known.commit, before)
        first = first_bytes([*repeated, state], number, self._salt)
        self._size, self._records = len(first), 1
        self._written = known
        self._numbers.append(number)
        self._lows.append(self.synced + 1)
        return name_of(number), first

    def _tidy(self) -> None:
        """Remove one segment that is not needed, if there is one: it may take milliseconds, so not with every record.

        A removal that a power cut undoes does no harm.
        """
        if len(self._numbers) > 1 and self._records > 1:
            first = self._entries[0][1] if self._entries else self.synced + 1
            if bisect_right(self._lows, first) > 1:
                del self._lows[0]
                self._remove(name_of(self._numbers.pop(0)))

    def _remove(self, name: str) -> None:
        try:
            self._disk.remove(name)
        except OSError as error:
            log.warning("a file of the log that is not needed was not removed", file=name, error=repr(error))

    def _last_index(self) -> int:
        return self._entries[-1][1] if self._entries else 0

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    # Reading.

    def _open(self, base: tuple[int, int] | None) -> None:
        here = [name for name in self._disk.names() if number_of(name)]
        names = [name for name in here if not name.endswith(PARTIAL)]
        chain = read_chain(self._disk, names)
        if base is not None and not chain:
            refuse(f"The log in {self._disk.folder} is gone, while the snapshot beside it is there.")
        for segment in chain:
            self._numbers.append(segment.number)
            self._lows.append(self._last_index() + 1)
            for record in segment.records:
                self._replay(record, name_of(segment.number))
        last = chain[-1].records[-1] if chain else []
        lowest = min((c[1] if isinstance(c, tuple) else c for c in last if not isinstance(c, State)), default=None)
        if self._line_up(base):
            lowest = 0
        repeated: list[Change] = []
        self.synced = self._last_index()
        if lowest is not None:
            repeated = [lowest, *(entry for entry in self._entries if entry[1] >= lowest)]
            self.synced = max(lowest - 1, 0)
            self._lows = [min(low, lowest) for low in self._lows]
        number, before = (number_of(here[-1]) if here else 0) + 1, None
        if chain:
            newest = chain[-1]
            before = (newest.number, newest.starts[-1]) if len(newest.records) > 1 else newest.before
        if before is None or before[0] != chain[-1].number:  # nothing of the newest counts: all it says is said again
            del self._numbers[-1:], self._lows[-1:]
        leftovers = [name for name in names if number_of(name) not in self._numbers]
        for name in here:
            if name.endswith(PARTIAL):  # before another is made, lest they pile up where none succeeds
                self._remove(name)
        opening = Write(self._disk, None, self._next_segment(number, before, self._known, repeated), b"")
        opening.run()
        if opening.error is not None:
            raise opening.error
        self._file = opening.file
        self.synced = self._last_index()
        for name in leftovers:
            self._remove(name)

    def _replay(self, record: list[Change], name: str) -> None:
        entries, lost = self._entries, list[Entry]()
        for change in record:
            if isinstance(change, tuple):
                if entries and change[1] != entries[-1][1] + 1:
                    refuse(f"{self._disk.folder / name} holds entry {change[1]} after {entries[-1][1]}.")
                entries.append(change)
            elif isinstance(change, int):
                place = max(change - entries[0][1], 0) if entries else 0
                lost += [entry for entry in entries[place:] if entry[1] <= self._known.commit]
                del entries[place:]
                self._lows = [min(low, change) for low in self._lows]
            else:
                known = change
                self._known = State(known.term, known.vote, known.commit)
        for _, index, term in lost:
            place = index - entries[0][1] if entries else 0
            if place >= 0 and (place >= len(entries) or entries[place][2] != term):
                refuse(f"{self._disk.folder / name} takes back entry {index}, which was committed.")

    def _line_up(self, base: tuple[int, int] | None) -> bool:
        """Make log and snapshot fit (Raft paper, figure 13); answers whether the log was replaced by one base entry."""
        entries = self._entries
        index, term = base or (0, 0)
        first, last = (entries[0][1], entries[-1][1]) if entries else (index + 1, index)
        differs = base is not None and first <= index <= last and entries[index - first][2] != term
        if first > index + 1 or self._known.commit > max(last, index) or (differs and self._known.commit >= index):
            refuse(
                f"The log in {self._disk.folder} lacks entries that this node had confirmed: it holds {first} to {last}, "
                f"{self._known.commit} were committed, and "
                + (
                    f"the snapshot beside it ends at {index}."
                    if base is not None
                    else "there is no snapshot beside it."
                )
            )
        if base is None:
            return False
        self._known = State(self._known.term, self._known.vote, max(self._known.commit, index))
        if last < index or differs or not entries:
            entries[:] = [(BASE_COMMAND, index, term)]
            return True
        if first == index + 1:
            entries.insert(0, (BASE_COMMAND, index, term))
        return False
