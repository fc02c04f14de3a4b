"""The dispatcher's decision in small; tests/properties has it at large, tests/scenarios in words."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ariacluster.domain.commands import (
    Assign,
    Command,
    Configure,
    Drain,
    Fail,
    Measure,
    Move,
    Proposal,
    Register,
    Release,
    Start,
    Submit,
)
from ariacluster.domain.member import Member, NodeView, Progress, Report
from ariacluster.domain.policy import MIN_FREE, Policy, Strategy
from ariacluster.domain.scheduler import MAX_COMMANDS, decide, held_back
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FailureKind, Priority, TaskSpec, TaskState

ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=2)
BOB = Member(id="b", name="bob", address="192.0.2.2", port=8000, raft="192.0.2.2:8002", slots=2)
CAT = Member(id="c", name="cat", address="192.0.2.3", port=8000, raft="192.0.2.3:8002", slots=2)
GB = 10**9


def view(member: Member, silent_for: float | None = 0.1, *, online: bool = True, **said: Any) -> NodeView:
    report = Report(**{"node": member.id, "disk_free": 10**12, **said})
    return NodeView(member=member, report=report, silent_for=silent_for, online=online)


def table(*specs: TaskSpec) -> TaskTable:
    made = TaskTable()
    submits = (Submit(f"t{n}", spec) for n, spec in enumerate(specs))
    made.apply(Proposal(id="made", at=1, by="a", commands=(Register(ANN), Register(BOB), Register(CAT), *submits)))
    return made


def say(made: TaskTable, *commands: Command, at: int = 1) -> None:
    applied = made.apply(Proposal(id=f"say{len(made.recent)}", at=at, by="a", commands=commands))
    assert set(applied.outcomes) <= {None}


def settle(made: TaskTable, crew: Sequence[NodeView], at: int = 1) -> list[Command]:
    """Decisions until there is nothing more to decide."""
    said: list[Command] = []
    while commands := decide(made, crew, at, node_timeout=20):
        assert len(said) < 1000, "it never comes to rest"
        say(made, *commands, at=at)
        said += commands
    return said


def moves(said: Sequence[Command]) -> list[tuple[str, str]]:
    return [(one.task, one.node) for one in said if isinstance(one, Move)]


def drained(member: Member, until: int) -> Member:
    return msgspec.structs.replace(member, drain_until=until)


PLAIN = TaskSpec(urls=("http://one/f",))


def test_it_assigns_the_next_attempt_with_its_reason() -> None:
    assert decide(table(PLAIN), [view(ANN)], 1, node_timeout=20) == [
        Assign("t0", 1, "a", "ann: 2 of 2 slots free, 1.0 TB free")
    ]


def test_it_counts_what_it_gives_within_one_decision() -> None:
    given = decide(table(*[PLAIN] * 9), [view(ANN), view(BOB)], 1, node_timeout=20)
    assert [one.node for one in given if isinstance(one, Assign)] == ["a", "b", "a", "b", "a", "b", "a", "b"]


def test_a_line_that_is_stuck_holds_up_no_other() -> None:
    stuck = TaskSpec(urls=PLAIN.urls, tags={"gpu": "yes"}, priority=Priority.URGENT)
    assert [
        one.task
        for one in decide(table(stuck, stuck, PLAIN), [view(ANN)], 1, node_timeout=20)
        if isinstance(one, Assign)
    ] == ["t2"]


def test_what_lost_nodes_hold_is_taken_back_before_anything_is_given() -> None:
    made = table(PLAIN, PLAIN)
    made.apply(Proposal(id="given", at=1, by="a", commands=(Assign("t0", 1, "b", ""),)))
    release = Release("t0", 1, "Taken back: bob was not heard for 20 s.", silent=20_100)
    assign = Assign("t1", 1, "a", "ann: 2 of 2 slots free, 1.0 TB free")
    assert decide(made, [view(ANN), view(BOB, 20.1, online=False)], 1, node_timeout=20) == [release]
    assert decide(made, [view(ANN), view(BOB, 20.0, online=False)], 1, node_timeout=20) == [assign]


def test_what_is_taken_back_is_given_out_by_its_priority() -> None:
    """The node that is left has one place: the urgent task gets it, not the one that waited meanwhile."""
    urgent = TaskSpec(urls=PLAIN.urls, priority=Priority.URGENT)
    made = table(urgent, *[PLAIN] * 4)
    given = (Assign("t0", 1, "b", ""), *(Assign(f"t{n}", 1, "a", "") for n in (1, 2, 3)))
    made.apply(Proposal(id="given", at=1, by="a", commands=given))
    crew = [view(ANN), view(BOB, 30.0, online=False)]
    seen: list[tuple[type, str]] = []
    while commands := decide(made, crew, 1, node_timeout=20):
        made.apply(Proposal(id=f"step{len(seen)}", at=1, by="a", commands=tuple(commands)))
        seen += [(type(one), one.task) for one in commands if isinstance(one, Release | Assign)]
    assert seen == [(Release, "t0"), (Assign, "t0")]


def test_a_node_that_left_the_cluster_holds_nothing() -> None:
    made = table(PLAIN)
    made.apply(Proposal(id="given", at=1, by="a", commands=(Assign("t0", 1, "b", ""),)))
    assert decide(made, [], 1, node_timeout=20) == [Release("t0", 1, "Taken back: its node left the cluster.")]


def test_a_node_never_heard_keeps_its_tasks_and_gets_none() -> None:
    made = table(PLAIN, PLAIN)
    made.apply(Proposal(id="given", at=1, by="a", commands=(Assign("t0", 1, "b", ""),)))
    unheard = NodeView(member=BOB, report=None, silent_for=None, online=False)
    assert decide(made, [unheard], 1, node_timeout=20) == []


def test_a_timeout_shorter_than_offline_does_not_make_it_chase_its_tail() -> None:
    """Three seconds silent is still online, but lost for a timeout of two: given back, it must not be given again."""
    made = table(PLAIN)
    made.apply(Proposal(id="given", at=1, by="a", commands=(Assign("t0", 1, "a", ""),)))
    still_online = [view(ANN, 3.0)]
    for step, expected in enumerate((1, 0)):
        commands = decide(made, still_online, 1, node_timeout=2)
        assert len(commands) == expected
        made.apply(Proposal(id=f"step{step}", at=1, by="a", commands=tuple(commands)))


def test_it_never_says_more_than_fits() -> None:
    wide = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=500)
    made = table(*[PLAIN] * 200)
    assert len(decide(made, [view(wide)], 1, node_timeout=20)) == MAX_COMMANDS


# -- evacuation ---------------------------------------------------------------------------------------------------


def at_work(*names: str, size: int = 0) -> TaskTable:
    """Tasks t0 … that run on ann, and have bytes there."""
    made = table(*[PLAIN] * len(names))
    for n in range(len(names)):
        say(made, Assign(f"t{n}", 1, "a", ""), Start(f"t{n}", 1, size))
    return made


def doing(**tasks: tuple[int, int, int]) -> dict[str, Progress]:
    return {
        task: Progress(attempt=1, completed=done, total=total, speed=speed)
        for task, (done, total, speed) in tasks.items()
    }


@pytest.mark.parametrize(
    ("until", "progress", "moved"),
    [
        (2, {}, []),
        (1, {}, [("t0", "b")]),
        (0, {"t0": (49, 100, 10)}, [("t0", "b")]),
        (0, {"t0": (50, 100, 10)}, []),
        (0, {"t0": (100, 100, 0)}, []),
        (0, {"t0": (99, 100, 0)}, [("t0", "b")]),
        (0, {"t0": (99, 0, 10)}, [("t0", "b")]),
    ],
)
def test_a_drained_node_may_finish_until_its_deadline_and_what_is_nearly_done(
    until: int, progress: dict[str, tuple[int, int, int]], moved: list[tuple[str, str]]
) -> None:
    made = at_work("t0")
    say(made, Drain("a", until))
    crew = [view(made.members["a"], tasks=doing(**progress)), view(BOB)]
    assert moves(settle(made, crew)) == moved


def test_progress_of_an_attempt_that_is_over_says_nothing() -> None:
    made = at_work("t0")
    old = {"t0": Progress(attempt=0, completed=99, total=100, speed=10)}
    assert moves(settle(made, [view(drained(ANN, 0), tasks=old), view(BOB)])) == [("t0", "b")]


def test_bytes_go_along_only_if_they_can_be_had() -> None:
    made = at_work("t0")
    assert made.tasks["t0"].bytes_on == "a"
    [move] = settle(made, [view(drained(ANN, 0)), view(BOB)])
    assert isinstance(move, Move)
    assert (move.fetch, move.idle, move.attempt) == (True, False, 2)
    assert move.reason == "bob: 2 of 2 slots free, 1.0 TB free; ann is being drained"
    assert made.tasks["t0"].holder == "a"
    # Drained in turn while ann, which has the bytes, is silent: they are not given up before ann is.
    crew = [view(ANN, 9.0, online=False), view(drained(BOB, 0)), view(CAT)]
    assert settle(made, crew) == []
    crew[0] = view(ANN, 21.0, online=False)
    [move] = settle(made, crew)
    assert isinstance(move, Move)
    assert (move.node, move.fetch) == ("c", False)
    assert made.tasks["t0"].bytes_on is None


def test_a_pending_task_waits_for_its_bytes_while_their_node_may_return() -> None:
    made = at_work("t0")
    say(made, Fail("t0", 1, FailureKind.NODE, 9, "Full.", 0.5))
    crew = [view(ANN, 9.0, online=False), view(BOB)]
    assert settle(made, crew, at=5_000) == []
    crew[0] = view(ANN, trouble="The disk is full.")
    [assign] = settle(made, crew, at=5_000)
    assert isinstance(assign, Assign)
    assert (assign.node, assign.fetch) == ("b", True)


def test_a_full_disk_is_eased_of_what_needs_most_and_of_no_more() -> None:
    made = table(*[PLAIN] * 4)
    for n, size in enumerate((6, 9, 3, 0)):
        say(made, Assign(f"t{n}", 1, "a", ""), Start(f"t{n}", 1, size * GB))
    progress = doing(t0=(4 * GB, 0, 1), t1=(2 * GB, 0, 1), t2=(3 * GB, 0, 1))
    crew = [view(ANN, disk_free=3 * GB, pressed=True, tasks=progress), view(BOB)]
    assert moves(settle(made, crew)) == [("t1", "b")], "2 GB to come and 2 GB that may be used"
    crew[0] = view(ANN, disk_free=3 * GB - 1, pressed=True, tasks=progress)
    assert moves(settle(made, crew)) == [("t0", "b")]
    crew[0] = view(ANN, disk_free=MIN_FREE - 1, pressed=True, tasks=progress)
    assert moves(settle(made, crew)) == [("t3", "b")], "nobody knows how much is to come; what is whole stays"


def test_lasting_trouble_sends_everything_away_and_passing_trouble_nothing() -> None:
    made = at_work("t0", "t1")
    assert settle(made, [view(ANN, trouble="aria2 is gone."), view(BOB)]) == []
    assert settle(made, [view(ANN, trouble="aria2 is gone.", pressed=True)]) == [], "to whom?"
    said = settle(made, [view(ANN, trouble="aria2 is gone.", pressed=True), view(BOB)])
    assert moves(said) == [("t0", "b"), ("t1", "b")]
    assert isinstance(said[0], Move)
    assert said[0].reason.endswith("; ann: aria2 is gone")


# -- origins ------------------------------------------------------------------------------------------------------

OTHER = TaskSpec(urls=("http://two/f",))
SPLIT = TaskSpec(urls=("http://one/f",), options={"split": "4"})


def test_connections_are_granted_as_long_as_there_are_any() -> None:
    made = table(SPLIT, SPLIT, SPLIT, OTHER)
    say(made, Configure(Policy(origin_limits={"one": 6})))
    said = settle(made, [view(ANN), view(BOB)])
    granted = [(one.task, one.connections) for one in said if isinstance(one, Assign)]
    assert granted == [("t0", 4), ("t1", 2), ("t3", 0)]
    assert held_back(made, made.tasks["t2"], 1).startswith("one:80 is used with as many connections as it may be, 6")
    assert held_back(made, made.tasks["t3"], 1) == ""


def test_what_was_granted_goes_along() -> None:
    made = table(SPLIT, SPLIT)
    say(made, Configure(Policy(origin_limits={"one": 6})))
    settle(made, [view(ANN)])
    said = settle(made, [view(drained(ANN, 0)), view(BOB)])
    assert [one.connections for one in said if isinstance(one, Move)] == [4, 2]
    assert made.connections_to("one:80") == 6


def test_an_origin_on_hold_is_left_alone_and_its_idle_tasks_make_room() -> None:
    made = table(PLAIN, PLAIN, OTHER, PLAIN)
    for n in range(3):
        say(made, Assign(f"t{n}", 1, "a", ""))
    say(made, Start("t0", 1), Fail("t0", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 60_000))
    assert settle(made, [view(ANN)]) == [Release("t1", 1, "Taken back: one:80 asked for fewer requests.", idle=True)]
    assert (made.tasks["t1"].tries, made.tasks["t1"].failures) == (0, ()), "nobody has done anything wrong"
    assert {task: row.state for task, row in made.tasks.items()} == {
        "t0": TaskState.PENDING,
        "t1": TaskState.PENDING,
        "t2": TaskState.QUEUED,
        "t3": TaskState.PENDING,
    }
    assert held_back(made, made.tasks["t3"], 2) == (
        "one:80 asked for fewer requests: all nodes leave it alone for another 60 s."
    )
    assert settle(made, [view(ANN)], at=60_000) == []
    assert [type(one) for one in settle(made, [view(ANN)], at=60_001)] == [Assign] * 3


def test_for_a_short_hold_nothing_is_taken_back() -> None:
    made = table(PLAIN, PLAIN)
    say(made, Assign("t0", 1, "a", ""), Assign("t1", 1, "a", ""))
    say(made, Fail("t0", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 10_000))
    assert settle(made, [view(ANN)]) == []


def test_nothing_is_taken_back_from_a_node_that_is_silent_for_a_moment() -> None:
    """It may have begun it meanwhile."""
    made = table(PLAIN, PLAIN)
    say(made, Assign("t0", 1, "a", ""), Assign("t1", 1, "b", ""))
    say(made, Fail("t0", 1, FailureKind.THROTTLED, 29, "Busy.", 0.5, 60_000))
    assert settle(made, [view(ANN), view(BOB, 9.0, online=False)]) == []


# -- balance ------------------------------------------------------------------------------------------------------


def queued_on_ann(*specs: TaskSpec) -> TaskTable:
    made = table(*specs)
    for n in range(len(specs)):
        say(made, Assign(f"t{n}", 1, "a", ""))
    return made


@pytest.mark.parametrize(
    ("pace", "moved"), [(0, ["t3", "t2"]), (0.9, ["t3", "t2"]), (1, ["t3"]), (2, []), (float("nan"), ["t3", "t2"])]
)
def test_what_waits_goes_to_free_slots_unless_it_begins_soon(pace: float, moved: list[str]) -> None:
    made = queued_on_ann(*[PLAIN] * 4)
    said = settle(made, [view(ANN, pace=pace), view(BOB)])
    assert moves(said) == [(task, "b") for task in moved]
    assert all(isinstance(one, Move) and one.idle for one in said)


def test_nothing_goes_where_it_would_wait_too() -> None:
    made = queued_on_ann(*[PLAIN] * 6)
    assert len(moves(settle(made, [view(ANN), view(BOB)]))) == 2


def test_what_has_begun_stays() -> None:
    made = queued_on_ann(*[PLAIN] * 4)
    say(made, *(Start(f"t{n}", 1) for n in range(4)))
    assert settle(made, [view(ANN), view(BOB)]) == []


def test_balancing_never_goes_against_what_a_task_would_like() -> None:
    likes = TaskSpec(urls=PLAIN.urls, prefer_tags={"gpu": "yes"})
    gpu = msgspec.structs.replace(ANN, tags={"gpu": "yes"})
    pinned = TaskSpec(urls=PLAIN.urls, node="ann")
    bound = TaskSpec(urls=PLAIN.urls, tags={"gpu": "yes"})
    for spec in (likes, pinned, bound):
        assert settle(queued_on_ann(*[spec] * 4), [view(gpu), view(BOB)]) == []
    better = msgspec.structs.replace(BOB, tags={"gpu": "yes"})
    assert len(moves(settle(queued_on_ann(*[likes] * 4), [view(ANN), view(better)]))) == 2


def test_what_has_bytes_is_not_balanced() -> None:
    made = at_work("t0", "t1", "t2", "t3")
    say(made, *(Fail(f"t{n}", 1, FailureKind.ORIGIN, 1, "Gone.", 0.5) for n in range(4)))
    say(made, *(Assign(f"t{n}", 2, "a", "", fetch=True) for n in range(4)))
    assert settle(made, [view(ANN), view(BOB)]) == []


def sized(*sizes: int, on_ann: int) -> TaskTable:
    """Tasks of so many bytes: the first `on_ann` are given to ann, the rest to bob; each runs two of them."""
    made = table(*[PLAIN] * len(sizes))
    for n, size in enumerate(sizes):
        say(made, Measure(f"t{n}", size), Assign(f"t{n}", 1, "a" if n < on_ann else "b", ""))
    for node in "ab":
        say(made, *(Start(task.id, 1, task.size) for task in list(made.assigned_to(node))[:2]))
    return made


QUICK = [view(member, peak_speed=10**9) for member in (ANN, BOB)]


def test_the_last_tasks_go_to_the_queue_that_ends_sooner() -> None:
    made = sized(9 * GB, 9 * GB, 5 * GB, 1 * GB, 1 * GB, on_ann=3)
    assert moves(settle(made, QUICK)) == [("t2", "b")]


def test_as_long_as_others_are_pending_queues_are_left_alone() -> None:
    made = sized(9 * GB, 9 * GB, 5 * GB, 1 * GB, 1 * GB, on_ann=3)
    say(made, Submit("later", TaskSpec(urls=PLAIN.urls, tags={"gpu": "yes"})))
    assert settle(made, QUICK) == []


def test_what_has_no_known_size_goes_to_free_slots_only() -> None:
    made = sized(9 * GB, 9 * GB, 0, 1 * GB, 1 * GB, on_ann=3)
    assert settle(made, QUICK) == []


def test_nothing_waits_longer_so_that_others_end_sooner() -> None:
    made = sized(90 * GB, 90 * GB, 2 * GB, 2 * GB, 2 * GB, 2 * GB, on_ann=3)
    assert settle(made, QUICK) == []


def test_nothing_moves_for_a_moment_only() -> None:
    made = sized(9 * GB, 9 * GB, 5 * GB, 9 * GB, 9 * GB - 10**6, on_ann=3)
    assert settle(made, QUICK) == []


def test_a_free_slot_on_a_link_with_more_to_carry_is_no_help() -> None:
    made = sized(2 * GB, 2 * GB, 2 * GB, 9 * GB, on_ann=3)
    assert moves(settle(made, QUICK)) == [("t2", "b")], "a small one is soon through"
    made = sized(1 * GB, 1 * GB, 5 * GB, 9 * GB, on_ann=3)
    assert settle(made, QUICK) == []


def test_but_nothing_waits_long_beside_a_free_slot() -> None:
    """How full the link is was only guessed."""
    made = sized(10 * GB, 10 * GB, 50 * GB, 90 * GB, on_ann=3)
    assert moves(settle(made, QUICK)) == [("t2", "b")]


# -- room ---------------------------------------------------------------------------------------------------------


def test_a_task_that_does_not_fit_holds_up_no_smaller_one() -> None:
    made = table(*[PLAIN] * 4)
    for n, size in enumerate((10.5, 9.5, 0.01, 0)):
        say(made, Measure(f"t{n}", int(size * GB)))
    said = settle(made, [view(ANN, disk_free=MIN_FREE + 10 * GB)])
    assert [one.task for one in said if isinstance(one, Assign)] == ["t1", "t2", "t3"]


def test_a_task_whose_bytes_are_there_is_not_held_up_by_one_that_does_not_fit() -> None:
    made = table(PLAIN, PLAIN)
    say(made, Assign("t1", 1, "a", ""), Start("t1", 1, 10 * GB))
    say(made, Fail("t1", 1, FailureKind.ORIGIN, 1, "Gone.", 0.5), Measure("t0", 10 * GB))
    [assign] = settle(made, [view(ANN, disk_free=2 * GB)], at=10_000)
    assert isinstance(assign, Assign)
    assert (assign.task, assign.fetch) == ("t1", False)


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_fills_all_slots_before_it_lets_anything_wait(strategy: Strategy) -> None:
    made = table(*[PLAIN] * 6)
    say(made, Configure(Policy(strategy=strategy)))
    settle(made, [view(ANN), view(BOB), view(CAT)])
    assert [made.load_of(node) for node in "abc"] == [2, 2, 2]


def test_a_crowd_whose_hour_has_come_is_let_in_by_and_by_and_nobody_is_forgotten() -> None:
    wide = msgspec.structs.replace(ANN, slots=3_000)
    made = table(*[TaskSpec(urls=PLAIN.urls, not_before=10)] * 2_500)
    assert settle(made, [view(wide)], at=9) == []
    assert len(decide(made, [view(wide)], 10, node_timeout=20)) == MAX_COMMANDS
    assert made.queue.next_due() == 10, "the rest is let in by the next look"
    for step in range(60):
        say(made, *decide(made, [view(wide)], 10, node_timeout=20), at=10 + step)
    assert made.load_of("a") == 2_500
