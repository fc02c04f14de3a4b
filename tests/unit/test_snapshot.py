"""The table as plain data and back."""

import json

import msgspec
import pytest

from ariacluster.domain.commands import Assign, Complete, Proposal, Register, Resume, Submit
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.member import Member
from ariacluster.domain.snapshot import SCHEMA, UnknownSchema, from_plain, restore, take, to_plain
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FileEntry, Result, TaskSpec, TaskState
from tests.support.invariants import check


def sample() -> TaskTable:
    table = TaskTable()
    ann = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", tags={"gpu": "yes"})
    spec = TaskSpec(urls=("http://one/f",), options={"split": "4"}, headers=("A: b",), tags={"gpu": "yes"})
    result = Result(total_bytes=7, file_count=1, files=(FileEntry("d/f", 7),))
    table.apply(Proposal(id="1", at=5, by="a", commands=(Register(ann), Submit("t", spec), Submit("u", spec))))
    table.apply(Proposal(id="2", at=6, by="a", commands=(Assign("t", 1, "a", "why"), Complete("t", 1, result))))
    table.apply(Proposal(id="3", at=7, by="a", commands=(Resume("t"),)))
    return table


def test_it_is_plain_and_comes_back_equal() -> None:
    table = sample()
    plain = to_plain(take(table))
    through_json = json.loads(json.dumps(plain))
    back = restore(from_plain(through_json))
    assert (back.tasks, back.members, back.next_seq) == (table.tasks, table.members, table.next_seq)
    assert list(back.recent.items()) == list(table.recent.items())
    assert back.tasks["t"].state is TaskState.COMPLETED
    check(back)
    assert to_plain(take(back)) == plain


def test_a_snapshot_does_not_move_with_its_table() -> None:
    table = sample()
    taken = take(table)
    before = to_plain(taken)
    table.apply(Proposal(id="9", at=9, by="a", commands=(Assign("u", 1, "a", ""),)))
    assert to_plain(taken) == before
    assert to_plain(take(table)) != before


@pytest.mark.parametrize("data", [None, [], {}, "snapshot", {"schema": SCHEMA + 1}, {"schema": None}])
def test_another_version_is_not_read(data: object) -> None:
    with pytest.raises(UnknownSchema) as raised:
        from_plain(data)
    assert isinstance(raised.value, AriaClusterError)
    assert str(SCHEMA) in raised.value.detail


def test_a_damaged_one_is_not_read() -> None:
    plain = to_plain(take(sample()))
    plain["tasks"][0]["state"] = "flying"
    with pytest.raises(msgspec.ValidationError):
        from_plain(plain)
