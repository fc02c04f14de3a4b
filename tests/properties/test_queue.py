"""The queue of those who wait for a node: whoever comes, goes and is passed over, in whatever order."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.commands import Proposal, Submit
from ariacluster.domain.queue import AGE_MS, Demand, Origins, PendingQueue, Place, Ticket, demand_of, turn_of
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Priority, Task, TaskSpec

LINKS = (("http://one/f",), ("http://two/f",), ("http://one/f", "http://two/f"), ("magnet:?xt=urn:btih:0",))
TAGS: tuple[dict[str, str], ...] = ({}, {"gpu": "yes"})
NOW = 10 * AGE_MS


@st.composite
def waiting(draw: st.DrawFn, min_size: int = 0) -> list[Task]:
    """Tasks that wait, some of them not yet due."""
    kinds = st.tuples(
        st.sampled_from(LINKS),
        st.sampled_from(TAGS),
        st.sampled_from(Priority),
        st.sampled_from([0, 1, AGE_MS, 3 * AGE_MS, 3 * AGE_MS + 1]),
        st.sampled_from([0, 10**9, 10**12]),
        st.sampled_from([0, 0, 0, NOW, NOW + 1]),
    )
    tasks = []
    for seq, (urls, tags, priority, came, size, due) in enumerate(
        draw(st.lists(kinds, min_size=min_size, max_size=40))
    ):
        spec = TaskSpec(urls=urls, tags=tags, priority=priority)
        turn = turn_of(came, priority)
        task = Task(id=f"{seq * 7919 % 1000:04}", spec=spec, seq=seq, turn=turn, created_at=0, updated_at=0)
        tasks.append(msgspec.structs.replace(task, size=size, not_before=due))
    return tasks


def queue_of(tasks: list[Task]) -> PendingQueue:
    queue = PendingQueue()
    for task in tasks:
        queue.add(task)
    return queue


def ready(tasks: list[Task], now: int = NOW) -> list[Task]:
    return sorted((task for task in tasks if task.not_before <= now), key=lambda task: (task.turn, task.seq))


@given(waiting(), st.data())
def test_everybody_is_met_once_and_in_order(tasks: list[Task], data: st.DataObject) -> None:
    queue = queue_of(data.draw(st.permutations(tasks)))
    places = list(queue.walk(NOW))
    assert [place.task_id for place in places] == [task.id for task in ready(tasks)]
    assert [place.demand for place in places] == [demand_of(task) for task in ready(tasks)]
    assert list(queue.walk(NOW)) == places, "a walk changes nothing"


@given(waiting(), st.data())
def test_who_was_never_there_leaves_no_trace(tasks: list[Task], data: st.DataObject) -> None:
    """Comings and goings, with walks between them: it is as if only those who stayed had come."""
    queue, present = PendingQueue(), dict[str, Task]()
    for task in data.draw(st.permutations(tasks)):
        queue.add(task)
        present[task.id] = task
        match data.draw(st.sampled_from(["go", "go on", "walk", "change"])):
            case "go":
                queue.discard(present.pop(data.draw(st.sampled_from(sorted(present)))))
            case "walk":
                list(queue.walk(NOW - data.draw(st.integers(0, 1))))
            case "change":  # as when its size becomes known, or its time comes
                known = present[data.draw(st.sampled_from(sorted(present)))]
                queue.discard(known)
                changed = msgspec.structs.replace(known, size=known.size + 10**10, not_before=0)
                queue.add(changed)
                present[changed.id] = changed
    left = list(present.values())
    assert [place.task_id for place in queue.walk(NOW)] == [task.id for task in ready(left)]
    assert {demand: dict(group.heads) for demand, group in queue.groups.items()} == heads(ready(left))
    for task in left:
        queue.discard(task)
    assert (len(queue), queue.groups, queue.next_due()) == (0, {}, None)


def heads(tasks: list[Task]) -> dict[Demand, dict[Ticket, tuple[str, ...]]]:
    """The first of each line, by a plain look at all of them."""
    found: dict[Demand, dict[Ticket, tuple[str, ...]]] = {}
    seen = set()
    for place in (Place((t.turn, t.seq, t.id), demand_of(t), hosts(t)) for t in tasks):
        if (place.demand, place.origins) not in seen:
            seen.add((place.demand, place.origins))
            found.setdefault(place.demand, {})[place.ticket] = place.origins
    return found


def hosts(task: Task) -> tuple[str, ...]:
    return tuple(sorted(f"{url.split('/')[2]}:80" for url in task.spec.urls if url.startswith("http")))


WORDS = ("take", "take", "take", "leave", "give up")


@given(waiting(), st.lists(st.sampled_from(WORDS), max_size=40))
@settings(max_examples=200)
def test_only_those_are_passed_over_of_whom_it_was_said(tasks: list[Task], words: list[str]) -> None:
    """Beside the walk, a plain list from which everybody is struck who need not be met any more."""
    walk = queue_of(tasks).walk(NOW)
    said = iter(words)
    to_come = ready(tasks)
    for place in walk:
        task = to_come.pop(0)
        assert place.task_id == task.id
        match next(said, "take"):
            case "leave":
                walk.leave()
                to_come = [t for t in to_come if (demand_of(t), hosts(t)) != (place.demand, place.origins)]
            case "give up":
                walk.give_up(place.demand)
                to_come = [t for t in to_come if demand_of(t) != place.demand]
    assert to_come == []


@given(st.lists(st.tuples(st.sampled_from(Priority), st.integers(-AGE_MS, 2 * AGE_MS)), min_size=1, max_size=40))
def test_nobody_starves(arrivals: list[tuple[Priority, int]]) -> None:
    """Whoever came more than three steps of priority later is behind, however urgent; and so far as the clocks agree, whoever
    is as important and came later is behind, too."""
    table, now, latest = TaskTable(), 0, 0
    came: dict[str, tuple[Priority, int]] = {}
    for number, (priority, jump) in enumerate(arrivals):
        now = max(0, now + jump)  # the clocks of the nodes differ, so it may go back
        latest = max(latest, now)
        task = f"t{number}"
        came[task] = (priority, latest)
        submit = Submit(task, TaskSpec(urls=("http://one/f",), priority=priority))
        table.apply(Proposal(id=task, at=now, by="a", commands=(submit,)))
    order = [place.task_id for place in table.queue.walk(now)]
    place_of = {task: place for place, task in enumerate(order)}
    assert place_of.keys() == came.keys()
    for number, (task, (priority, at)) in enumerate(came.items()):
        for later, (its_priority, its_time) in list(came.items())[number + 1 :]:
            if its_time - at > (Priority.URGENT - Priority.LOW) * AGE_MS:
                assert place_of[task] < place_of[later], "it would wait for ever behind those who still come"
            if its_priority <= priority:
                assert place_of[task] < place_of[later]
            if its_priority > priority and its_time - at < AGE_MS:
                assert place_of[later] < place_of[task], "an urgent one overtakes"


class Counting(dict[Origins, Any]):
    """The lines of a group, that remember who was looked up."""

    def __init__(self, lines: dict[Origins, Any], opened: list[Origins]) -> None:
        super().__init__(lines)
        self._opened = opened

    def __getitem__(self, origins: Origins) -> Any:
        self._opened.append(origins)
        return super().__getitem__(origins)


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 50))
@settings(max_examples=50)
def test_a_walk_costs_what_it_visits(lines: int, groups: int, visits: int) -> None:
    """However many lines there are, only those are opened of which somebody was met."""
    tasks = []
    for number in range(lines * 2):
        spec = TaskSpec(urls=(f"http://host{number % lines}/f",), tags={"group": str(number % groups)})
        tasks.append(Task(id=f"{number}", spec=spec, seq=number, turn=number, created_at=0, updated_at=0))
    queue = queue_of(tasks)
    opened: list[Origins] = []
    for group in queue.groups.values():
        group.lines = Counting(group.lines, opened)
    walk = queue.walk(NOW)
    assert opened == [], "a walk that nobody goes costs nothing but the groups"
    places = [place for _, place in zip(range(visits), walk, strict=False)]
    assert len(opened) == len({(place.demand, place.origins) for place in places})
    assert len(walk._open) <= len(queue.groups) + 2 * len(places), "nobody else is kept in mind"
