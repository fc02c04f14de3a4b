"""The table of moves is a sound machine."""

import msgspec
import pytest

from ariacluster.domain.task import ASSIGNED, FINAL, MOVES, Priority, Task, TaskSpec, TaskState

BY_A_PERSON = {"pause", "resume", "retry", "cancel"}


def test_every_state_but_the_first_is_reached_and_every_state_can_be_left_or_is_complete() -> None:
    reached = {TaskState.PENDING} | {move.target for move in MOVES.values()}
    left = {state for move in MOVES.values() for state in move.sources}
    assert reached == set(TaskState)
    assert set(TaskState) - left == {TaskState.COMPLETED}


def test_a_final_state_is_left_by_a_persons_word_only() -> None:
    assert {name for name, move in MOVES.items() if move.sources & FINAL} <= BY_A_PERSON


def test_only_assign_gives_a_task_to_a_node() -> None:
    entering = {name for name, m in MOVES.items() if m.target in ASSIGNED and not m.sources <= ASSIGNED}
    assert entering == {"assign"}


def test_no_move_stays_where_it_is() -> None:
    assert not [name for name, move in MOVES.items() if move.target in move.sources]


@pytest.mark.parametrize("state", TaskState)
def test_a_task_is_assigned_only_while_a_node_works_on_it(state: TaskState) -> None:
    spec = TaskSpec(urls=("http://one/f",))
    task = Task(id="t", spec=spec, seq=1, state=state, node="a", attempt=1, created_at=0, updated_at=0)
    assert task.assigned_to == ("a" if state in {TaskState.QUEUED, TaskState.DOWNLOADING} else None)


def test_priorities_are_ordered() -> None:
    assert list(Priority) == sorted(Priority)
    assert Priority.URGENT > Priority.HIGH > Priority.NORMAL > Priority.LOW


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TaskSpec(urls=()).dir = "x"  # type: ignore[misc]
    assert msgspec.structs.replace(TaskSpec(urls=()), dir="x").dir == "x"
