"""Clusters that went apart, or were never one: whatever their histories, every member that brings its copy along leaves the
same rows, and no bytes that somebody has are forgotten."""

from itertools import permutations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.commands import Proposal
from ariacluster.domain.heritage import carried
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Task, TaskState
from ariacluster.domain.union import united
from tests.support.invariants import check

from .strategies import START, Author, Step, histories
from .test_table import run, through_a_snapshot


def apart(common: list[Step], *own: list[Step]) -> list[TaskTable]:
    """The tables of clusters that have a history in common, and then each its own."""
    tables, shared = [], run(common).table
    for number, steps in enumerate(own):
        table, author = through_a_snapshot(shared), Author()
        author.now = START + 10**8
        for step in steps:
            proposal = author.write(step, table)
            table.apply(msgspec.structs.replace(proposal, id=f"{number}-{proposal.id}"))
        tables.append(table)
    return tables


def bring(into: TaskTable, heritage: TaskTable, name: str) -> None:
    into.apply(Proposal(id=f"bring {name}", at=START, by="a", commands=tuple(carried(heritage, name))))
    check(into)


def rows(table: TaskTable) -> dict[str, Task]:
    return {row.id: msgspec.structs.replace(row, seq=0) for row in table.tasks.values()}


three = st.tuples(histories, histories, histories)


@given(histories, three)
@settings(max_examples=100)
def test_in_whatever_order_they_come_the_same_rows_remain(common: list[Step], own: tuple[list[Step], ...]) -> None:
    outcomes, tables = [], apart(common, *own)
    for order in permutations(range(3)):
        into = TaskTable()
        for number in order:
            bring(into, tables[number], f"c{number}")
            bring(into, tables[number], f"c{number} again")
        absorbed = {name for name in into.absorbed if "again" not in name}
        outcomes.append((rows(into), set(into.members), set(into.removed), absorbed))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@given(histories, three)
def test_every_row_is_there_and_none_twice(common: list[Step], own: tuple[list[Step], ...]) -> None:
    into, *others = apart(common, *own)
    kept = dict(into.tasks)
    for number, other in enumerate(others):
        bring(into, other, f"c{number}")
    for table in (into, *others):
        for row in table.tasks.values():
            assert row.id in into.tasks or row.id in into.removed
    for row in (row for row in kept.values() if row.id in into.tasks):
        assert into.tasks[row.id].seq == row.seq  # what people have looked at does not move


@given(histories, three)
def test_what_somebody_has_completed_stays_so(common: list[Step], own: tuple[list[Step], ...]) -> None:
    into, *others = apart(common, *own)
    done = {row.id for table in (into, *others) for row in table.tasks.values() if row.state is TaskState.COMPLETED}
    for number, other in enumerate(others):
        bring(into, other, f"c{number}")
    assert all(into.tasks[task_id].state is TaskState.COMPLETED for task_id in done - into.removed.keys())


@given(histories, three)
def test_two_rows_are_united_the_same_way_whoever_asks(common: list[Step], own: tuple[list[Step], ...]) -> None:
    first, second, third = (rows(table) for table in apart(common, *own))
    for task_id in first.keys() & second.keys() & third.keys():
        a, b, c = first[task_id], second[task_id], third[task_id]
        assert united(a, b) == united(b, a)
        assert united(united(a, b), c) == united(a, united(b, c))
        assert united(a, a) == a
