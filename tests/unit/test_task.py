"""The table of moves is a sound machine."""

import msgspec
import pytest

from ariacluster.domain.task import ASSIGNED, FINAL, MOVES, Priority, Task, TaskSpec, TaskState

BY_A_PERSON = {"pause", "resume", "retry", "relink", "cancel"}


def test_every_state_but_the_first_is_reached_and_every_state_can_be_left_or_is_complete() -> None:
    reached = {TaskState.PENDING} | {move.target for move in MOVES.values()}
    left = {state for move in MOVES.values() for state in move.sources}
    assert reached == set(TaskState)
    assert set(TaskState) - left == {TaskState.COMPLETED}


def test_a_final_state_is_left_by_a_persons_word_or_because_it_is_whole_after_all() -> None:
    leaving = {name for name, move in MOVES.items() if move.sources & FINAL}
    assert leaving - BY_A_PERSON == {"complete"}
    assert MOVES["complete"].sources & FINAL == {TaskState.FAILED}


def test_only_assign_and_move_give_a_task_to_a_node() -> None:
    entering = {name for name, m in MOVES.items() if m.target in ASSIGNED and not m.sources <= ASSIGNED}
    assert entering == {"assign", "move"}


def test_what_is_completed_stays_so_and_what_is_canceled_is_not_linked_anew() -> None:
    assert not [name for name, move in MOVES.items() if TaskState.COMPLETED in move.sources]
    assert {name for name, move in MOVES.items() if TaskState.CANCELED in move.sources} == {"retry"}


def test_no_move_but_those_that_begin_anew_stays_where_it_is() -> None:
    assert {name for name, move in MOVES.items() if move.target in move.sources} == {"move", "relink"}


@pytest.mark.parametrize("state", TaskState)
def test_a_task_is_assigned_only_while_a_node_works_on_it(state: TaskState) -> None:
    spec = TaskSpec(urls=("http://one/f",))
    task = Task(id="t", spec=spec, seq=1, state=state, node="a", attempt=1, created_at=0, updated_at=0)
    at_work = state in {TaskState.QUEUED, TaskState.DOWNLOADING}
    assert task.assigned_to == ("a" if at_work else None)
    for bytes_on, holder in ((None, None), ("a", None), ("b", "b")):
        assert msgspec.structs.replace(task, bytes_on=bytes_on).holder == (holder if at_work else None)


def test_priorities_are_ordered() -> None:
    assert list(Priority) == sorted(Priority)
    assert Priority.URGENT > Priority.HIGH > Priority.NORMAL > Priority.LOW


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TaskSpec(urls=()).dir = "x"  # type: ignore[misc]
    assert msgspec.structs.replace(TaskSpec(urls=()), dir="x").dir == "x"
