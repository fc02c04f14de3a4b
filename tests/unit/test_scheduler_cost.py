"""What a decision costs, in rows looked at and nodes compared: what it hands out, and nothing of what waits."""

from collections.abc import Sequence

import msgspec
import pytest

from ariacluster.domain import scheduler
from ariacluster.domain.commands import Command, Configure, Measure, Proposal, Register, Submit
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import Candidate, Choice, choose
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.domain.scheduler import decide
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Task, TaskSpec

ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002")
PLAIN = TaskSpec(urls=("http://one/f",))


def view(member: Member) -> NodeView:
    return NodeView(member=member, report=Report(node=member.id, disk_free=10**12), silent_for=0.1, online=True)


def say(made: TaskTable, *commands: Command) -> None:
    assert set(made.apply(Proposal(id=f"say{len(made.recent)}", at=1, by="a", commands=commands)).outcomes) <= {None}


class Counted(dict[str, Task]):
    """Counts how many rows are looked at."""

    looks = 0

    def __getitem__(self, key: str) -> Task:
        self.looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("slots", [0, 1, 5])
def test_a_decision_looks_at_what_it_hands_out_and_not_at_what_waits(
    slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = [msgspec.structs.replace(ANN, id=f"n{n}", name=f"node{n}", slots=slots if n % 2 else 0) for n in range(32)]
    kinds = [
        PLAIN,
        TaskSpec(urls=("http://busy/f",)),
        TaskSpec(urls=PLAIN.urls, tags={"gpu": "yes"}),
        TaskSpec(urls=PLAIN.urls, node="n1"),
    ]
    made = TaskTable()
    say(made, *map(Register, crew), Configure(Policy(origin_limits={"busy": 1})))
    say(made, *(Submit(f"t{n}", kinds[n % len(kinds)]) for n in range(2_000)))
    say(made, *(Measure(f"t{n}", (n % 50) * 10**12) for n in range(0, 2_000, 8)))
    counted = Counted(made.tasks)
    made.tasks = counted
    chosen = 0

    def counting(task: Task, crew: Sequence[Candidate], strategy: Strategy) -> Choice | None:
        nonlocal chosen
        chosen += 1
        return choose(task, crew, strategy)

    monkeypatch.setattr(scheduler, "choose", counting)
    views = [view(member) for member in crew]
    groups = len(made.queue.groups) + 1  # and the line of the busy server
    assert groups < 60
    while commands := decide(made, views, 1, node_timeout=20):
        assert counted.looks <= len(commands) + groups, "one for each command, one to learn that a group must wait"
        assert chosen <= len(commands) + groups
        made.tasks = dict(counted)
        say(made, *commands)
        made.tasks = counted = Counted(made.tasks)
        chosen = 0
    assert counted.looks <= groups
    assert chosen <= groups
