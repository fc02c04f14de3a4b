"""The dispatcher's decision, for any table and any opinion about the nodes, carried to where it has no more to say."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.commands import Assign, Command, Proposal, Register, Release, Submit
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import AHEAD, MIN_DISK_FREE
from ariacluster.domain.scheduler import MAX_COMMANDS, decide
from ariacluster.domain.snapshot import parts, restore, take
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Task, TaskSpec, TaskState
from tests.support.invariants import Witness

from .strategies import NODE_TIMEOUT, Author, Step, histories, members, specs, views_of

SPEC = TaskSpec(urls=("http://one/f",))
GOOD = Report(node="a", disk_free=10**12)


class Situation:
    """A table after some history, who is there, and what time it is."""

    def __init__(self, table: TaskTable, views: list[NodeView], now: int) -> None:
        self.witness = Witness(table)
        self.table = table
        self.views = {view.member.id: view for view in views}
        self.now = now
        self._step = 0

    def __repr__(self) -> str:
        rows = "\n  ".join(map(str, self.table.tasks.values()))
        views = "\n  ".join(map(str, self.views.values()))
        return f"at {self.now}, rows:\n  {rows}\nviews:\n  {views}"

    def decide(self) -> list[Command]:
        return decide(self.table, self.views.values(), self.now, node_timeout=NODE_TIMEOUT)

    def apply(self, commands: list[Command]) -> None:
        self._step += 1
        proposal = Proposal(id=f"decision-{self._step}", at=self.now, by="a", commands=tuple(commands))
        assert set(self.witness.apply(proposal).outcomes) == {None}, "a decision on the present table is never refused"

    def lost(self, node: str) -> bool:
        view = self.views.get(node)
        return view is None or (view.silent_for is not None and view.silent_for > NODE_TIMEOUT)

    def takes_tasks(self, node: str) -> bool:
        """Second opinion on `Candidate.unfit` and `room`."""
        view = self.views[node]
        fit = (
            view.online
            and not self.lost(node)
            and view.report is not None
            and not view.report.trouble
            and view.report.disk_free >= MIN_DISK_FREE
            and view.member.slots > 0
        )
        return fit and self.table.load_of(node) < view.member.slots + AHEAD

    def suits(self, node: str, task: Task) -> bool:
        member = self.views[node].member
        pinned = task.spec.node is None or task.spec.node in (member.id, member.name)
        return pinned and task.spec.tags.items() <= member.tags.items()

    def due(self) -> Iterator[Task]:
        return (t for t in self.table.tasks.values() if t.state is TaskState.PENDING and t.not_before <= self.now)

    def settle(self) -> list[Command]:
        """Decide and apply, one command at a time so that each is judged in its moment, until nothing is decided."""
        decided: list[Command] = []
        for _ in range(2 * len(self.table.tasks) + 2):
            commands = self.decide()
            if not commands:
                return decided
            assert len(commands) <= MAX_COMMANDS
            for one in commands:
                self.judge(one)
                self.apply([one])
            decided += commands
        raise AssertionError("it never comes to rest")

    def judge(self, one: Command) -> None:
        if isinstance(one, Release):
            holder = self.table.tasks[one.task].assigned_to
            assert holder is not None and self.lost(holder), "taken from a node that is not lost"
            return
        assert isinstance(one, Assign)
        task = self.table.tasks[one.task]
        assert task.not_before <= self.now, "before its time"
        assert self.takes_tasks(one.node), "a node that cannot take it, or has no room"
        assert self.suits(one.node, task), "against its demands"
        better = [other.id for other in self.due() if before(other, task) and self.suits(one.node, other)]
        assert not better, "it jumped the queue"
        assert one.reason.startswith(self.views[one.node].member.name)


def before(one: Task, other: Task) -> bool:
    """More urgent, or as urgent and older."""
    return (other.spec.priority, one.seq) < (one.spec.priority, other.seq)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    history: list[Step] = draw(histories)
    table, author = TaskTable(), Author()
    crew: list[Member] = draw(st.lists(members, max_size=5))
    crowd = draw(st.integers(0, 30))
    asked = draw(st.lists(specs, min_size=1, max_size=4))
    more = (Submit(f"more{n}", asked[n % len(asked)]) for n in range(crowd))
    table.apply(Proposal(id="crew", at=0, by="a", commands=(*map(Register, crew), *more)))
    for step in history:
        table.apply(author.write(step, table))
    return Situation(table, draw(views_of(table)), author.now)


@given(situations())
@settings(max_examples=300)
def test_decisions_come_to_rest_and_leave_nobody_out(situation: Situation) -> None:
    decided = situation.settle()
    assert situation.decide() == []
    table = situation.table
    for task in table.tasks.values():
        if task.assigned_to is not None:
            assert not situation.lost(task.assigned_to), "a lost node kept a task"
    for task in situation.due():
        able = [node for node in situation.views if situation.takes_tasks(node) and situation.suits(node, task)]
        assert not able, "it waits beside a node that could take it"
    assert len({(type(one), one.task, one.attempt) for one in decided}) == len(decided)  # type: ignore[union-attr]


@given(situations())
def test_a_decision_applied_whole_is_as_good_as_one_by_one(situation: Situation) -> None:
    other = Situation(restore(parts(take(situation.table))), list(situation.views.values()), situation.now)
    situation.settle()
    while commands := other.decide():
        other.apply(commands)
    assert situation.table.tasks == other.table.tasks


@given(situations())
def test_looking_changes_nothing(situation: Situation) -> None:
    assert situation.decide() == situation.decide()
    restored = Situation(restore(parts(take(situation.table))), list(situation.views.values()), situation.now)
    assert restored.decide() == situation.decide()


@given(situations(), st.integers(0, 500_000))
def test_a_leader_whose_clock_goes_back_still_decides_well(situation: Situation, back: int) -> None:
    """Looking at a later time moves due tasks into their lines for good; nothing may break or get lost by that."""
    situation.decide()
    situation.now -= back
    while commands := situation.decide():
        situation.apply(commands)
    for task in situation.due():
        assert not [n for n in situation.views if situation.takes_tasks(n) and situation.suits(n, task)]


@given(st.integers(65, 300), st.integers(1, 400))
@settings(max_examples=20)
def test_more_than_one_decision_holds(tasks: int, slots: int) -> None:
    """The batches of one dispatcher: full ones, then the rest, then none."""
    table = TaskTable()
    member = Member(id="a", name="name-a", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=slots)
    orders = (Submit(f"{n:016x}", SPEC) for n in range(tasks))
    table.apply(Proposal(id="orders", at=0, by="a", commands=(Register(member), *orders)))
    situation = Situation(table, [NodeView(member=member, report=GOOD, silent_for=0.1, online=True)], 1)
    sizes = []
    while commands := situation.decide():
        sizes.append(len(commands))
        situation.apply(commands)
    given_out = min(tasks, slots + AHEAD)
    whole, rest = divmod(given_out, MAX_COMMANDS)
    assert sizes == [MAX_COMMANDS] * whole + [rest] * bool(rest)
    assert [table.tasks[t].seq for t in table.by_state[TaskState.QUEUED].values()] == list(range(1, given_out + 1))
