"""The dispatcher's decision in small; tests/properties has it at large, tests/scenarios in words."""

from ariacluster.domain.commands import Assign, Proposal, Register, Release, Submit
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.scheduler import MAX_COMMANDS, decide
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Priority, TaskSpec

ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=2)
BOB = Member(id="b", name="bob", address="192.0.2.2", port=8000, raft="192.0.2.2:8002", slots=2)


def view(member: Member, silent_for: float | None = 0.1, *, online: bool = True) -> NodeView:
    return NodeView(
        member=member, report=Report(node=member.id, disk_free=10**12), silent_for=silent_for, online=online
    )


def table(*specs: TaskSpec) -> TaskTable:
    made = TaskTable()
    submits = (Submit(f"t{n}", spec) for n, spec in enumerate(specs))
    made.apply(Proposal(id="made", at=1, by="a", commands=(Register(ANN), Register(BOB), *submits)))
    return made


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
    release = Release("t0", 1, "Taken back: bob was not heard for 20 s.")
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
