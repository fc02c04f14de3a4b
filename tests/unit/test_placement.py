"""Which node, why, and why none."""

import pytest

from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import AHEAD, MIN_DISK_FREE, Candidate, choose, explain, human
from ariacluster.domain.task import Failure, FailureKind, Task, TaskSpec

NOW = 1_000_000


def node(
    id: str,
    load: int = 0,
    *,
    slots: int = 2,
    tags: dict[str, str] | None = None,
    disk_free: int = 10**11,
    trouble: str = "",
    online: bool = True,
    heard: bool = True,
) -> Candidate:
    member = Member(
        id=id, name=f"name-{id}", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=slots, tags=tags or {}
    )
    report = Report(node=id, disk_free=disk_free, trouble=trouble) if heard else None
    return Candidate(NodeView(member=member, report=report, silent_for=0.1 if heard else None, online=online), load)


def task(
    *,
    tags: dict[str, str] | None = None,
    prefer: dict[str, str] | None = None,
    pin: str | None = None,
    last: str | None = None,
    failed_on: str = "",
    kind: FailureKind = FailureKind.ORIGIN,
    not_before: int = 0,
    reason: str = "",
) -> Task:
    spec = TaskSpec(urls=("http://one/f",), tags=tags or {}, prefer_tags=prefer or {}, node=pin)
    failures = tuple(Failure(attempt=1, node=id, at=0, kind=kind) for id in failed_on)
    return Task(
        id="t",
        spec=spec,
        seq=1,
        node=last,
        attempt=1 if last else 0,
        failures=failures,
        not_before=not_before,
        reason=reason,
        created_at=0,
        updated_at=0,
    )


GPU = {"gpu": "yes"}


@pytest.mark.parametrize(
    ("what", "wanted", "crew", "chosen"),
    [
        ("nobody there", task(), [], None),
        ("the least loaded", task(), [node("a", 1), node("b", 0)], "b"),
        ("the least loaded by share", task(), [node("a", 1, slots=2), node("b", 2, slots=8)], "b"),
        ("by id where all is equal", task(), [node("b"), node("a")], "a"),
        ("a free slot before a queue", task(last="a"), [node("a", 2), node("b", 1)], "b"),
        ("where its bytes are", task(last="b"), [node("a"), node("b", 1)], "b"),
        ("a required tag", task(tags=GPU), [node("a"), node("b", 1, tags=GPU)], "b"),
        ("no required tag", task(tags=GPU), [node("a"), node("b", tags={"gpu": "no"})], None),
        ("a preferred tag", task(prefer=GPU), [node("a"), node("b", 3, tags=GPU)], "b"),
        ("no preferred tag", task(prefer=GPU), [node("a", 1), node("b")], "b"),
        ("pinned by id", task(pin="b"), [node("a"), node("b", 3)], "b"),
        ("pinned by name", task(pin="name-b"), [node("a"), node("b", 3)], "b"),
        ("pinned, but full", task(pin="b"), [node("a"), node("b", 2 + AHEAD)], None),
        ("all full", task(), [node("a", 2 + AHEAD), node("b", 9)], None),
        ("offline", task(), [node("a", online=False), node("b", 1)], "b"),
        ("unheard", task(), [node("a", heard=False), node("b", 1)], "b"),
        ("in trouble", task(), [node("a", trouble="no folder"), node("b", 1)], "b"),
        ("disk full", task(), [node("a", disk_free=MIN_DISK_FREE - 1), node("b", 1)], "b"),
        ("without slots", task(), [node("a", slots=0), node("b", 1)], "b"),
        ("the node was at fault", task(last="a", failed_on="a", kind=FailureKind.NODE), [node("a"), node("b", 3)], "b"),
        ("the origin was, once", task(last="a", failed_on="a"), [node("a", 1), node("b")], "a"),
        ("the origin was, twice", task(last="a", failed_on="aa"), [node("a"), node("b", 3)], "b"),
        ("at fault, but alone", task(failed_on="aaaa", kind=FailureKind.NODE), [node("a")], "a"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_choose(what: str, wanted: Task, crew: list[Candidate], chosen: str | None) -> None:
    for order in (crew, crew[::-1]):
        choice = choose(wanted, order)
        assert (choice and choice.node) == chosen


@pytest.mark.parametrize(
    ("wanted", "there", "reason"),
    [
        (task(), node("a"), "name-a: 2 of 2 slots free, 100 GB free"),
        (task(), node("a", 1), "name-a: 1 of 2 slots free, 100 GB free"),
        (task(), node("a", 3), "name-a: next in its queue, 100 GB free"),
        (task(last="a"), node("a"), "name-a: 2 of 2 slots free, tried here before, 100 GB free"),
        (
            task(tags=GPU, prefer={"disk": "ssd", "site": "attic"}),
            node("a", tags=GPU | {"disk": "ssd", "os": "linux"}),
            "name-a: 2 of 2 slots free, 100 GB free, has disk=ssd, gpu=yes",
        ),
    ],
)
def test_a_choice_says_why(wanted: Task, there: Candidate, reason: str) -> None:
    choice = choose(wanted, [there])
    assert choice
    assert choice.reason == reason


@pytest.mark.parametrize(
    ("wanted", "crew", "sentence"),
    [
        (task(), [], "No node is in the cluster yet."),
        (task(), [node("a")], "Waiting for the dispatcher."),
        (task(not_before=NOW + 5_400, reason="It broke."), [node("a")], "It broke. Next try in 5 s."),
        (task(not_before=NOW + 1), [node("a")], "Next try in 1 s."),
        (task(not_before=NOW), [node("a")], "Waiting for the dispatcher."),
        (task(tags=GPU), [node("a")], "No node has gpu=yes."),
        (task(tags=GPU | {"disk": "ssd"}), [node("a", tags=GPU)], "No node has disk=ssd and gpu=yes."),
        (
            task(pin="z"),
            [node("a")],
            "The node it is pinned to, z, is not in the cluster or lacks a tag that it needs.",
        ),
        (
            task(pin="a", tags=GPU),
            [node("a")],
            "The node it is pinned to, a, is not in the cluster or lacks a tag that it needs.",
        ),
        (
            task(),
            [
                node("a", online=False),
                node("b", trouble="the folder is gone"),
                node("c", disk_free=0),
                node("d", slots=0),
            ],
            "No node can take it: name-a is offline; name-b takes no tasks: the folder is gone; name-c has only 0 B free;"
            " name-d has no slots.",
        ),
        (task(tags=GPU), [node("a"), node("b", tags=GPU, online=False)], "No node can take it: name-b is offline."),
        (task(), [node("a", 4), node("b", online=False)], "Every node that could take it is busy."),
    ],
)
def test_explain(wanted: Task, crew: list[Candidate], sentence: str) -> None:
    assert explain(wanted, crew, NOW) == sentence


@pytest.mark.parametrize("crew", [[], [node("a")], [node("a", 4)], [node("a", online=False)], [node("a", 1, tags=GPU)]])
@pytest.mark.parametrize("wanted", [task(), task(tags=GPU), task(pin="a"), task(pin="z"), task(prefer=GPU)])
def test_a_task_waits_for_the_dispatcher_only_if_there_is_a_choice(wanted: Task, crew: list[Candidate]) -> None:
    assert (explain(wanted, crew, NOW) == "Waiting for the dispatcher.") == (choose(wanted, crew) is not None)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (1_500_000, "1.5 MB"), (250_000_000, "250 MB"), (2e12, "2.0 TB")],
)
def test_human(size: float, text: str) -> None:
    assert human(size) == text
