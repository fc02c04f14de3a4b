"""One core, told what to believe message by message: what figure 2 and its neighbours say of each."""

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest

from ariacluster.domain.errors import AriaClusterError, Conflict
from ariacluster_node.adapters.raft import configurations, library
from ariacluster_node.adapters.raft import core as room
from ariacluster_node.adapters.raft.core import Core
from ariacluster_node.adapters.raft.host import Inconsistent, Outcome, Status, Timing
from ariacluster_node.adapters.raft.members import MEMBERSHIP, NO_OP, REGULAR
from ariacluster_node.adapters.raft.store.disk import DiskFailed
from ariacluster_node.adapters.raft.store.snapshots import SnapshotMeta, Snapshots
from ariacluster_node.adapters.raft.store.wal import Wal
from ariacluster_node.adapters.raft.store.write import Write
from ariacluster_node.adapters.raft.wire.messages import (
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
from tests.support.power import PowerDisk

Entry = tuple[bytes, int, int]
VOTERS = ("a", "b", "c")


def x(index: int, term: int, text: str = "x") -> Entry:
    return REGULAR + text.encode(), index, term


class Stage:
    """Node `b` of `a`, `b` and `c`, and everything that it says. Fills `Links` and `Host`."""

    def __init__(self, *, me: str = "b", found: tuple[str, ...] = VOTERS, compact_entries: int = 1000) -> None:
        self.time = 1000.0
        library.install(lambda: self.time)
        self.me, self.found, self.compact_entries = me, found, compact_entries
        self.disk = PowerDisk(random.Random(1))
        self.sent: list[tuple[str, Message]] = []
        self.reachable = set("abcd") - {me}
        self.applied: list[tuple[int, bytes]] = []
        self.settled: dict[Any, tuple[Outcome, AriaClusterError | None]] = {}
        self.restored: list[SnapshotMeta] = []
        self.frozen: list[SnapshotMeta] = []
        self.status = Status()
        self.writes: list[Write] = []
        self.is_slow = False
        self.open()

    def open(self) -> None:
        self.snapshots = Snapshots(self.disk)
        latest = self.snapshots.latest
        dice = random.Random(2)
        self.wal = Wal(self.disk, base=(latest.index, latest.term) if latest else None, entropy=dice.randbytes)
        self.core = Core(
            self.me,
            found=self.found,
            wal=self.wal,
            snapshots=self.snapshots,
            links=self,
            host=self,
            dice=lambda: 0.5,
            compact_entries=self.compact_entries,
            keep_entries=5,
        )
        for node in sorted(self.reachable):
            self.core.connected(node)

    def kill(self) -> None:
        """The process dies and comes back; the machine stays on."""
        self.disk.kill()
        self.disk.restart()
        self.open()

    def cut_power(self) -> None:
        self.disk.cut_power()
        self.open()

    # Links.

    def send(self, node: str, message: Message) -> bool:
        if node in self.reachable:
            self.sent.append((node, message))
        return node in self.reachable

    def flush(self) -> None: ...

    def congested(self, node: str) -> bool:
        return False

    def want(self, nodes: Collection[str] | None) -> None: ...

    # Host.

    def write(self, write: Write) -> None:
        self.writes.append(write)
        if not self.is_slow:
            write.run()

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> None:
        self.applied += entries

    def settle(self, token: Any, outcome: Outcome, said: AriaClusterError | None) -> None:
        assert token not in self.settled
        self.settled[token] = outcome, said

    def restore(self, meta: SnapshotMeta) -> None:
        self.restored.append(meta)

    def admits(self, payload: bytes) -> bool:
        return True

    def freeze(self, meta: SnapshotMeta) -> None:
        self.frozen.append(meta)

    def changed(self, status: Status) -> None:
        self.status = status

    # What a test says and asks.

    def tell(self, sender: str, *messages: Message) -> list[tuple[str, Message]]:
        """What is said after these, and one turn."""
        self.sent.clear()
        self.core.receive(sender, messages)
        self.core.tick()
        return list(self.sent)

    def append(
        self, prev: int, prev_term: int, *entries: Entry, term: int = 1, commit: int = 0, sender: str = "a"
    ) -> Message:
        """The answer to one such."""
        [(_, answer)] = [
            said
            for said in self.tell(sender, Append(term, prev, prev_term, commit, self.time, list(entries)))
            if isinstance(said[1], Appended)
        ]
        return answer

    def answer(self, index: int, *, ok: bool = True) -> Appended:
        return Appended(self.status.term, ok, index, self.time)

    def pass_time(self, seconds: float) -> list[Message]:
        self.sent.clear()
        end = self.time + seconds
        while self.time < end:
            self.time += 0.01
            self.core.tick()
        return [message for _, message in self.sent]

    def turn(self) -> list[Message]:
        """What is said when nothing came in."""
        return [message for _, message in self.tell("a")]

    @property
    def log(self) -> list[Entry]:
        return self.wal[:]

    @property
    def commit(self) -> int:
        return int(self.core.raftCommitIndex)

    def lead(self) -> "Stage":
        """Let it be elected, with its first entry committed."""
        asked = self.pass_time(0.6)
        assert AskVote(1, 2, 0, True) in asked
        self.tell("a", Vote(1, True, True))
        assert (self.status.term, self.status.leads) == (1, False)
        self.tell("a", Vote(1, True))
        assert self.status.leads
        self.tell("a", self.answer(3))
        assert self.commit == 3
        return self


@pytest.fixture
def b() -> Iterator[Stage]:
    yield Stage()
    library.install()


BEGIN = [(NO_OP, 1, 0)]
"""Of each log; the founders' second entry says who votes."""


# -- what a follower takes in -------------------------------------------------------------------------------------


def test_entries_are_taken_vouched_for_and_applied_once_committed(b: Stage) -> None:
    assert b.append(2, 0, x(3, 1), x(4, 1), commit=3) == Appended(1, True, 4, b.time)
    b.core.tick()
    assert b.applied == [(3, b"x")]
    assert b.status.leader == "a"


def test_a_leader_of_the_past_is_told_so_and_not_heard(b: Stage) -> None:
    b.append(2, 0, term=5)
    assert b.append(2, 0, x(3, 4), term=4, sender="c") == Appended(5, False, 0, b.time)
    assert len(b.log) == 2 and b.status.leader == "a"


def test_a_repeated_message_takes_nothing_away(b: Stage) -> None:
    b.append(2, 0, x(3, 1), x(4, 1), x(5, 1))
    assert b.append(2, 0, x(3, 1)) == Appended(1, True, 3, b.time)
    assert [index for _, index, _ in b.log] == [1, 2, 3, 4, 5]


def test_entries_of_another_term_replace_what_stands_there(b: Stage) -> None:
    b.append(2, 0, x(3, 1), x(4, 1), x(5, 1))
    assert b.append(3, 1, x(4, 2, "y"), term=2, sender="c") == Appended(2, True, 4, b.time)
    assert b.log[2:] == [x(3, 1), x(4, 2, "y")]


def test_what_is_committed_is_never_replaced(b: Stage) -> None:
    b.append(2, 0, x(3, 1), x(4, 1), commit=4)
    with pytest.raises(Inconsistent):
        b.append(3, 1, x(4, 2), term=2, sender="c")


def test_no_more_is_committed_than_the_message_spoke_of(b: Stage) -> None:
    b.append(2, 0, x(3, 1), x(4, 1), x(5, 1))
    b.append(3, 1, term=2, sender="c", commit=5)  # what stands at 4 and 5 may be others' there
    assert b.commit == 3


@pytest.mark.parametrize(
    ("prev", "prev_term", "agrees_at"),
    [(9, 3, 6), (6, 3, 4), (5, 3, 4), (4, 2, 2), (3, 5, 2)],
    ids=["beyond the end", "a term is skipped", "and again", "down to the first", "never below what is committed"],
)
def test_what_does_not_fit_is_refused_with_a_place_to_try(b: Stage, prev: int, prev_term: int, agrees_at: int) -> None:
    b.append(2, 0, x(3, 1), x(4, 1), x(5, 2), x(6, 2), term=2, commit=2)
    assert b.append(prev, prev_term, term=3, sender="c") == Appended(3, False, agrees_at, b.time)
    assert len(b.log) == 6


def test_entries_that_do_not_follow_each_other_are_not_taken(b: Stage) -> None:
    b.tell("a", Append(1, 2, 0, 0, b.time, [x(3, 1), x(5, 1)]))
    assert len(b.log) == 2


def test_what_is_vouched_for_survives_a_power_cut(b: Stage) -> None:
    b.append(2, 0, x(3, 1), x(4, 1))
    b.cut_power()
    assert b.log[2:] == [x(3, 1), x(4, 1)]


def test_nothing_is_vouched_for_before_the_sync(b: Stage) -> None:
    b.core.receive("a", [Append(1, 2, 0, 0, b.time, [x(3, 1)])])
    assert not [said for said in b.sent if isinstance(said[1], Appended)]
    b.disk.fail_with(OSError("no"))
    with pytest.raises(DiskFailed):
        b.core.tick()
    assert not [said for said in b.sent if isinstance(said[1], Appended)]


def test_heartbeats_are_answered_while_the_disk_takes_its_time(b: Stage) -> None:
    b.append(2, 0, x(3, 1))
    b.is_slow = True
    assert b.tell("a", Append(1, 3, 1, 0, b.time, [x(4, 1)])) == []  # it may be a moment only
    b.time += 0.06
    beat = Append(1, 4, 1, 0, b.time, [x(5, 1)])
    assert b.tell("a", beat) == [("a", Appended(1, True, 3, beat.sent))]
    assert b.tell("a") == []  # once
    b.writes[-1].run()
    assert b.tell("a") == []  # the next is on its way, with entry 5
    b.writes[-1].run()
    assert b.tell("a") == [("a", Appended(1, True, 5, beat.sent))]


def test_what_another_leader_may_have_replaced_is_not_vouched_for(b: Stage) -> None:
    b.is_slow = True
    b.tell("a", Append(1, 2, 0, 0, b.time, [x(3, 1), x(4, 1)]))
    assert b.tell("c", Append(2, 2, 0, 0, b.time, [x(3, 2)])) == []
    while not b.writes[-1].is_done:
        b.writes[-1].run()
        said = b.tell("c")
    assert said == [("c", Appended(2, True, 3, b.time))]
    b.kill()
    assert b.log[-1] == x(3, 2)


def test_a_leader_with_a_busy_disk_leads_on_and_counts_the_disks_of_others(b: Stage) -> None:
    b.lead()
    b.is_slow = True
    b.core.submit(b"hello", "mine")
    b.core.tick()
    b.tell("a", b.answer(4))
    assert not b.settled and b.commit == 3
    for _ in range(20):
        assert Append in {type(said) for said in b.pass_time(0.1)}
        b.tell("a", b.answer(4))
    assert b.status.leads and b.core.lease_until > b.time and not b.settled
    b.tell("c", b.answer(4))
    assert b.settled == {"mine": (Outcome.DONE, None)}
    assert b.wal.synced == 3


def test_two_leaders_in_a_term_are_not_put_up_with(b: Stage) -> None:
    b.lead()
    with pytest.raises(Inconsistent):
        b.core.receive("a", [Append(1, 2, 0, 0, b.time, [])])


# -- when the next turn is due --------------------------------------------------------------------------------------


def test_a_turn_is_due_at_the_election_and_till_then_with_every_tick(b: Stage) -> None:
    heard = b.time
    b.append(2, 0)
    b.time += 0.02  # no tick falls on the election then
    pauses = []
    while not (said := b.turn()):
        pauses.append(b.core.pause())
        b.time += pauses[-1] + 0.0001
    assert [type(message) for message in said] == [AskVote, AskVote]
    assert max(pauses) == Timing().tick_s
    assert b.time - heard == pytest.approx(0.45, abs=0.005), "as the dice have it, and not at the tick after"
    assert len(pauses) <= 0.45 / Timing().tick_s + 1


def test_a_turn_is_due_with_every_heartbeat(b: Stage) -> None:
    b.lead()
    for _ in range(5):
        b.time += b.core.pause() + 0.0001
        assert {type(message) for message in b.turn()} == {Append}
        assert b.core.pause() == pytest.approx(Timing().heartbeat_s)
        b.time += 0.02
        assert not b.turn(), "a turn for another reason"
        assert b.core.pause() == pytest.approx(Timing().heartbeat_s - 0.02)


# -- who is elected -----------------------------------------------------------------------------------------------


def vote(b: Stage, sender: str, *asked: AskVote) -> Message:
    return b.tell(sender, *asked)[-1][1]


def test_a_vote_is_given_once_a_term_and_remembered(b: Stage) -> None:
    b.pass_time(0.31)
    assert vote(b, "a", AskVote(4, 2, 0)) == Vote(4, True)
    assert vote(b, "a", AskVote(4, 2, 0)) == Vote(4, True)  # the answer was lost
    assert vote(b, "c", AskVote(4, 2, 0)) == Vote(4, False)
    b.cut_power()
    b.pass_time(0.31)
    assert vote(b, "c", AskVote(4, 2, 0)) == Vote(4, False)
    assert vote(b, "a", AskVote(4, 2, 0)) == Vote(4, True)


@pytest.mark.parametrize(("last", "last_term", "granted"), [(9, 1, False), (3, 2, False), (4, 2, True), (3, 3, True)])
def test_only_a_log_that_is_as_complete_gets_a_vote(b: Stage, last: int, last_term: int, granted: bool) -> None:
    b.append(2, 0, x(3, 1), x(4, 2), term=2)
    b.pass_time(0.31)
    assert vote(b, "c", AskVote(3, last, last_term)) == Vote(3, granted)
    b.core.receive("c", [])


def test_who_hears_a_leader_neither_votes_nor_takes_over_the_term(b: Stage) -> None:
    b.append(2, 0)
    b.pass_time(0.2)
    assert vote(b, "c", AskVote(9, 9, 9)) == Vote(1, False)
    assert vote(b, "c", AskVote(9, 9, 9, pre=True)) == Vote(1, False, True)
    assert vote(b, "c", AskVote(9, 9, 9, transfer=True)) == Vote(9, True)  # the leader wants it


def test_nobody_is_promised_a_vote_right_after_a_start(b: Stage) -> None:
    assert vote(b, "a", AskVote(4, 2, 0)) == Vote(0, False)


def test_asking_whether_one_would_vote_promises_nothing(b: Stage) -> None:
    b.pass_time(0.31)
    assert vote(b, "a", AskVote(1, 2, 0, pre=True)) == Vote(1, True, True)
    assert vote(b, "c", AskVote(1, 2, 0, pre=True)) == Vote(1, True, True)
    assert b.wal.getCurrentTerm() == 0 and b.wal.getVotedForNodeId() is None


def test_a_node_that_is_cut_off_does_not_raise_its_term(b: Stage) -> None:
    b.append(2, 0)
    b.pass_time(10)
    assert b.status.term == 1 and b.status.leader is None


def test_a_vote_counts_once_and_only_of_voters(b: Stage) -> None:
    b.found = ("a", "b", "c", "d", "e")
    b.disk = PowerDisk(random.Random(3))
    b.open()
    b.pass_time(0.5)
    b.tell("a", Vote(1, True, True), Vote(1, True, True))
    assert b.status.term == 0
    b.tell("c", Vote(1, True, True))
    assert b.status.term == 1
    b.tell("a", Vote(1, True), Vote(1, True), Vote(1, True))
    b.tell("x", Vote(1, True))
    assert not b.status.leads
    b.tell("d", Vote(1, True))
    assert b.status.leads


def test_a_vote_of_another_term_does_not_count(b: Stage) -> None:
    b.pass_time(0.5)
    b.tell("a", Vote(1, True, True))
    b.tell("a", Vote(7, True))
    b.tell("a", Vote(0, True))
    assert not b.status.leads and b.status.term == 1


def test_a_learner_never_asks_for_votes() -> None:
    learner = Stage(me="d", found=())
    learner.append(1, 0, (MEMBERSHIP + b"\x93\xa1a\xa1b\xa1c", 2, 0), commit=2)
    assert learner.status.voters == VOTERS
    assert not [said for said in learner.pass_time(5) if isinstance(said, AskVote)]
    library.install()


# -- what a leader does -------------------------------------------------------------------------------------------


def test_a_command_is_done_when_a_majority_has_it_on_disk(b: Stage) -> None:
    b.lead()
    b.core.submit(b"hello", "mine")
    b.core.tick()
    assert (b.settled, b.applied) == ({}, [])
    b.tell("a", b.answer(4))
    assert b.settled == {"mine": (Outcome.DONE, None)}
    assert b.applied == [(4, b"hello")]


def test_what_was_vouched_for_in_another_term_does_not_count(b: Stage) -> None:
    b.lead()
    b.core.submit(b"hello", "mine")
    b.tell("a", Appended(0, True, 4, b.time))
    assert not b.settled


def test_what_a_learner_has_does_not_count(b: Stage) -> None:
    b.lead()
    b.core.submit(b"hello", "mine")
    b.core.tick()
    b.tell("d", b.answer(4))
    b.core.tick()
    assert not b.settled


def test_entries_of_earlier_terms_are_committed_with_one_of_the_own_only(b: Stage) -> None:
    b.append(2, 0, x(3, 1), term=1)
    b.pass_time(1)
    b.tell("a", Vote(2, True, True))
    b.tell("a", Vote(2, True))
    b.tell("a", b.answer(3))
    assert b.status.leads and b.commit == 1
    b.tell("a", b.answer(4))
    assert b.commit == 4


def test_a_leader_that_nobody_answers_stops_leading(b: Stage) -> None:
    b.lead()
    b.pass_time(0.5)
    assert b.status.leads
    b.pass_time(0.2)
    assert not b.status.leads and b.status.leader is None


def test_an_answer_that_took_long_does_not_let_a_leader_go_on(b: Stage) -> None:
    b.lead()
    late = b.answer(3)
    b.pass_time(0.5)
    b.tell("a", late)
    b.pass_time(0.2)
    assert not b.status.leads


def test_a_leader_that_hears_of_a_later_term_steps_down(b: Stage) -> None:
    b.lead()
    b.tell("c", Appended(5, False, 0, b.time))
    assert not b.status.leads and b.status.term == 5
    assert b.wal.getCurrentTerm() == 5


def test_a_refusal_of_what_was_sent_in_a_term_gone_by_says_nothing_of_this_one(b: Stage) -> None:
    b.lead()
    b.pass_time(0.2)
    lease = b.core.lease_until
    assert b.tell("a", Appended(1, False, 0, b.time)) == []  # `b` had led before, and `a` was late to hear it
    assert b.core.lease_until == lease and b.status.leads


def test_the_lease_ends_in_time_and_before_anybody_is_asked_to_take_over(b: Stage) -> None:
    b.lead()
    sent = b.time
    assert b.core.lease_until == pytest.approx(sent + 0.24)
    b.pass_time(0.2)
    assert b.core.lease_until == pytest.approx(sent + 0.24)  # nobody has answered since
    b.tell("a", b.answer(3))
    assert b.core.lease_until > b.time
    b.core.transfer()
    assert b.core.lease_until == 0.0
    assert ("a", LeadNow(1)) in b.sent
    b.tell("a", b.answer(3))
    assert b.core.lease_until == 0.0  # whoever was asked may still be elected
    for _ in range(8):
        b.pass_time(0.1)
        b.tell("a", b.answer(3))
    assert not b.status.leads  # nobody took over, so there shall be an election


def test_who_is_asked_to_lead_asks_for_votes_at_once(b: Stage) -> None:
    b.append(2, 0)
    said = b.tell("a", LeadNow(1))
    assert ("c", AskVote(2, 2, 0, transfer=True)) in said
    assert b.status.term == 2


@pytest.mark.parametrize(("sender", "term"), [("c", 1), ("a", 0), ("a", 2)])
def test_only_the_leader_of_the_term_may_ask_for_that(b: Stage, sender: str, term: int) -> None:
    b.append(2, 0)
    b.tell(sender, LeadNow(term))
    assert b.status.term == 1


# -- who votes ----------------------------------------------------------------------------------------------------


def test_a_change_counts_when_it_stands_in_the_log_and_another_has_to_wait(b: Stage) -> None:
    b.lead()
    b.tell("d", b.answer(3))
    b.core.change(("a", "b", "c", "d"), "first")
    b.core.change(("a", "b", "c"), "second")
    b.core.tick()
    assert b.status.voters == ("a", "b", "c", "d") and b.status.changing
    outcome, said = b.settled.pop("second")
    assert outcome is Outcome.REFUSED and isinstance(said, Conflict)
    b.tell("a", b.answer(4))
    assert not b.settled  # two of four
    b.tell("d", b.answer(4))
    assert b.settled == {"first": (Outcome.DONE, None)}


def test_a_change_that_the_log_loses_does_not_count(b: Stage) -> None:
    b.append(2, 0, (MEMBERSHIP + b"\x92\xa1a\xa1b", 3, 1))
    voters = [b.status.voters]
    b.append(2, 0, x(3, 2), term=2, sender="c")
    voters.append(b.status.voters)
    assert voters == [("a", "b"), VOTERS]


def test_a_change_that_is_not_committed_counts_after_a_restart(b: Stage) -> None:
    b.append(2, 0, (MEMBERSHIP + b"\x92\xa1a\xa1b", 3, 1))
    b.kill()
    b.core.tick()
    assert b.status.voters == ("a", "b")


def removed(*, others: str) -> Stage:
    """`b` has the entry that takes it out, of a leader that is gone for ever, and asks `others` for votes."""
    b = Stage(found=tuple(sorted({"b", *others, "x"})))
    b.reachable = {*others, "x"}
    for other in others:
        b.core.connected(other)
    b.append(2, 0, (MEMBERSHIP + configurations.encode({*others, "x"}), 3, 1), sender="x")
    assert AskVote(2, 3, 1, True) in b.pass_time(1)
    return b


@pytest.mark.parametrize("others", ["ac", "acd"])
def test_who_alone_has_the_entry_that_takes_it_out_leads_until_that_is_committed(others: str) -> None:
    """Nobody else can be elected: `b` would not vote for it, and the others are too few without `b` (§4.2.2)."""
    b = removed(others=others)
    needed = len({*others, "x"}) // 2 + 1  # of those who shall vote, and `b` is none
    for pre in (True, False):
        for other in others[: needed - 1]:
            b.tell(other, Vote(2, True, pre))
            assert b.status.term == (1 if pre else 2) and not b.status.leads
        b.tell(others[needed - 1], Vote(2, True, pre))
    assert b.status.leads
    for other in others[: needed - 1]:
        b.tell(other, b.answer(4))
        assert b.commit == 1 and b.status.leads and not b.core.lease_until
    b.tell(others[needed - 1], b.answer(4))
    assert b.commit == 4
    b.core.tick()
    assert not b.status.leads
    assert not [said for said in b.pass_time(5) if isinstance(said, AskVote)]  # it is needed no more
    library.install()


def test_a_change_comes_after_the_first_entry_of_the_leadership(b: Stage) -> None:
    b.pass_time(0.6)
    b.tell("a", Vote(1, True, True))
    b.tell("a", Vote(1, True))
    b.core.change(("a", "b"), "early")
    b.core.tick()
    assert b.settled["early"][0] is Outcome.REFUSED


# -- forwarding and reads -----------------------------------------------------------------------------------------


def test_a_command_goes_to_the_leader_and_is_done_when_applied_here(b: Stage) -> None:
    b.append(2, 0)
    b.core.submit(b"hello", "mine")
    b.core.tick()
    [forward] = [said for _, said in b.sent if isinstance(said, Forward)]
    assert forward.command == REGULAR + b"hello"
    b.tell("a", Forwarded(forward.request, 3, 1))
    b.append(2, 0, (forward.command, 3, 1))
    assert not b.settled
    b.append(3, 1, commit=3)
    b.core.tick()
    assert b.settled == {"mine": (Outcome.DONE, None)}


@pytest.mark.parametrize(("term", "outcome"), [(1, Outcome.DONE), (2, Outcome.NOT_TAKEN)])
def test_what_was_replaced_was_not_taken(b: Stage, term: int, outcome: Outcome) -> None:
    b.append(2, 0)
    b.core.submit(b"hello", "mine")
    b.core.tick()
    [forward] = [said for _, said in b.sent if isinstance(said, Forward)]
    b.tell("a", Forwarded(forward.request, 3, 1))
    b.append(2, 0, x(3, term), term=term, commit=3, sender="a" if term == 1 else "c")
    b.core.tick()
    assert b.settled["mine"][0] is outcome


def test_who_waits_for_an_entry_that_is_cut_off_is_told_that_nobody_knows(b: Stage) -> None:
    b.lead()
    for number in range(3):
        b.core.submit(b"%d" % number, number)
    b.core.tick()
    b.append(3, 1, x(4, 2), term=2, sender="c")  # not committed either: the entries may yet come back
    assert {token: outcome for token, (outcome, _) in b.settled.items()} == dict.fromkeys(range(3), Outcome.UNKNOWN)


def test_nobody_knows_what_became_of_a_command_when_the_leader_is_gone(b: Stage) -> None:
    b.append(2, 0)
    b.core.submit(b"hello", "mine")
    b.core.tick()
    b.reachable.discard("a")
    b.core.disconnected("a")
    assert b.settled["mine"][0] is Outcome.UNKNOWN
    b.core.submit(b"again", "other")
    b.core.tick()
    assert b.settled["other"][0] is Outcome.NOT_TAKEN


def test_only_commands_are_forwarded_not_who_votes(b: Stage) -> None:
    b.lead()
    said = b.tell("a", Forward(7, MEMBERSHIP + b"\x91\xa1a"))
    assert isinstance(said[-1][1], Forwarded) and said[-1][1].index == 0
    assert b.status.voters == VOTERS


def test_a_fresh_read_waits_for_what_the_leader_has_committed(b: Stage) -> None:
    b.append(2, 0)
    b.core.read("mine")
    [ask] = [said for _, said in b.sent if isinstance(said, AskIndex)]
    b.tell("a", ReadIndex(ask.request, 3))
    assert not b.settled
    b.append(2, 0, x(3, 1), commit=3)
    b.core.tick()
    assert b.settled == {"mine": (Outcome.DONE, None)}


def test_a_leader_vouches_for_reads_only_while_it_is_sure_to_lead(b: Stage) -> None:
    b.lead()
    assert ("c", ReadIndex(1, 3)) in b.tell("c", AskIndex(1))
    b.pass_time(0.3)
    assert ("c", ReadIndex(2, 0)) in b.tell("c", AskIndex(2))
    b.core.read("mine")
    assert b.settled["mine"][0] is Outcome.NOT_TAKEN


# -- snapshots ----------------------------------------------------------------------------------------------------


def snapshot(index: int, term: int, *, voters: tuple[str, ...] = ("a", "b", "c", "d")) -> tuple[bytes, SnapshotMeta]:
    """Its bytes, as a leader would send them."""
    disk, meta = PowerDisk(random.Random(4)), SnapshotMeta(index=index, term=term, voters=voters, config_index=2)
    snapshots = Snapshots(disk)
    for _ in snapshots.write(meta, [b"state" * 100]):
        pass
    snapshots.adopt(meta)
    outgoing = snapshots.outgoing()
    return outgoing.read(0, outgoing.size), meta


def pieces(b: Stage, data: bytes, meta: SnapshotMeta, *, term: int = 5, size: int = 200) -> list[Message]:
    return [
        Piece(term, meta.index, meta.term, len(data), at, data[at : at + size], b.time)
        for at in range(0, len(data), size)
    ]


def test_a_snapshot_in_pieces_replaces_the_log(b: Stage) -> None:
    data, meta = snapshot(50, 4)
    first, *others = pieces(b, data, meta)
    assert b.tell("a", first) == [("a", PieceTaken(5, 50, 200, b.time))]
    assert b.commit == 1  # a piece commits nothing
    assert b.tell("a", *others)[-1] == ("a", Appended(5, True, 50, b.time))
    assert b.restored == [meta] and b.status.voters == meta.voters
    assert (b.log[0][1:], b.commit) == ((50, 4), 50)
    b.append(50, 4, x(51, 5), term=5, commit=51)
    b.kill()
    assert b.restored == [meta, meta]
    assert [entry[1] for entry in b.log] == [50, 51]


def test_a_snapshot_of_what_is_known_changes_nothing(b: Stage) -> None:
    b.append(2, 0, *(x(index, 4) for index in range(3, 60)), term=5)
    data, meta = snapshot(50, 4)
    assert b.tell("a", *pieces(b, data, meta))[-1] == ("a", Appended(5, True, 50, b.time))
    assert not b.restored and b.log[-1][1] == 59
    assert b.commit == 50  # a snapshot holds what is committed


def test_a_damaged_snapshot_is_asked_for_again(b: Stage) -> None:
    data, meta = snapshot(50, 4)
    broken = data[:300] + bytes([data[300] ^ 1]) + data[301:]
    assert b.tell("a", *pieces(b, broken, meta))[-1] == ("a", PieceTaken(5, 50, 0, b.time))
    assert not b.restored and b.commit == 1


def test_an_own_snapshot_lets_the_log_begin_later(b: Stage) -> None:
    b.compact_entries = 20
    b.open()
    b.append(2, 0, *(x(index, 1) for index in range(3, 31)), commit=30)
    b.core.tick()
    [meta] = b.frozen
    assert (meta.index, meta.voters) == (30, VOTERS)
    for _ in b.snapshots.write(meta, [b"state"]):
        pass
    b.core.snapshot_written(meta)
    assert b.log[0][1] == 25  # a few stay, for those who are a little late
    b.kill()
    assert b.restored == [meta]
    b.core.tick()
    assert (b.log[0][1], b.log[-1][1], b.status.voters) == (
        25,
        30,
        VOTERS,
    )  # no more than before, though segments hold it


def test_a_snapshot_is_due_by_bytes_too_and_by_half_of_the_last_one(b: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "COMPACT_BYTES", 1000)
    b.append(2, 0, *(x(index, 1, "x" * 300) for index in range(3, 6)), commit=5)
    b.core.tick()
    assert not b.frozen
    b.append(5, 1, x(6, 1, "x" * 300), commit=6)
    b.core.tick()
    [meta] = b.frozen
    for _ in b.snapshots.write(meta, [bytes(10_000)]):
        pass
    b.core.snapshot_written(meta)
    b.append(6, 1, *(x(index, 1, "x" * 300) for index in range(7, 20)), commit=19)
    b.core.tick()
    assert len(b.frozen) == 1  # 3,900 bytes; it is due after 5,000
    b.append(19, 1, *(x(index, 1, "x" * 300) for index in range(20, 30)), commit=29)
    b.core.tick()
    assert [meta.index for meta in b.frozen] == [6, 29]


def test_what_stays_behind_a_snapshot_is_bounded_in_bytes(b: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEEP_BYTES", 700)
    b.compact_entries = 20
    b.open()
    b.append(2, 0, *(x(index, 1, "x" * 300) for index in range(3, 31)), commit=30)
    b.core.tick()
    for _ in b.snapshots.write(b.frozen[0], [b"state"]):
        pass
    b.core.snapshot_written(b.frozen[0])
    assert b.log[0][1] == 28
    b.kill()
    b.core.tick()
    assert (b.log[0][1], b.log[-1][1]) == (28, 30)


def test_a_follower_that_needs_what_is_gone_is_sent_the_snapshot_piece_by_piece(b: Stage) -> None:
    b.compact_entries = 20
    b.open()
    b.lead()
    for number in range(30):
        b.core.submit(b"%d" % number, number)
    b.core.tick()
    b.tell("a", b.answer(33))
    b.core.tick()
    for _ in b.snapshots.write(b.frozen[0], [bytes([n]) * 50_000 for n in range(5)]):
        pass
    b.core.snapshot_written(b.frozen[0])
    said = b.tell("c", b.answer(2, ok=False))
    got, size = b"", 1
    while len(got) < size:
        [piece] = [message for node, message in said if node == "c" and isinstance(message, Piece)]
        assert piece.offset == len(got)
        got, size = got + piece.data, piece.size
        said = b.tell("c", PieceTaken(1, piece.index, len(got), b.time))
    assert b.tell("c", b.answer(33)) == [] or b.status.leads
    b.core.submit(b"more", "more")
    b.core.tick()
    assert any(node == "c" and isinstance(said, Append) and said.entries for node, said in b.sent)
