"""The table under any history of proposals."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from ariacluster.domain import snapshot
from ariacluster.domain.commands import Proposal, Refusal, Register
from ariacluster.domain.member import Member
from ariacluster.domain.table import TaskTable
from ariacluster.wire import codec
from tests.support.invariants import Witness, check, derived

from .strategies import START, Author, Step, histories


def run(history: list[Step]) -> Witness:
    """Carry a history out, in a cluster that has three members from the start."""
    witness, author = Witness(TaskTable()), Author()
    crew = (
        Member(id=node, name=f"name-{node}", address="192.0.2.1", port=8000, raft="192.0.2.1:8002") for node in "abc"
    )
    witness.apply(Proposal(id="founding", at=START, by="a", commands=tuple(map(Register, crew))))
    for step in history:
        witness.apply(author.write(step, witness.table))
    return witness


def plain(table: TaskTable) -> object:
    return msgspec.to_builtins(list(snapshot.parts(snapshot.take(table))))


def through_a_snapshot(table: TaskTable) -> TaskTable:
    """As another node would get it: encoded, sent, decoded."""
    return codec.decode_snapshot(codec.encode_snapshot(snapshot.take(table)))


@given(histories)
@settings(max_examples=400)
def test_every_step_keeps_the_promises(history: list[Step]) -> None:
    run(history)


@given(histories)
def test_the_same_proposals_make_the_same_table(history: list[Step]) -> None:
    first = run(history)
    other = TaskTable()
    for proposal in first.log:
        other.apply(proposal)
    assert plain(other) == plain(first.table)
    assert derived(other) == derived(first.table)


@given(histories, st.sets(st.integers(0, 40), max_size=3))
def test_a_snapshot_at_any_point_makes_no_difference(history: list[Step], cuts: set[int]) -> None:
    """Of two nodes one was there all the time, the other began anew from what a third one sent it, again and again."""
    log = run(history).log
    straight, restored = TaskTable(), TaskTable()
    for position, proposal in enumerate(log):
        if position in cuts:
            restored = through_a_snapshot(restored)
            check(restored)
        assert straight.apply(proposal) == restored.apply(proposal)
        assert derived(straight) == derived(restored)
    assert plain(straight) == plain(restored)
    again = through_a_snapshot(restored)
    check(again)
    assert plain(again) == plain(straight)
    assert derived(again) == derived(straight)


@given(histories, st.sets(st.integers(0, 40), max_size=5))
def test_who_looks_at_the_queue_changes_nothing(history: list[Step], looks: set[int]) -> None:
    """A leader looks at it, the others do not: afterwards they have the same order, and go on as one."""
    log = run(history).log
    leader, follower = TaskTable(), TaskTable()
    for position, proposal in enumerate(log):
        if position in looks:
            list(leader.queue.walk(proposal.at))
        assert leader.apply(proposal) == follower.apply(proposal)
        check(leader)
    assert plain(leader) == plain(follower)
    late = max(proposal.at for proposal in log) + 10**6
    assert list(leader.queue.walk(late)) == list(follower.queue.walk(late))
    assert derived(leader) == derived(follower)


@given(histories)
def test_the_whole_log_proposed_twice_changes_nothing_more(history: list[Step]) -> None:
    witness = run(history)
    before = plain(witness.table)
    for proposal in list(witness.log):
        assert witness.apply(proposal).changes == ()
    assert plain(witness.table) == before


@given(histories)
def test_a_superseded_attempt_is_refused_whatever_it_says(history: list[Step]) -> None:
    """After the history, every older attempt speaks up once more."""
    witness = run(history)
    old = [
        command
        for proposal in witness.log
        for command in proposal.commands
        if (attempt := getattr(command, "attempt", None)) is not None
        and (row := witness.table.tasks.get(command.task)) is not None  # type: ignore[union-attr]
        and attempt < row.attempt
    ]
    before = dict(witness.table.tasks)
    applied = witness.apply(Proposal(id="ghosts", at=0, by="b", commands=tuple(old)))
    assert all(isinstance(outcome, Refusal) and outcome.code == "stale_attempt" for outcome in applied.outcomes)
    assert witness.table.tasks == before


@given(histories)
def test_a_proposal_survives_the_wire(history: list[Step]) -> None:
    for proposal in run(history).log:
        sent = msgpack.encode(proposal)
        received = msgpack.decode(sent, type=Proposal)
        assert repr(received) == repr(proposal)  # repr: NaN is not equal to itself
        assert msgpack.encode(received) == sent
