"""Those who wait for a node: groups of one demand, lines of the same origins, one walk through all of them."""

import pytest

from ariacluster.domain.queue import AGE_MS, DUE_AT_ONCE, Demand, PendingQueue, Place, demand_of, room_for, turn_of
from ariacluster.domain.task import Priority, Task, TaskSpec


def task(
    seq: int,
    priority: Priority = Priority.NORMAL,
    not_before: int = 0,
    tags: dict[str, str] | None = None,
    urls: tuple[str, ...] = ("http://one/f",),
    came: int = 0,
    size: int = 0,
    bytes_on: str | None = None,
) -> Task:
    spec = TaskSpec(urls=urls, priority=priority, tags=tags or {})
    return Task(
        id=f"t{seq}",
        spec=spec,
        seq=seq,
        turn=turn_of(came, priority),
        size=size,
        bytes_on=bytes_on,
        not_before=not_before,
        created_at=came,
        updated_at=came,
    )


def queue_of(*tasks: Task) -> PendingQueue:
    queue = PendingQueue()
    for one in tasks:
        queue.add(one)
    return queue


def met(queue: PendingQueue, now: int = 0) -> list[str]:
    return [place.task_id for place in queue.walk(now)]


def lines(queue: PendingQueue) -> dict[Demand, dict[tuple[str, ...], list[str]]]:
    return {
        demand: {origins: [task_id for *_, task_id in line] for origins, line in group.lines.items()}
        for demand, group in queue.groups.items()
    }


URGENT, LOW = Priority.URGENT, Priority.LOW
TWO = ("http://two/f",)
GPU = {"gpu": "yes"}


def test_who_comes_at_one_time_goes_by_priority_then_by_arrival() -> None:
    queue = queue_of(task(3), task(1), task(4, URGENT), task(2, LOW), task(5, URGENT))
    assert met(queue) == ["t4", "t5", "t1", "t3", "t2"]


def test_every_step_of_priority_is_worth_some_time() -> None:
    """Of two, the less important one goes first if the other came so much later, and not a moment less."""
    assert AGE_MS == 30 * 60 * 1000
    for steps, less in ((1, Priority.HIGH), (2, Priority.NORMAL), (3, LOW)):
        waits = task(1, less, came=7)
        assert met(queue_of(waits, task(2, URGENT, came=7 + steps * AGE_MS - 1))) == ["t2", "t1"]
        assert met(queue_of(waits, task(2, URGENT, came=7 + steps * AGE_MS))) == ["t1", "t2"]


def test_there_is_a_group_for_every_demand() -> None:
    gpu = task(2, tags={"gpu": "yes", "disk": "ssd"})
    same = task(3, tags={"disk": "ssd", "gpu": "yes"})
    assert demand_of(gpu) == demand_of(same)
    queue = queue_of(task(1), gpu, same)
    one = ("one:80",)
    assert lines(queue) == {demand_of(task(1)): {one: ["t1"]}, demand_of(gpu): {one: ["t2", "t3"]}}


def test_who_needs_other_room_on_a_disk_asks_for_something_else() -> None:
    """Where one has a part already, it needs none: it must not be left because there is no room for others of its size."""
    sizes = {size: task(1, size=size) for size in (0, 1, 10**9, 2 * 10**9)}
    assert len({demand_of(one) for one in sizes.values()}) == 4
    there = task(2, size=10**9, bytes_on="a")
    assert demand_of(there).home == "a"
    assert demand_of(there) != demand_of(sizes[10**9])
    assert demand_of(task(2, bytes_on="a")) == demand_of(sizes[0]), "of unknown size it goes anywhere"


def test_room_is_enough_and_not_much_more() -> None:
    for size in [*range(0, 10**7, 99_991), *(10**n + 1 for n in range(7, 19)), 2**63 - 1]:
        assert size <= room_for(size) <= size + max(4 * 1024 * 1024, size // 16)
    assert room_for(0) == 0
    assert room_for(10**9) == room_for(10**9 + 10**6), "files of about one size ask for the same"


def test_there_is_a_line_for_every_set_of_origins() -> None:
    both = task(3, urls=("http://two/f", "http://one/f"))
    magnet = task(4, urls=("magnet:?xt=urn:btih:0",))
    queue = queue_of(task(1), task(2, urls=TWO), both, magnet, task(5, urls=("http://one:80/other",)))
    assert lines(queue) == {
        demand_of(both): {("one:80",): ["t1", "t5"], ("two:80",): ["t2"], ("one:80", "two:80"): ["t3"], (): ["t4"]}
    }
    assert met(queue) == ["t1", "t2", "t3", "t4", "t5"]


def test_a_place_says_what_is_asked_for() -> None:
    one = task(1, URGENT, tags=GPU, came=5)
    [place] = queue_of(one).walk(0)
    assert place == Place((5 - 3 * AGE_MS, 1, "t1"), demand_of(one), ("one:80",))


def test_where_nobody_can_take_one_its_group_is_left_whole() -> None:
    queue = queue_of(task(1, tags=GPU), task(2), task(3, tags=GPU, urls=TWO), task(4, tags=GPU), task(5, urls=TWO))
    walk = queue.walk(0)
    seen = []
    for place in walk:
        seen.append(place.task_id)
        if place.demand.tags:
            walk.give_up(place.demand)
    assert seen == ["t1", "t2", "t5"]


def test_a_group_can_be_given_up_from_elsewhere() -> None:
    """As when the last place that suits it went to a task of another group."""
    queue = queue_of(task(1), task(2, tags=GPU), task(3), task(4, tags=GPU))
    walk = queue.walk(0)
    seen = []
    for place in walk:
        seen.append(place.task_id)
        walk.give_up(demand_of(task(9, tags=GPU)))
    assert seen == ["t1", "t3"]


def test_where_an_origin_is_to_be_left_alone_only_its_line_is_left() -> None:
    queue = queue_of(*(task(n, urls=TWO if n % 2 else ("http://one/f",)) for n in range(6)), task(6, tags=GPU))
    walk = queue.walk(0)
    seen = []
    for place in walk:
        seen.append(place.task_id)
        if place.origins == ("one:80",):
            walk.leave()
    assert seen == ["t0", "t1", "t3", "t5", "t6"]


def test_a_new_head_is_found_whoever_comes_or_goes() -> None:
    first, second, third = task(1), task(2), task(3, urls=TWO)
    queue = queue_of(second, third, first)
    [group] = queue.groups.values()
    assert [ticket[2] for ticket in group.heads] == ["t1", "t3"]
    queue.discard(first)
    assert [ticket[2] for ticket in group.heads] == ["t2", "t3"]
    queue.discard(second)
    assert [ticket[2] for ticket in group.heads] == ["t3"]
    queue.add(first)
    assert met(queue) == ["t1", "t3"]
    queue.discard(third)
    queue.discard(first)
    assert (queue.groups, len(queue), met(queue)) == ({}, 0, [])


def test_a_delayed_task_stands_in_its_line_from_its_time_on() -> None:
    queue = queue_of(task(1, not_before=500), task(2))
    assert queue.next_due() == 500
    assert met(queue, 499) == ["t2"]
    assert met(queue, 500) == ["t1", "t2"]
    assert queue.next_due() is None
    assert len(queue) == 2


def test_no_walk_stops_to_line_up_a_whole_crowd() -> None:
    """When very many are due at once, each walk lines up some: the first of them first, until none is left."""
    queue = queue_of(*(task(n, not_before=500 + n) for n in range(DUE_AT_ONCE + 3)))
    assert len(met(queue, 10**6)) == DUE_AT_ONCE
    assert queue.next_due() == 500 + DUE_AT_ONCE, "due already: the next walk is due, too"
    assert len(met(queue, 10**6)) == DUE_AT_ONCE + 3
    assert queue.next_due() is None


@pytest.mark.parametrize("looked_at", [0, 499, 500, 501])
def test_a_delayed_task_can_be_taken_out_before_and_after_its_time(looked_at: int) -> None:
    late = task(1, not_before=500)
    queue = queue_of(late)
    queue.walk(looked_at)
    queue.discard(late)
    assert len(queue) == 0
    assert queue.next_due() is None
    assert met(queue, 10_000) == []


def test_taking_out_what_is_not_there_is_nothing() -> None:
    queue = queue_of(task(1))
    queue.discard(task(2))
    assert met(queue) == ["t1"]


def test_nothing_is_left_after_clearing() -> None:
    queue = queue_of(task(1), task(2, tags=GPU), task(3, not_before=500))
    queue.clear()
    assert (len(queue), queue.groups, queue.next_due(), met(queue, 1000)) == (0, {}, None, [])
