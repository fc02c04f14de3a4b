"""The dispatcher's decision, for any table and any opinion about the nodes, carried to where it has no more to say."""

from collections import Counter
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Configure,
    Move,
    Proposal,
    Register,
    Release,
    Submit,
)
from ariacluster.domain.member import Member, NodeView, Progress, Report
from ariacluster.domain.origins import origins_of, wanted_connections
from ariacluster.domain.placement import AHEAD, MAX_AHEAD, explain
from ariacluster.domain.policy import MIN_FREE, Policy, Strategy
from ariacluster.domain.scheduler import LONG_HOLD_MS, MAX_COMMANDS, candidates, decide, held_back
from ariacluster.domain.snapshot import parts, restore, take
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Priority, Result, Task, TaskSpec, TaskState
from tests.support.invariants import Witness

from .strategies import NODE_TIMEOUT, POLICIES, Author, Step, histories, members, specs

SPEC = TaskSpec(urls=("http://one/f",))
GOOD = Report(node="a", disk_free=10**12)
GB = 10**9
GRAIN = 8 * 1024 * 1024


def reports(table: TaskTable, member: Member) -> st.SearchStrategy[Report]:
    mine = [task.id for task in table.assigned_to(member.id)]
    progress = st.builds(
        Progress,
        attempt=st.sampled_from([table.tasks[task].attempt for task in mine] or [0]),
        completed=st.sampled_from([0, GB]),
        total=st.sampled_from([0, GB]),
        speed=st.sampled_from([0, GB]),
    )
    return st.builds(
        Report,
        node=st.just(member.id),
        disk_free=st.sampled_from([0, MIN_FREE - 1, MIN_FREE, 2 * GB, 4 * GB, 10**12, 10**12, 10**14]),
        trouble=st.sampled_from(["", "", "", "", "the download folder is missing"]),
        pressed=st.sampled_from([False, False, False, True]),
        cpu=st.sampled_from([0.0, 95.0]),
        peak_speed=st.sampled_from([0, 10**6, 10**8]),
        pace=st.sampled_from([0.0, 0.0, 1.0, 3.3, float("nan"), float("inf"), -1.0]),
        tasks=st.dictionaries(st.sampled_from(mine), progress, max_size=2) if mine else st.just({}),
    )


def views_of(table: TaskTable) -> st.SearchStrategy[list[NodeView]]:
    """What a leader may think of the members, consistent or not; some have no view at all."""

    def view(member: Member) -> st.SearchStrategy[NodeView | None]:
        report = reports(table, member)
        fine = st.builds(NodeView, member=st.just(member), report=report, silent_for=st.just(0.2), online=st.just(True))
        odd = st.builds(
            NodeView,
            member=st.just(member),
            report=st.one_of(st.none(), report),
            silent_for=st.sampled_from([None, 0.0, NODE_TIMEOUT, NODE_TIMEOUT + 0.1, 1e9]),
            online=st.booleans(),
        )
        return st.one_of(fine, fine, fine, odd, st.none())

    return st.tuples(*(view(member) for member in table.members.values())).map(
        lambda found: [one for one in found if one is not None]
    )


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
        return f"at {self.now}, {self.table.policy}, {self.table.origins}, rows:\n  {rows}\nviews:\n  {views}"

    def decide(self) -> list[Command]:
        return decide(self.table, self.views.values(), self.now, node_timeout=NODE_TIMEOUT)

    def apply(self, commands: list[Command]) -> None:
        self._step += 1
        proposal = Proposal(id=f"decision-{self._step}", at=self.now, by="a", commands=tuple(commands))
        assert set(self.witness.apply(proposal).outcomes) == {None}, "a decision on the present table is never refused"

    def lost(self, node: str) -> bool:
        view = self.views.get(node)
        return view is None or (view.silent_for is not None and view.silent_for > NODE_TIMEOUT)

    def there(self, node: str | None) -> bool:
        return node is not None and node in self.views and self.views[node].online and not self.lost(node)

    def takes_tasks(self, node: str, task: Task | None = None) -> bool:
        """Second opinion on `Candidate.unfit` and `room`; with a task also on `bulk`."""
        view = self.views[node]
        report, member = view.report, view.member
        if not view.online or self.lost(node) or report is None or member.witness or member.drain_until is not None:
            return False
        if report.trouble or report.pressed or report.disk_free < self.table.policy.min_free or self.slots(node) < 1:
            return False
        quick = 2 * report.pace if 0 < report.pace < 1000 else 1000 if report.pace > 0 else 0
        load = self.table.load_of(node)
        if load < self.slots(node) + min(MAX_AHEAD, AHEAD + int(quick)):
            return True
        if task is None or not task.size or load >= self.slots(node) + MAX_AHEAD:
            return False
        return task.size + self.promised(node) <= 2 * max(5_000_000, report.peak_speed)

    def has_slot(self, node: str) -> bool:
        return self.table.load_of(node) < self.slots(node)

    def slots(self, node: str) -> int:
        member, policy = self.views[node].member, self.table.policy
        chosen = [slots for slots in (member.tuning.slots, policy.slots) if slots is not None and not member.witness]
        return [*chosen, member.slots][0]

    def suits(self, node: str, task: Task) -> bool:
        member = self.views[node].member
        pinned = task.spec.node is None or task.spec.node in (member.id, member.name)
        return pinned and task.spec.tags.items() <= member.tags.items()

    def spare(self, node: str) -> int:
        """Bytes on its disk that are promised to nobody. (It is not said how much is there already.)"""
        report = self.views[node].report
        assert report
        return report.disk_free - self.promised(node) - self.table.policy.min_free

    def promised(self, node: str) -> int:
        return sum(task.size for task in self.table.tasks.values() if task.assigned_to == node)

    def surely_fits(self, node: str, task: Task) -> bool:
        """With the little more that is set aside for it."""
        return not task.size or task.bytes_on == node or task.size + task.size // 30 + GRAIN <= self.spare(node)

    def connections(self, origin: str) -> int:
        return sum(
            task.connections or wanted_connections(task.spec)
            for task in self.table.tasks.values()
            if task.assigned_to and origin in origins_of(task.spec)
        )

    def may_ask(self, task: Task) -> bool:
        for origin in origins_of(task.spec):
            limit = self.table.policy.limit_of(origin)
            hold = self.table.origins.get(origin)
            if (hold and hold.until > self.now) or (limit and self.connections(origin) >= limit):
                return False
        return True

    def awaits_bytes(self, task: Task) -> bool:
        home = task.bytes_on
        return home is not None and home in self.views and not self.lost(home) and not self.views[home].online

    def ready(self) -> Iterator[Task]:
        """Who could begin, if there was a node."""
        return (
            t
            for t in self.table.tasks.values()
            if t.state is TaskState.PENDING
            and t.not_before <= self.now
            and self.may_ask(t)
            and not self.awaits_bytes(t)
        )

    def could_take(self, node: str, task: Task) -> bool:
        return self.takes_tasks(node) and self.suits(node, task) and self.surely_fits(node, task)

    def settle(self) -> list[Command]:
        """Decide and apply, one command at a time so that each is judged in its moment, until nothing is decided."""
        decided: list[Command] = []
        for _ in range(4 * len(self.table.tasks) + 4):
            commands = self.decide()
            if not commands:
                return decided
            assert len(commands) <= MAX_COMMANDS
            one = commands[0]
            self.judge(one)
            self.apply([one])
            decided.append(one)
        raise AssertionError("it never comes to rest")

    def judge(self, one: Command) -> None:
        assert isinstance(one, Release | Assign | Move)
        task = self.table.tasks[one.task]
        if isinstance(one, Release):
            self._judge_release(task)
            return
        assert self.takes_tasks(one.node, task), "a node that cannot take it, or has no room"
        assert self.suits(one.node, task), "against its demands"
        assert not task.size or task.bytes_on == one.node or task.size <= self.spare(one.node), "room promised twice"
        assert one.reason.startswith(self.views[one.node].member.name)
        assert not self.awaits_bytes(task), "bytes given up too soon"
        if task.bytes_on != one.node:
            assert one.fetch == self.there(task.bytes_on), "bytes that cannot be had, or left behind"
        if isinstance(one, Assign):
            self._judge_assign(one, task)
        else:
            self._judge_move(one, task)

    def _judge_release(self, task: Task) -> None:
        assert task.assigned_to is not None
        if not self.lost(task.assigned_to):
            holds = [self.table.origins[origin] for origin in origins_of(task.spec) if origin in self.table.origins]
            assert task.state is TaskState.QUEUED, "taken from a node that is not lost"
            assert any(hold.until > self.now + LONG_HOLD_MS for hold in holds), "nobody asked for it"

    def _judge_assign(self, one: Assign, task: Task) -> None:
        assert task.not_before <= self.now, "before its time"
        assert self.may_ask(task), "its origin is to be left alone"
        for origin in origins_of(task.spec):
            if limit := self.table.policy.limit_of(origin):
                assert 0 < one.connections <= limit - self.connections(origin), "more connections than are left"
        better = [
            o.id for o in self.ready() if (o.turn, o.seq) < (task.turn, task.seq) and self.could_take(one.node, o)
        ]
        assert not better, "it jumped the queue"

    def _judge_move(self, one: Move, task: Task) -> None:
        source = task.assigned_to
        assert source is not None
        assert source != one.node
        assert self.there(source), "a node that cannot be asked"
        assert one.connections == task.connections
        view = self.views[source]
        if one.idle:
            assert task.state is TaskState.QUEUED
            assert task.bytes_on is None, "it has bytes somewhere"
            assert not self.has_slot(source)
            assert self.has_slot(one.node), "it would wait there, too"
        else:
            assert view.report is not None
            assert view.member.drain_until is not None or view.report.pressed, "why?"


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    history: list[Step] = draw(histories)
    table, author = TaskTable(), Author()
    crew: list[Member] = draw(st.lists(members, max_size=5))
    crowd = draw(st.integers(0, 30))
    asked = draw(st.lists(specs, min_size=1, max_size=4))
    more = (Submit(f"more{n}", asked[n % len(asked)]) for n in range(crowd))
    policy = Configure(draw(st.sampled_from(POLICIES)))
    table.apply(Proposal(id="crew", at=0, by="a", commands=(*map(Register, crew), policy, *more)))
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
    for task in situation.ready():
        assert not [node for node in situation.views if situation.could_take(node, task)], "it waits beside a node"
    assert len({(type(one), one.task, one.attempt) for one in decided}) == len(decided)  # type: ignore[union-attr]
    moved = Counter(one.task for one in decided if isinstance(one, Move))
    assert not moved or max(moved.values()) == 1, "to and fro"


@given(situations())
@settings(max_examples=200)
def test_what_is_left_waiting_can_say_why(situation: Situation) -> None:
    """Where the leader's opinions make sense: who is lost is not online."""
    while commands := situation.decide():
        situation.apply(commands)
    if any(view.online and situation.lost(node) for node, view in situation.views.items()):
        return
    crew = candidates(situation.table, situation.views.values())
    for task in situation.table.tasks.values():
        if task.state is TaskState.PENDING:
            why = explain(task, crew, situation.now, held=held_back(situation.table, task, situation.now))
            assert why.endswith(".")
            assert why != "Waiting for the dispatcher."


@given(situations())
def test_a_decision_applied_whole_leaves_as_little_waiting_as_one_by_one(situation: Situation) -> None:
    other = Situation(restore(parts(take(situation.table))), list(situation.views.values()), situation.now)
    situation.settle()
    while commands := other.decide():
        other.apply(commands)
    left = [len(one.table.by_state[TaskState.PENDING]) for one in (situation, other)]
    assert left[0] == left[1]


@given(situations())
def test_looking_changes_nothing(situation: Situation) -> None:
    before = dict(situation.table.tasks)
    assert situation.decide() == situation.decide()
    assert situation.table.tasks == before
    if situation.table.policy.strategy is not Strategy.ROUND_ROBIN:  # whose turn it is, each copy counts for itself
        restored = Situation(restore(parts(take(situation.table))), list(situation.views.values()), situation.now)
        assert restored.decide() == situation.decide()


@given(situations(), st.integers(0, 500_000))
def test_a_leader_whose_clock_goes_back_still_decides_well(situation: Situation, back: int) -> None:
    """Looking at a later time moves due tasks into their lines for good; nothing may break or get lost by that."""
    situation.decide()
    situation.now -= back
    while commands := situation.decide():
        situation.apply(commands)
    for task in situation.ready():
        assert not [node for node in situation.views if situation.could_take(node, task)]


@given(st.lists(st.sampled_from(Priority), min_size=1, max_size=12), st.sampled_from([1, 2]))
@settings(max_examples=30)
def test_nobody_starves(crowd: list[Priority], slots: int) -> None:
    """A node that is never idle, a task of low priority, and every minute a newer one that overtakes it or does not: after
    the hour and a half that three steps of priority are worth, nobody who comes overtakes it any more."""
    table = TaskTable()
    member = Member(id="a", name="name-a", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=slots)
    view = NodeView(member=member, report=GOOD, silent_for=0.1, online=True)
    low = TaskSpec(urls=SPEC.urls, priority=Priority.LOW)
    filler = (Submit(f"filler{n}", SPEC) for n in range(slots + AHEAD))
    table.apply(Proposal(id="start", at=1, by="a", commands=(Register(member), *filler)))
    for minute in range(100 * 2):
        now = 1 + minute * 60_000
        said: list[Command] = [Submit(f"t{minute}", TaskSpec(urls=SPEC.urls, priority=crowd[minute % len(crowd)]))]
        if minute == 1:
            said.append(Submit("low", low))
        if running := min(table.assigned_to("a"), key=lambda task: task.seq, default=None):
            said.append(Complete(running.id, running.attempt, Result(total_bytes=1, file_count=1)))
        table.apply(Proposal(id=f"m{minute}", at=now, by="a", commands=tuple(said)))
        while commands := decide(table, [view], now, node_timeout=NODE_TIMEOUT):
            table.apply(Proposal(id=f"d{minute}-{len(table.recent)}", at=now, by="a", commands=tuple(commands)))
    assert table.tasks["low"].attempt == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 20), st.booleans()), max_size=60), st.integers(1, 20))
@settings(max_examples=100)
def test_an_origin_never_sees_more_connections_than_it_may(steps: list[tuple[int, int, bool]], limit: int) -> None:
    """Tasks come and go in any order; three nodes of four slots share what the origin allows."""
    table = TaskTable()
    crew = [
        Member(id=id, name=id, address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=4) for id in ("a", "b", "c")
    ]
    policy = Policy(origin_connections=limit)
    table.apply(Proposal(id="start", at=1, by="a", commands=(*map(Register, crew), Configure(policy))))
    views = [NodeView(member=one, report=GOOD, silent_for=0.1, online=True) for one in crew]
    for number, (which, split, mirrored) in enumerate(steps):
        urls = ("http://one/f", "http://two/f") if mirrored else (("http://one/f", "http://two/f")[which % 2],)
        said: list[Command] = [Submit(f"t{number}", TaskSpec(urls=urls, options={"split": str(split)}))]
        if which > 2 and (running := [task.id for task in table.tasks.values() if task.assigned_to]):
            said.append(Cancel(running[split % len(running)]))
        table.apply(Proposal(id=f"s{number}", at=number, by="a", commands=tuple(said)))
        while commands := decide(table, views, number, node_timeout=NODE_TIMEOUT):
            table.apply(Proposal(id=f"d{number}-{len(table.recent)}", at=number, by="a", commands=tuple(commands)))
        for origin in ("one:80", "two:80"):
            open_now = sum(
                t.connections for t in table.tasks.values() if t.assigned_to and origin in origins_of(t.spec)
            )
            assert open_now <= limit
            pending = [t for t in table.tasks.values() if t.state is TaskState.PENDING]
            waits = [t for t in pending if origins_of(t.spec) == (origin,)]
            busy = all(table.load_of(one.id) >= 4 + AHEAD for one in crew)
            assert not waits or open_now == limit or busy, "connections are left over"


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
