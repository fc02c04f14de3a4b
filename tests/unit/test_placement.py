"""Which node, why, and why none."""

import math

import msgspec
import pytest

from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import (
    AHEAD,
    MAX_AHEAD,
    Candidate,
    candidate,
    choose,
    explain,
    human,
    misgivings,
    span,
)
from ariacluster.domain.policy import MIN_FREE, Policy, Strategy
from ariacluster.domain.task import Failure, FailureKind, Task, TaskSpec

NOW = 1_000_000
PLAIN = Policy()


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
    cpu: float = 0.0,
    speed: int = 0,
    fastest: int = 0,
    pace: float = 0.0,
    coming: int = 0,
    unsized: int | None = None,
    given: int = 0,
    drain_until: int | None = None,
    witness: bool = False,
    pressed: bool = False,
    policy: Policy = PLAIN,
) -> Candidate:
    member = Member(
        id=id,
        name=f"name-{id}",
        address="192.0.2.1",
        port=8000,
        raft="192.0.2.1:8002",
        slots=slots,
        tags=tags or {},
        drain_until=drain_until,
        witness=witness,
    )
    report = Report(
        node=id, disk_free=disk_free, trouble=trouble, cpu=cpu, peak_speed=speed, pace=pace, pressed=pressed
    )  # fmt: skip
    view = NodeView(member=member, report=report if heard else None, silent_for=0.1 if heard else None, online=online)
    known = {"load": load, "coming": coming, "given": given, "unsized": load if unsized is None else unsized}
    return candidate(view, policy=policy, fastest=fastest or speed, **known)


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
    size: int = 0,
    bytes_on: str | None = None,
    begin: int = 0,
    id: str = "t",
) -> Task:
    spec = TaskSpec(urls=("http://one/f",), tags=tags or {}, prefer_tags=prefer or {}, node=pin, not_before=begin)
    failures = tuple(Failure(attempt=1, node=id, at=0, kind=kind) for id in failed_on)
    return Task(
        id=id,
        spec=spec,
        seq=1,
        size=size,
        bytes_on=bytes_on,
        node=last,
        attempt=1 if last else 0,
        failures=failures,
        not_before=not_before,
        reason=reason,
        created_at=0,
        updated_at=0,
    )


GPU = {"gpu": "yes"}
GB = 10**9


@pytest.mark.parametrize(
    ("what", "wanted", "crew", "chosen"),
    [
        ("nobody there", task(), [], None),
        ("the least loaded", task(), [node("a", 1), node("b", 0)], "b"),
        ("the least loaded by share", task(), [node("a", 1, slots=2), node("b", 2, slots=8)], "b"),
        ("the one with fewer bytes to go", task(size=GB), [node("a", 1, unsized=0, coming=9 * GB), node("b", 1)], "b"),
        (
            "however few they are",
            task(size=GB),
            [node("a", 0, coming=GB), node("b", 1, unsized=0, coming=GB // 2)],
            "b",
        ),
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
        ("disk full", task(), [node("a", disk_free=MIN_FREE - 1), node("b", 1)], "b"),
        ("without slots", task(), [node("a", slots=0), node("b", 1)], "b"),
        ("the node was at fault", task(last="a", failed_on="a", kind=FailureKind.NODE), [node("a"), node("b", 3)], "b"),
        ("the origin was, once", task(last="a", failed_on="a"), [node("a", 1), node("b")], "a"),
        ("the origin was, twice", task(last="a", failed_on="aa"), [node("a"), node("b", 3)], "b"),
        (
            "not for a throttle",
            task(last="a", failed_on="aa", kind=FailureKind.THROTTLED),
            [node("a"), node("b", 1)],
            "a",
        ),
        ("where its bytes are", task(last="b", bytes_on="a"), [node("a", 1), node("b")], "a"),
        ("the faster one", task(), [node("a", speed=10, fastest=40), node("b", speed=40)], "b"),
        ("the slower one has more left", task(), [node("a", speed=20, fastest=40), node("b", 1, speed=40)], "a"),
        ("never slower than a tenth", task(), [node("a", slots=20, speed=1, fastest=99), node("b", 19, slots=20)], "a"),
        ("a new one counts as the fastest", task(), [node("a"), node("b", speed=39, fastest=40)], "a"),
        ("not the one that is busy", task(), [node("a", cpu=91), node("b")], "b"),
        ("but for half of it", task(), [node("a", cpu=91, slots=6), node("b")], "a"),
        ("the larger disk", task(), [node("a"), node("b", disk_free=10**12)], "b"),
        ("not the hardly larger one", task(), [node("a"), node("b", disk_free=10**11 + 1)], "a"),
        ("drained", task(), [node("a", drain_until=0), node("b", 1)], "b"),
        ("almost full", task(), [node("a", pressed=True), node("b", 1)], "b"),
        ("a witness", task(), [node("a", witness=True), node("b", 1)], "b"),
        ("too large", task(size=99 * GB), [node("a"), node("b", 1, disk_free=10**12)], "b"),
        ("too large for all", task(size=100 * GB), [node("a"), node("b")], None),
        ("it fits", task(size=95 * GB), [node("a")], "a"),
        ("promised to others", task(size=95 * GB), [node("a", coming=10 * GB), node("b", 1)], "b"),
        ("more is to stay free", task(), [node("a", policy=Policy(min_free=10**12)), node("b", 1)], "b"),
        ("large, and begun there", task(size=10**12, bytes_on="a"), [node("a"), node("b", disk_free=10**13)], "a"),
        ("as many as its pace allows", task(), [node("a", 2 + AHEAD + 9, pace=5)], "a"),
        ("and no more", task(), [node("a", 2 + AHEAD + 10, pace=5)], None),
        ("however quick it is", task(), [node("a", 2 + MAX_AHEAD, pace=1e9)], None),
        ("a pace that is none", task(), [node("a", 1 + AHEAD, pace=math.nan)], "a"),
        ("nor this", task(), [node("a", 2 + AHEAD, pace=math.nan)], None),
        ("nor this one", task(), [node("a", 2 + MAX_AHEAD, pace=math.inf)], None),
        ("nor that", task(), [node("a", 1 + AHEAD, pace=-9)], "a"),
        ("at fault, but alone", task(failed_on="aaaa", kind=FailureKind.NODE), [node("a")], "a"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_choose(what: str, wanted: Task, crew: list[Candidate], chosen: str | None) -> None:
    for order in (crew, crew[::-1]):
        choice = choose(wanted, order)
        assert (choice and choice.node) == chosen


def test_in_turn() -> None:
    crew = [node("a", 1, given=7), node("b", given=8), node("c", 2, given=0)]
    assert picks(task(), crew, Strategy.ROUND_ROBIN) == "a", "given one longest ago, of those that have a slot free"
    assert picks(task(), [node("a", 2, given=2), node("b", 3, given=1)], Strategy.ROUND_ROBIN) == "b"
    assert crew[0].taken(task(), 9).given == 9


def test_by_lot_everybody_gets_a_share_and_everybody_sees_the_same() -> None:
    crew = [node(id) for id in "abcd"]
    drawn = [picks(task(id=f"t{n}"), crew, Strategy.RANDOM) for n in range(400)]
    assert all(60 <= drawn.count(id) <= 140 for id in "abcd")
    assert drawn == [picks(task(id=f"t{n}"), crew[::-1], Strategy.RANDOM) for n in range(400)]
    again = [picks(task(id=f"t{n}", last="a"), crew, Strategy.RANDOM) for n in range(400)]
    assert again != drawn, "the next attempt is another throw"


def test_by_lot_a_free_slot_comes_first() -> None:
    crew = [node("a", 2), node("b", 3), node("c", 1)]
    assert {picks(task(id=f"t{n}"), crew, Strategy.RANDOM) for n in range(50)} == {"c"}


@pytest.mark.parametrize("strategy", Strategy)
def test_tags_come_first_by_any_strategy(strategy: Strategy) -> None:
    crew = [node("a"), node("b", 3, tags=GPU, given=99)]
    assert picks(task(prefer=GPU), crew, strategy) == "b"
    assert picks(task(tags=GPU), crew, strategy) == "b"
    assert picks(task(tags={"gpu": "no"}), crew, strategy) is None


def test_nobody_has_the_tags_that_it_prefers() -> None:
    crew = [node("a", 1), node("b")]
    choice = choose(task(prefer=GPU), crew, Strategy.TAGS)
    assert choice
    assert choice == ("b", "name-b: 2 of 2 slots free, 100 GB free, no node has the tags that it prefers")


def picks(wanted: Task, crew: list[Candidate], strategy: Strategy) -> str | None:
    choice = choose(wanted, crew, strategy)
    return choice and choice.node


def test_what_is_taken_counts() -> None:
    one = node("a", 1, given=3)
    more = one.taken(task(size=40 * GB), 4)
    assert (more.load, more.free, more.given) == (2, one.free - 40 * GB, 4)
    assert more.holds(task(size=55 * GB))
    assert not more.holds(task(size=60 * GB))


def test_a_disk_that_is_promised_away_holds_only_what_has_no_size() -> None:
    over = node("a", coming=200 * GB)
    assert over.free < 0
    assert over.holds(task())
    assert not over.holds(task(size=1))


def test_failures_speak_against_a_node() -> None:
    lost = Failure(attempt=1, node="a", at=0, kind=FailureKind.LOST, ran=5_000)
    gone = Failure(attempt=1, node="a", at=0, kind=FailureKind.LOST)
    wanted = task(prefer=GPU)
    for failures, worse in [((lost,), 1), ((gone,), 0), ((gone, gone), 1), ((lost, lost), 3)]:
        assert misgivings(msgspec.structs.replace(wanted, failures=failures), node("a")) == (worse, 1)
        assert misgivings(msgspec.structs.replace(wanted, failures=failures), node("b", tags=GPU)) == (0, 0)


@pytest.mark.parametrize(
    ("wanted", "there", "reason"),
    [
        (task(), node("a"), "name-a: 2 of 2 slots free, 100 GB free"),
        (task(), node("a", 1), "name-a: 1 of 2 slots free, 100 GB free"),
        (task(), node("a", 3), "name-a: next in its queue, 100 GB free"),
        (task(last="a"), node("a"), "name-a: 2 of 2 slots free, tried here before, 100 GB free"),
        (task(last="b", bytes_on="a"), node("a"), "name-a: 2 of 2 slots free, has a part of it, 100 GB free"),
        (
            task(size=GB),
            node("a", 2, slots=5, speed=41_000_000, disk_free=1_200_000_000_000),
            "name-a: 3 of 5 slots free, 41.0 MB/s lately, 1.2 TB free",
        ),
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
        (task(not_before=NOW + 5_400, reason="It broke.", last="a"), [node("a")], "It broke. Next try in 5 s."),
        (task(not_before=NOW + 1, last="a"), [node("a")], "Next try in 1 s."),
        (task(not_before=NOW), [node("a")], "Waiting for the dispatcher."),
        (task(tags=GPU), [node("a")], "No online node has tag gpu=yes."),
        (task(tags=GPU | {"disk": "ssd"}), [node("a", tags=GPU)], "No online node has tags disk=ssd and gpu=yes."),
        (task(pin="a"), [], "No node is in the cluster yet."),
        (task(not_before=NOW + 1), [node("a")], "Its server is asked how large it is."),
        (task(not_before=NOW + 90_000, begin=NOW + 90_000), [node("a")], "It begins in 90 s."),
        (task(not_before=NOW + 90_000, begin=NOW + 90_000, last="a"), [node("a")], "It begins in 90 s."),
        (task(not_before=NOW + 90_000, begin=NOW + 50_000, last="a"), [node("a")], "Next try in 90 s."),
        (
            task(size=2 * 10**11),
            [node("a"), node("b", coming=40 * GB), node("c", online=False), node("d", coming=10**12)],
            "No node has room for its 200 GB: name-a has 99.0 GB to spare; name-b has 59.0 GB to spare;"
            " name-d has 0 B to spare.",
        ),
        (task(), [node("a", pressed=True)], "No node can take it: name-a has only 100 GB free."),
        (task(), [node("a", drain_until=5)], "No node can take it: name-a is being drained."),
        (
            task(bytes_on="b", last="b"),
            [node("a"), node("b", online=False)],
            "What was fetched so far is on name-b, which is offline. It is given a moment to come back.",
        ),
        (task(bytes_on="b", last="b"), [node("a"), node("b")], "Waiting for the dispatcher."),
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


def test_what_holds_the_origin_back_is_told_after_what_holds_the_task_back() -> None:
    assert explain(task(), [node("a")], NOW, held="It is held.") == "It is held."
    assert explain(task(), [node("a", 9)], NOW, held="It is held.") == "It is held."
    assert explain(task(tags=GPU), [node("a")], NOW, held="It is held.") == "No online node has tag gpu=yes."
    assert explain(task(), [node("a", 9)], NOW) == "Every node that could take it is busy."


@pytest.mark.parametrize(
    ("ms", "text"),
    [(1, "1 s"), (1_499, "1 s"), (119_000, "119 s"), (120_000, "2 min"), (3_600_000, "60 min"), (7_200_000, "2 h"),
     (100_000_000, "28 h"), (172_800_000, "2 d"), (10**10, "116 d")],
)  # fmt: skip
def test_span(ms: int, text: str) -> None:
    assert span(ms) == text


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
