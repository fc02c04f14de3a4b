"""Safeguards taken out, one at a time: the simulation must find each. What it cannot find, it does not prove.

Each mutation patches the modules of this process for good; so it is tried in a process of its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ariacluster_node.adapters.raft import configurations, core
from ariacluster_node.adapters.raft.library import now
from ariacluster_node.adapters.raft.store import segments, wal
from ariacluster_node.adapters.raft.store.segments import State
from ariacluster_node.adapters.raft.wire.messages import Append, AskVote, Piece, Vote
from tests.support import power

from .ledger import Ledger

Core: Any = core.Core
"""What is set here hides the method of any floor below."""

Wal: Any = wal.Wal
File: Any = power._File
PowerDisk: Any = power.PowerDisk


class Mutation(NamedTuple):
    """`profile`: in which kind of schedule it shows; `seeds`: it is found among so many, from `first` on. `first` is one that
    found it: until other code makes other schedules, a rare one is found at once.
    """

    apply: Callable[[], None]
    profile: str
    seeds: int
    first: int


MUTATIONS: dict[str, Mutation] = {}


def mutation(profile: str, seeds: int = 200, first: int = 1) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def enter(apply: Callable[[], None]) -> Callable[[], None]:
        MUTATIONS[apply.__name__] = Mutation(apply, profile, seeds, first)
        return apply

    return enter


def _replace_receiver(message: type, receiver: Callable[[Any, Any, Any], None]) -> None:
    Core._receivers = {**Core._receivers, message: receiver}


# The disk.


@mutation("three")
def no_sync() -> None:
    """The log is written, and never synced."""
    File.sync = lambda self: None


@mutation("three")
def sync_in_vain() -> None:
    """The log counts as synced before it is."""

    def begin(self: Any) -> Any:
        write = begun(self)
        self.synced = self._last_index()
        return write

    begun = Wal.begin
    Wal.begin = begin


@mutation("three")
def the_own_disk_is_taken_for_granted() -> None:
    """The library's rule: what a leader has appended, it has."""

    def count_own(self: Any) -> None:
        counted(self)
        if self._isLeader():
            self._SyncObj__raftMatchIndex[self._SyncObj__selfNode] = self._SyncObj__raftLog[-1][1]

    counted = Core._count_own
    Core._count_own = count_own


@mutation("jumbled", first=136)
def heartbeats_vouch_for_all_of_it() -> None:
    """Answered while the disk takes its time, as if it had not."""

    def answer(self: Any) -> None:
        if now() - self._writing_since >= self._timing.heartbeat_s:
            for peer, answer in self._held.items():
                self._links.send(peer, answer)
            self._held.clear()
        answered(self)

    answered = Core._answer_held
    Core._answer_held = answer


@mutation("three")
def answer_before_the_sync() -> None:
    def vouch(self: Any, node: Any, index: int, sent: float) -> None:
        held(self, node, index, sent)
        self._links.send(node.id, self._held.pop(node.id))

    held = Core._vouch
    Core._vouch = vouch


@mutation("three")
def vote_in_memory_only() -> None:
    def set_current_term(self: Any, term: int, voted_for: str | None) -> None:
        self._known = State(term, voted_for, self._known.commit)

    Wal.setCurrentTerm = set_current_term


@mutation("three", first=257)
def torn_tail_is_good() -> None:
    """A record counts whose checksum does not fit."""
    module: Any = segments
    module._crc = lambda *_: 0


@mutation("compact")
def snapshot_renamed_before_its_sync() -> None:
    def sync(self: Any) -> None:
        if not self._name.startswith("snapshot"):
            synced(self)

    synced = File.sync
    File.sync = sync


@mutation("compact")
def names_not_synced() -> None:
    PowerDisk.sync_folder = lambda self: None


# Replication.


@mutation("three")
def commit_what_was_not_verified() -> None:
    """The library's rule: whatever the leader has committed is committed here, as far as the log goes."""

    def on_append(self: Any, node: Any, told: Append) -> None:
        appended(self, node, told)
        if told.term == self._SyncObj__raftCurrentTerm:
            self._commit(min(told.commit, self._SyncObj__raftLog[-1][1]))

    appended = Core._on_append
    _replace_receiver(Append, on_append)


@mutation("jumbled")
def cut_off_whatever_follows() -> None:
    """The library's rule: an append replaces all that the log holds behind it."""

    def take_in(self: Any, entries: Any) -> None:
        log = self._SyncObj__raftLog
        first = log[0][1]
        if entries and first < entries[0][1] <= log[-1][1]:
            log.deleteEntriesFrom(entries[0][1] - first)
        taken_in(self, entries)

    taken_in = Core._take_in
    Core._take_in = take_in


@mutation("three", first=76)
def vouch_for_the_whole_log() -> None:
    """A follower vouches for entries that it was not told of."""

    def vouch(self: Any, node: Any, index: int, sent: float) -> None:
        vouched(self, node, self._SyncObj__raftLog[-1][1], sent)

    vouched = Core._vouch
    Core._vouch = vouch


@mutation("shuffled")
def any_snapshot_is_installed() -> None:
    """Also one of what is known already: back in time."""

    def on_piece(self: Any, node: Any, told: Any) -> None:
        commit, self._SyncObj__raftCommitIndex = self._SyncObj__raftCommitIndex, 0
        log = self._SyncObj__raftLog
        entries, log._entries = log._entries, [(b"", 10**9, 0)]
        try:
            received(self, node, told)
        finally:
            if log._entries and log._entries[0][1] == 10**9:
                log._entries = entries
            self._SyncObj__raftCommitIndex = self._SyncObj__raftCommitIndex or commit

    received = Core._on_piece
    _replace_receiver(Piece, on_piece)


# Elections.


@mutation("shuffled", 400, first=124)
def votes_count_twice() -> None:
    """A repeated vote counts for somebody who has not voted, before an election and in it."""

    def on_vote(self: Any, node: Any, vote: Vote) -> None:
        counted = (self._pre_votes or set()) if vote.pre else self._votes
        silent = next((voter for voter in self._configurations.latest.voters if voter not in counted), None)
        if vote.granted and node.id in counted and silent:
            voted(self, type(node)(silent), vote)
        else:
            voted(self, node, vote)

    voted = Core._on_vote
    _replace_receiver(Vote, on_vote)


@mutation("shuffled", 400, first=116)
def votes_of_former_terms_count() -> None:
    def on_vote(self: Any, node: Any, vote: Vote) -> None:
        term = self._SyncObj__raftCurrentTerm
        voted(self, node, Vote(term + vote.pre, True, vote.pre) if vote.granted else vote)

    voted = Core._on_vote
    _replace_receiver(Vote, on_vote)


@mutation("three")
def vote_for_shorter_logs() -> None:
    def on_ask_vote(self: Any, node: Any, asked: AskVote) -> None:
        asked_for(self, node, AskVote(asked.term, 10**9, 10**9, asked.pre, asked.transfer))

    asked_for = Core._on_ask_vote
    _replace_receiver(AskVote, on_ask_vote)


@mutation("steady")
def no_pre_vote_and_no_stickiness() -> None:
    """Whoever has heard nobody for a while becomes a candidate, and everybody listens to it."""

    def may_become_candidate(self: Any) -> bool:
        return self._me in self._configurations.latest.voters

    def on_ask_vote(self: Any, node: Any, asked: AskVote) -> None:
        asked_for(self, node, AskVote(asked.term, asked.last, asked.last_term, asked.pre, True))

    asked_for = Core._on_ask_vote
    Core._SyncObj__connectedToAnyone = may_become_candidate
    _replace_receiver(AskVote, on_ask_vote)


@mutation("members")
def learners_campaign() -> None:
    def may_become_candidate(self: Any) -> bool:
        return bool(self._configurations.latest.voters)

    Core._SyncObj__connectedToAnyone = may_become_candidate


# Leases and reads.


@mutation("three", first=30)
def lease_kept_after_handing_over() -> None:
    def lease(self: Any) -> float:
        given_up, self._given_up = self._given_up, None
        try:
            return float(leased(self))
        finally:
            self._given_up = given_up

    leased = Core._lease
    Core._lease = lease


@mutation("three")
def lease_without_a_majority() -> None:
    """Any one answer prolongs it, and its own."""

    def lease(self: Any) -> float:
        if not self._isLeader() or self._given_up is not None:
            return 0.0
        return now() + float(self._timing.lease_s)

    Core._lease = lease


@mutation("three", 400, first=71)
def reads_need_no_lease() -> None:
    def safe_index(self: Any) -> int:
        return int(self._SyncObj__raftCommitIndex) if self._isLeader() else 0

    Core._safe_index = safe_index


@mutation("three")
def leads_on_without_a_majority() -> None:
    """As the library does by default: for 30 s."""

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        built(self, *arguments, **named)
        self._SyncObj__conf.leaderFallbackTimeout = 30.0

    built = Core.__init__
    Core.__init__ = init


# Membership.


@mutation("members", first=11)
def two_changes_at_once() -> None:
    def refusal(old: Any, new: Any, *, commit: int, **rest: Any) -> Any:
        return refused(old, new, commit=10**9, **rest)

    module: Any = configurations
    refused = module.refusal
    module.refusal = refusal


@mutation("members")
def voters_count_when_committed() -> None:
    """The library's rule: a configuration counts from its commit on, not from the moment that it stands in the log."""

    def note(self: Any, command: bytes, index: int) -> bool:
        return bool(index <= self._SyncObj__raftCommitIndex and noted(self, command, index))

    def apply(self: Any) -> Any:
        before = self._SyncObj__raftLastApplied
        result = applied(self)
        for command, index, _ in self._SyncObj__getEntries(before + 1, self._SyncObj__raftLastApplied - before):
            if noted(self, command, index):
                self._sort_out()
        return result

    noted, applied = Core._note_configuration, Core._SyncObj__applyLogEntries
    Core._note_configuration, Core._SyncObj__applyLogEntries = note, apply


# Requests.


@mutation("three")
def command_ids_mean_nothing() -> None:
    """The table does not look whether it knows a command."""
    ledger: Any = Ledger
    ledger.is_known = lambda self, command: False


@mutation("shuffled", 400, first=7)
def requests_counted_from_zero() -> None:
    """After a restart too, so that a late answer settles another request."""

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        built(self, *arguments, **named)
        self._SyncObj__commandsLocalCounter = 0

    built = Core.__init__
    Core.__init__ = init
