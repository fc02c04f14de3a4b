"""The table in parts and back, as values and as bytes."""

import msgspec
import pytest

from ariacluster.domain.commands import (
    Absorb,
    Assign,
    Complete,
    Configure,
    Drain,
    Fail,
    Measure,
    Proposal,
    Register,
    Release,
    Remove,
    Resume,
    Start,
    Submit,
    Succeed,
    Tune,
)
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.formation import Membership
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.origins import Origin
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.domain.snapshot import (
    ROWS,
    SCHEMA,
    Happened,
    Head,
    Recent,
    Removed,
    Tasks,
    UnknownSchema,
    parts,
    restore,
    take,
)
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FailureKind, FileEntry, Result, TaskSpec, TaskState
from ariacluster.wire.codec import decode_snapshot, encode_snapshot
from tests.support.invariants import check, derived

SPEC = TaskSpec(urls=("http://one/f",), options={"split": "4"}, headers=("A: b",), tags={"gpu": "yes"})


def sample(*, more: int = 0) -> TaskTable:
    table = TaskTable()
    ann = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", tags={"gpu": "yes"})
    result = Result(total_bytes=7, file_count=1, files=(FileEntry("d/f", 7),))
    table.apply(Proposal(id="1", at=5, by="a", commands=(Register(ann), Submit("t", SPEC), Submit("u", SPEC))))
    table.apply(Proposal(id="2", at=6, by="a", commands=(Assign("t", 1, "a", "why"), Complete("t", 1, result))))
    table.apply(Proposal(id="3", at=7, by="a", commands=(Resume("t"),)))
    for number in range(more):
        fleeting = (Submit(f"{number}", SPEC), Submit(f"gone {number}", SPEC), Remove(f"gone {number}"))
        table.apply(Proposal(id=f"more {number}", at=8, by="a", commands=fleeting))
    return table


def chunks(table: TaskTable) -> list[bytes]:
    return list(encode_snapshot(take(table)))


@pytest.mark.parametrize("more", [0, ROWS - 2, ROWS - 1, 3 * ROWS])
def test_it_comes_back_equal(more: int) -> None:
    table = sample(more=more)
    written = chunks(table)
    back = decode_snapshot(iter(written))
    assert (back.tasks, back.members, back.next_seq) == (table.tasks, table.members, table.next_seq)
    assert list(back.recent.items()) == list(table.recent.items())
    assert list(back.removed) == list(table.removed)
    assert list(back.tasks) == list(table.tasks), "in the order of submission, as it must be for the next snapshot"
    assert back.tasks["t"].state is TaskState.COMPLETED
    check(back)
    assert chunks(back) == written


def test_how_the_cluster_became_what_it_is_comes_back() -> None:
    table = sample()
    into = Membership(cluster_id="d", cluster_name="default", key="ab", peers={"b": "b:1"}, born=7, lone=True, was="e")
    table.apply(Proposal(id="8", at=8, by="a", commands=(Absorb("y", whole=True), Absorb("x"), Succeed(into)), v=3))
    back = decode_snapshot(chunks(table))
    assert list(back.absorbed.items()) == [("y", True), ("x", False)]
    assert (back.successor, back.language) == (into, 3)
    [refused] = back.apply(Proposal(id="9", at=9, by="a", commands=(Remove("t"),))).outcomes
    assert refused and refused.code == "moved", "closed it was, closed it stays"
    plain = decode_snapshot(chunks(sample()))
    assert (plain.absorbed, plain.successor, plain.language) == ({}, None, 1)


def test_what_the_dispatcher_goes_by_comes_back() -> None:
    table = sample()
    policy = Policy(strategy=Strategy.RANDOM, origin_connections=4, origin_limits={"one": 2}, min_free=7)
    tuning = Tuning(slots=3, download_limit=1000, upload_limit=10)
    throttled = Fail("u", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 60_000)
    moving = (Configure(policy), Drain("a", 99), Tune("a", tuning), Measure("u", 10**9, '"e"'), Submit("v", SPEC, 50))
    given = (Assign("u", 1, "a", "why", 3), Start("u", 1), throttled, Assign("u", 2, "a", "why", 2), Start("u", 2))
    lost = (Release("u", 2, "Lost.", 40), Assign("u", 3, "a", "why", 2), Submit("w", SPEC))
    applied = table.apply(Proposal(id="8", at=1_000, by="a", commands=(*moving, *given, *lost)))
    assert set(applied.outcomes) == {None}
    back = decode_snapshot(chunks(table))
    assert (back.policy, back.latest) == (policy, 1_000)
    assert back.origins == table.origins == {"one:80": Origin(61_000, 1)}
    assert (back.members["a"].drain_until, back.members["a"].tuning) == (99, tuning)
    row = back.tasks["u"]
    assert (row.size, row.validator, row.bytes_on, row.connections, row.turn) == (10**9, '"e"', "a", 2, 5 - 1_800_000)
    assert [failure.ran for failure in row.failures] == [-1, 0]
    assert back.tasks["v"].not_before == 1_050
    assert back.tasks == table.tasks
    assert derived(back) == derived(table)
    check(back)
    assert (back.expected_on("a"), back.connections_to("one:80"), back.idle_count("a")) == (10**9, 2, 1)
    assert (table.given_to("a"), back.given_to("a")) == (4, 0), "each node counts by itself"


def test_two_tables_of_one_snapshot_go_their_own_ways() -> None:
    table = sample()
    throttled = Fail("u", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 60_000)
    written = list(parts(take(table)))
    one, other = restore(written), restore(written)
    one.apply(Proposal(id="8", at=8, by="a", commands=(Assign("u", 1, "a", "why"), throttled)))
    assert one.origins
    assert other.origins == {}
    assert list(parts(take(other))) == written


def test_nothing_is_left_of_the_way_back() -> None:
    """What was read must not count as changed."""
    back = decode_snapshot(chunks(sample()))
    assert back._changes == [], "it would hold on to every row"
    assert back.apply(Proposal(id="9", at=9, by="a", commands=())).changes == ()


def test_an_empty_table_has_a_beginning_too() -> None:
    back = decode_snapshot(chunks(TaskTable()))
    assert (back.tasks, back.members, back.next_seq) == ({}, {}, 1)


def test_no_part_is_long() -> None:
    sizes = [len(part.rows) for part in parts(take(sample(more=3 * ROWS))) if not isinstance(part, Head)]
    assert max(sizes) == ROWS
    kinds = [type(part) for part in parts(take(sample(more=3 * ROWS)))]
    assert kinds == [Head, *[Tasks] * 4, *[Recent] * 4, *[Removed] * 3, *[Happened] * 10]


def test_a_snapshot_does_not_move_with_its_table() -> None:
    table = sample()
    taken = take(table)
    before = list(encode_snapshot(taken))
    throttled = Fail("u", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 60_000)
    table.apply(Proposal(id="9", at=9, by="a", commands=(Assign("u", 1, "a", ""), throttled, Remove("t"))))
    assert table.origins
    assert list(encode_snapshot(taken)) == before
    assert chunks(table) != before


def schema(value: object) -> bytes:
    return msgspec.msgpack.encode({"type": "head", "schema": value, "of another": "kind"})


@pytest.mark.parametrize(
    "first", [b"", b"\xc1", b"\xc0", msgspec.msgpack.encode([]), schema(SCHEMA + 1), schema(1), schema(None)]
)
def test_another_version_is_not_read(first: bytes) -> None:
    with pytest.raises(UnknownSchema) as raised:
        decode_snapshot([first, *chunks(sample())[1:]])
    assert isinstance(raised.value, AriaClusterError)
    assert f"reads {SCHEMA}" in raised.value.detail


def test_another_version_is_not_restored() -> None:
    head = next(parts(take(sample())))
    with pytest.raises(UnknownSchema):
        restore([msgspec.structs.replace(head, schema=SCHEMA + 1)])


def test_what_is_not_whole_is_not_read() -> None:
    whole = chunks(sample(more=2 * ROWS))
    for missing in range(len(whole)):
        with pytest.raises((ValueError, UnknownSchema)):
            decode_snapshot(whole[:missing] + whole[missing + 1 :])
        with pytest.raises((ValueError, UnknownSchema), match=r"The saved table"):
            decode_snapshot(whole[:missing])


@pytest.mark.parametrize("twice", range(5))
def test_what_comes_twice_is_not_read(twice: int) -> None:
    whole = chunks(sample(more=2))
    assert len(whole) == 5
    with pytest.raises(ValueError, match="damaged"):
        decode_snapshot([*whole, whole[twice]])


@pytest.mark.parametrize(
    "damage",
    [
        lambda chunk: b"",
        lambda chunk: chunk[:-1],
        lambda chunk: chunk + b"\x00",
        lambda chunk: b"\x80\x04pickle.",
        lambda chunk: chunk.replace(b"completed", b"flying up"),
    ],
)
def test_a_damaged_chunk_is_named(damage: object) -> None:
    whole = chunks(sample())
    assert callable(damage)
    with pytest.raises(ValueError, match=r"The saved table is damaged: chunk 1 cannot be read"):
        decode_snapshot([whole[0], damage(whole[1]), *whole[2:]])
