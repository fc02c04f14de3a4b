"""The lines of waiting tasks."""

import pytest

from ariacluster.domain.queue import Demand, PendingQueue, demand_of
from ariacluster.domain.task import Priority, Task, TaskSpec


def task(
    seq: int, priority: Priority = Priority.NORMAL, not_before: int = 0, tags: dict[str, str] | None = None
) -> Task:
    spec = TaskSpec(urls=("http://one/f",), priority=priority, tags=tags or {})
    return Task(id=f"t{seq}", spec=spec, seq=seq, not_before=not_before, created_at=0, updated_at=0)


def drawn(queue: PendingQueue, now: int = 0) -> dict[Demand, list[str]]:
    return {demand: [task_id for *_, task_id in line] for demand, line in queue.lines(now).items()}


def test_a_line_is_ordered_by_priority_then_by_arrival() -> None:
    queue = PendingQueue()
    for one in (task(3), task(1), task(4, Priority.URGENT), task(2, Priority.LOW), task(5, Priority.URGENT)):
        queue.add(one)
    assert list(drawn(queue).values()) == [["t4", "t5", "t1", "t3", "t2"]]


def test_there_is_a_line_for_every_demand() -> None:
    queue = PendingQueue()
    gpu = task(2, tags={"gpu": "yes", "disk": "ssd"})
    same = task(3, tags={"disk": "ssd", "gpu": "yes"})
    for one in (task(1), gpu, same):
        queue.add(one)
    assert demand_of(gpu) == demand_of(same)
    assert drawn(queue) == {demand_of(task(1)): ["t1"], demand_of(gpu): ["t2", "t3"]}


def test_a_delayed_task_stands_in_its_line_from_its_time_on() -> None:
    queue = PendingQueue()
    queue.add(task(1, not_before=500))
    queue.add(task(2))
    assert queue.next_due() == 500
    assert list(drawn(queue, 499).values()) == [["t2"]]
    assert list(drawn(queue, 500).values()) == [["t1", "t2"]]
    assert queue.next_due() is None
    assert len(queue) == 2


@pytest.mark.parametrize("looked_at", [0, 499, 500, 501])
def test_a_delayed_task_can_be_taken_out_before_and_after_its_time(looked_at: int) -> None:
    queue = PendingQueue()
    late = task(1, not_before=500)
    queue.add(late)
    queue.lines(looked_at)
    queue.discard(late)
    assert len(queue) == 0
    assert queue.next_due() is None
    assert drawn(queue, 10_000) == {}


def test_taking_out_what_is_not_there_is_nothing() -> None:
    queue = PendingQueue()
    queue.add(task(1))
    queue.discard(task(2))
    assert list(drawn(queue).values()) == [["t1"]]
