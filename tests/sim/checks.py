"""What must hold after every step, whatever happened. Each check looks at what is new only.

The names in brackets are those of the Raft paper's figure 3.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from pysyncobj.syncobj import _RAFT_STATE

from ariacluster_node.adapters.raft.configurations import majority
from ariacluster_node.adapters.raft.members import MEMBERSHIP

from .ledger import command_of

if TYPE_CHECKING:
    from .machine import Machine
    from .process import Process
    from .world import World


class Violation(AssertionError):
    """What must never happen has happened."""


class _Seen(NamedTuple):
    """What was looked at already, of one life of a node."""

    term: int
    vote: str | None
    state: int
    commit: int
    configuration: Any
    lease: float


class _Promised(NamedTuple):
    """What a node has on its disk as soon as it has handled an input to the end: no crash may take that back."""

    term: int
    vote: str | None
    synced: int
    synced_term: int


class Checks:
    """Knows what all nodes have ever committed and applied."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._committed: dict[int, tuple[int, bytes]] = {}
        """Of each index the term and the command that some node held for committed."""
        self._committed_in: dict[int, int] = {}
        """The term in which it came to be: later than its own, if its leader fell before."""
        self.last_committed = 0
        self.last_secured = 1
        """Up to here it was looked whose disks hold what is committed."""
        self.voters: tuple[str, ...] = ()
        """As of the last configuration that was committed anywhere."""
        self._configured_at = 0
        self.chronicle: list[tuple[int, bytes]] = []
        """Index and payload of all that was applied anywhere, in order."""
        self._digests = [0]
        self._positions: dict[bytes, int] = {}
        self._first: dict[str, int] = {}
        """Where a command id took effect."""
        self._without_effect: set[bytes] = set()
        """Payloads of which a client was told that they were not taken."""
        self.fresh_from = 0
        """How much of the chronicle somebody has been told of: a fresh read that is asked for now shows that much."""
        self._leaders: dict[int, tuple[str, int]] = {}
        self._leases: dict[str, tuple[float, float]] = {}
        self._matches: dict[tuple[str, str], tuple[int, int]] = {}
        """Of leader and follower: in which term, how far the follower is believed to be."""
        self.is_steady = False
        """From now on the faults leave the leader and its majority alone: nobody else may be elected."""
        self._seen: dict[str, _Seen] = {}
        self._promised: dict[str, _Promised] = {}

    def broken(self, what: str) -> None:
        self._world.note("VIOLATION", what)
        raise Violation(what)

    # The lives of nodes.

    def opened(self, process: "Process") -> None:
        """It has read its disk: is all there that was promised on it?"""
        machine, core = process.machine, process.core
        promised = self._promised.get(machine.name)
        self._seen[machine.name] = _Seen(0, None, _RAFT_STATE.FOLLOWER, self._first_index(process) - 1, None, 0.0)
        if promised is None:
            return
        term, vote = core._SyncObj__raftCurrentTerm, core._SyncObj__votedForNodeId
        if term < promised.term:
            self.broken(f"{machine.name} was in term {promised.term}, and is in {term} after a restart")
        if term == promised.term and promised.vote not in (None, vote):
            self.broken(f"{machine.name} forgot its vote for {promised.vote} in term {term}: it is {vote} now")
        if machine.clean_kill and not self._holds(process, promised.synced, promised.synced_term):
            self.broken(f"{machine.name} had entry {promised.synced} on disk, and lacks it after a restart")

    def ended(self, process: "Process") -> None:
        """Its lease went with it."""
        self._leases.pop(process.machine.name, None)

    def after(self, process: "Process") -> None:
        """It has handled something."""
        core, name = process.core, process.machine.name
        seen = self._seen[name]
        now = _Seen(
            core._SyncObj__raftCurrentTerm,
            core._SyncObj__votedForNodeId,
            core._SyncObj__raftState,
            core._SyncObj__raftCommitIndex,
            core._configurations.latest,
            core.lease_until,
        )
        synced = process.wal.synced
        promised = self._promised.get(name)
        if promised is None or synced != promised.synced or now[:2] != seen[:2]:
            self._check_term(process, now, promised)
            self._promised[name] = _Promised(now.term, now.vote, synced, self._term_of(process, synced))
        if now.state == _RAFT_STATE.LEADER:
            self._check_matches(process, now.term)
        if now == seen:
            return
        self._seen[name] = now
        if now.commit != seen.commit:
            self._check_commit(process, seen.commit, now.commit)
            if now.state == _RAFT_STATE.LEADER and now.commit > self.last_secured:
                self._check_disks(process, now, seen.configuration or now.configuration)
        if now.state == _RAFT_STATE.LEADER and (seen.state != now.state or seen.term != now.term):
            self._check_leader(process, now.term)
        if now.configuration is not seen.configuration:
            self._check_configuration(process, now)
        if now.lease != seen.lease:
            self._check_lease(process, now.lease)

    def _check_matches(self, process: "Process", term: int) -> None:
        """[Log matching] A follower has what its leader believes it has, unless it has gone on to a later one."""
        for node, progress in process.core._progress.items():
            known, match = self._matches.get((process.machine.name, node.id)), progress.match
            if known == (term, match):
                continue
            self._matches[process.machine.name, node.id] = (term, match)
            follower = self._world.machines[node.id].process
            if follower is None or not follower.is_open or follower.core._SyncObj__raftCurrentTerm != term:
                continue
            if not self._holds(follower, match, self._term_of(process, match)) and match > self._first_index(process):
                self.broken(f"{process.machine.name} believes that {node.id} has entry {match} as it has it itself")

    def vouched(self, process: "Process", index: int) -> None:
        """It is about to tell its leader that it has all up to there ("before responding to RPCs", figure 2)."""
        if index > max(process.wal.synced, self._first_index(process)):
            self.broken(f"{process.machine.name} vouches for {index}, and has {process.wal.synced} on disk")

    def _check_term(self, process: "Process", now: _Seen, promised: _Promised | None) -> None:
        name = process.machine.name
        if process.wal.getCurrentTerm() < now.term and now.term > 0:
            self.broken(f"{name} is in term {now.term}, and its disk says {process.wal.getCurrentTerm()}")
        if promised is None or now.term > promised.term:
            return
        if now.term < promised.term:
            self.broken(f"{name} went back from term {promised.term} to {now.term}")
        if promised.vote is not None and now.vote != promised.vote:
            self.broken(f"{name} voted for {promised.vote} and for {now.vote} in term {now.term}")

    def _check_leader(self, process: "Process", term: int) -> None:
        """[Election safety, leader completeness]"""
        who = (process.machine.name, process.machine.lives)
        self._world.count("elections")
        self._world.note("leads", who[0], f"term {term}")
        if self._leaders.setdefault(term, who) != who:
            self.broken(f"{who[0]} leads in term {term}, and so did {self._leaders[term][0]}")
        if not any(who[0] in known.voters for known in process.core._configurations._known):
            self.broken(f"{who[0]} leads in term {term}, and is no voter")
        if self.is_steady:
            self.broken(f"{who[0]} leads in term {term}, though the leader before had its majority all the time")
        index = self.last_committed
        while index in self._committed and self._committed_in[index] >= term:
            index -= 1
        if index in self._committed and not self._holds(process, index, self._committed[index][0]):
            self.broken(f"{who[0]} leads in term {term}, and lacks entry {index}, which is committed")

    def _check_commit(self, process: "Process", before: int, commit: int) -> None:
        """[State machine safety, leader completeness]"""
        log = process.wal
        first = log[0][1]
        if commit > log[-1][1]:
            self.broken(f"{process.machine.name} holds {commit} for committed, and its log ends at {log[-1][1]}")
        for command, index, term in log[max(before + 1 - first, 0) : commit + 1 - first]:
            known = self._committed.get(index)
            if known is None:
                self._committed_in[index] = process.core._SyncObj__raftCurrentTerm
                self._note_committed(index, term, command)
            elif known != (term, command) and index > first:
                self.broken(f"{process.machine.name} holds {(term, command)} for committed at {index}; it was {known}")

    def _check_disks(self, process: "Process", now: _Seen, configuration: Any) -> None:
        """What a leader commits is on the disks of a majority: of those who voted when the turn began, as it commits first."""
        self.last_secured = now.commit
        term = self._term_of(process, now.commit)
        voters = configuration.voters
        have = [name for name in voters if self._is_on_disk(name, now.commit, term)]
        if len(have) < majority(voters):
            self.broken(
                f"{process.machine.name} commits {now.commit}, which is on the disks of {have} of {voters} only"
            )

    def _is_on_disk(self, name: str, index: int, term: int) -> bool:
        process = self._world.machines[name].process
        if process is None or not process.is_open:
            return name in self._promised and self._promised[name].synced >= index
        return index <= max(process.wal.synced, self._first_index(process)) and self._holds(process, index, term)

    def _note_committed(self, index: int, term: int, command: bytes) -> None:
        self._committed[index] = (term, command)
        self.last_committed = max(self.last_committed, index)
        if command[:1] == MEMBERSHIP and index > self._configured_at:
            voters = tuple(msgspec.msgpack.decode(command[1:]))
            if self.voters and len(set(voters) ^ set(self.voters)) > 1:
                self.broken(f"the voters went from {self.voters} to {voters} at once")
            if self.voters:
                self._world.count("membership changes")
            self._world.note("voters", index, voters)
            self.voters, self._configured_at = voters, index

    def _check_configuration(self, process: "Process", now: _Seen) -> None:
        known = process.core._configurations._known
        for older, newer in pairwise(known):
            if older.voters and len(set(older.voters) ^ set(newer.voters)) > 1:
                self.broken(f"{process.machine.name} goes from the voters {older.voters} to {newer.voters} at once")
        if now.state == _RAFT_STATE.LEADER and len(known) > 1 and known[-2].since > now.commit:
            self.broken(f"{process.machine.name} changes the voters while another change is not committed")

    def _check_lease(self, process: "Process", lease: float) -> None:
        """Two leases never overlap. What is said within a busy turn counts from its end."""
        name, world = process.machine.name, self._world
        start, end = self._leases.pop(name, (0.0, 0.0))
        now = world.time()
        until = process.machine.in_world_time(lease) if lease else 0.0
        if until > now:
            self._leases[name] = (start if end > now else now, until)
            if end <= now:
                world.timeline.at(now, self._check_overlap, name)
        elif end > start:
            self._leases[name] = (start, min(end, now))

    def _check_overlap(self, name: str) -> None:
        now = self._world.timeline.now
        holders = [holder for holder, (start, end) in self._leases.items() if start <= now < end]
        if len(holders) > 1:
            self.broken(f"{' and '.join(holders)} both hold a lease")

    def _first_index(self, process: "Process") -> int:
        return int(process.wal[0][1])

    def _term_of(self, process: "Process", index: int) -> int:
        place = index - self._first_index(process)
        return process.wal[place][2] if 0 <= place < len(process.wal) else 0

    def _holds(self, process: "Process", index: int, term: int) -> bool:
        """Whether its log, or the snapshot that it begins with, covers that entry."""
        first = self._first_index(process)
        return index <= first or self._term_of(process, index) == term

    # What is applied.

    def applied(self, process: "Process", index: int, payload: bytes, had_effect: bool) -> None:
        """In order, each once, and the same everywhere."""
        name, position = process.machine.name, process.ledger.head.position
        if position <= len(self.chronicle):
            if self.chronicle[position - 1] != (index, payload):
                was = self.chronicle[position - 1]
                self.broken(f"{name} applied {payload!r} at {index} as number {position}, where others applied {was}")
        else:
            self._append(name, index, payload, process.ledger.head.digest)
        if had_effect != (self._first[command_of(payload)] == index):
            self.broken(f"{name}: the effect of {payload!r} at {index} is {had_effect}, and should not be")

    def _append(self, name: str, index: int, payload: bytes, digest: int) -> None:
        if self.chronicle and index <= self.chronicle[-1][0]:
            self.broken(f"{name} applied {index} after {self.chronicle[-1][0]}")
        if payload in self._positions:
            self.broken(f"{payload!r} is applied at {index} and at {self.chronicle[self._positions[payload] - 1][0]}")
        if payload in self._without_effect:
            self.broken(f"{payload!r} is applied at {index}, and its client was told that it was not taken")
        self.chronicle.append((index, payload))
        self._digests.append(digest)
        self._positions[payload] = len(self.chronicle)
        self._first.setdefault(command_of(payload), index)

    def restored(self, process: "Process", covers: int) -> None:
        """A snapshot took the place of its state."""
        head, name = process.ledger.head, process.machine.name
        if head.position > len(self.chronicle) or self._digests[head.position] != head.digest:
            self.broken(f"{name} has a snapshot of a state that never was, up to {covers}")
        if head.index > covers:
            self.broken(f"{name} has a snapshot up to {covers}, whose state goes up to {head.index}")
        if head.position < len(self.chronicle) and self.chronicle[head.position][0] <= covers:
            self.broken(f"{name} has a snapshot up to {covers}, whose state ends at {head.index}")

    # What clients are told.

    def acknowledged(self, process: "Process", payload: bytes) -> None:
        position = self._positions.get(payload)
        if position is None or position > process.ledger.head.position:
            self.broken(f"{process.machine.name} acknowledged {payload!r} without having applied it")
        else:
            self.fresh_from = max(self.fresh_from, position)

    def not_taken(self, process: "Process", payload: bytes) -> None:
        if payload in self._positions:
            self.broken(f"{process.machine.name} says that {payload!r} was not taken, and it was applied")
        self._without_effect.add(payload)

    def was_read(self, process: "Process", fresh_from: int) -> None:
        """A read that was asked for when `fresh_from` was what had been told."""
        position = process.ledger.head.position
        if position < fresh_from:
            self.broken(f"{process.machine.name} calls a read fresh that shows {position} of {fresh_from} commands")
        self.fresh_from = max(self.fresh_from, position)

    # What faults are for.

    def leads_no_more(self, machine: "Machine", term: int) -> None:
        """It has been cut off from everybody for longer than a leader may take to find out."""
        process = machine.process
        if process is not None and process.status.leads and process.status.term == term:
            self.broken(f"{machine.name} is cut off, and still leads in term {term}")
