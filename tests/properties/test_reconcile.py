"""One node against a table that others change: crashes, lost words and stale plans included."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Move,
    Pause,
    Proposal,
    Register,
    Release,
    Relink,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
)
from ariacluster.domain.member import Member
from ariacluster.domain.reconcile import (
    Action,
    Add,
    Began,
    Discard,
    Download,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Finished,
    Publish,
    Receipt,
    Staged,
    StopFetch,
    in_step,
    task_of,
)
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import ASSIGNED, Result, Task, TaskSpec, TaskState
from tests.support.node_model import NodeModel, result_of

ME, OTHER = "a", "b"
TASKS = ("t0", "t1", "t2")
SPEC = TaskSpec(urls=("http://one/f",), max_attempts=3)


class Event(NamedTuple):
    """Something that happens to one task or to the node. `keep`: how much of a plan is carried out before a crash."""

    what: str
    task: str
    keep: int
    code: int


HAPPENINGS = (
    *("round", "round", "round", "round", "complete", "complete", "error", "engine-dies", "crash", "deaf", "stale"),
    *("submit", "assign", "assign", "assign-other", "other-completes", "other-starts", "other-took", "release"),
    *("move", "move", "move-other", "arrive", "arrive", "full", "room", "hold", "let-go"),
    *("pause", "resume", "retry", "relink", "cancel", "remove"),
)

events = st.builds(
    Event,
    what=st.sampled_from(HAPPENINGS),
    task=st.sampled_from(TASKS),
    keep=st.integers(0, 4),
    code=st.sampled_from([1, 3, 8, 9, 10, 32]),
)


class World:
    """The table, and this node in it. The other node is perfect and fast, or silent."""

    def __init__(self) -> None:
        self.table = TaskTable()
        self.node = NodeModel(ME, self.table)
        self._proposals = 0
        for name in (ME, OTHER):
            self.say(Register(Member(id=name, name=name, address="192.0.2.1", port=8000, raft="192.0.2.1:8002")))

    def say(self, *commands: Command) -> None:
        self._proposals += 1
        self.table.apply(Proposal(id=str(self._proposals), at=self._proposals, by=ME, commands=commands))
        self.node.note_accepted()

    def round(self) -> bool:
        """One plan, carried out and told. False if there was nothing to do."""
        actions = self.node.plan()
        for action in actions:
            if (news := self.node.perform(action)) is not None:
                self.say(news)
        return bool(actions)

    def happen(self, event: Event) -> None:
        task = self.table.tasks.get(event.task)
        match event.what:
            case "round":
                self.round()
            case "complete" | "error":
                status = event.what
                code = event.code if status == "error" else 0
                self.node.engine_says(event.task, Download(gid=event.task, status=status, completed=7, error_code=code))
            case "engine-dies":
                self.node.engine_dies()
            case "crash" | "deaf":  # half a plan is carried out, and nobody hears of it; a crash takes the engine along
                for action in self.node.plan()[: event.keep]:
                    self.node.perform(action)
                if event.what == "crash":
                    self.node.restarts()
            case "stale":  # the plan was made, then somebody canceled or paused, then it is carried out
                actions = self.node.plan()
                self.say(Cancel(event.task) if event.keep % 2 else Pause(event.task))
                for action in actions:
                    if (news := self.node.perform(action)) is not None:
                        self.say(news)
            case "submit":
                # An id comes back only once its old life is cleaned up here: attempts count anew, so an old receipt
                # of attempt 1 could not be told from one of the new attempt 1.
                if event.task not in self.node.staged and event.task not in self.node.downloads:
                    self.say(Submit(event.task, SPEC))
            case "other-completes" | "other-starts" | "other-took" if task is not None and task.assigned_to == OTHER:
                told = {"completes": complete(task), "starts": Start(task.id, task.attempt), "took": took(task)}
                self.say(told[event.what.removeprefix("other-")])
            case "arrive":
                self.node.transfer_ends(event.task)
            case "full" | "room":
                self.node.full = event.what == "full"
            case "hold":
                self.node.held.add(event.task)
            case "let-go":
                self.node.held.discard(event.task)
            case what if task is not None:
                self.person_or_leader(what, task, fetch=event.keep > 0)

    def person_or_leader(self, what: str, task: Task, *, fetch: bool) -> None:
        node = OTHER if what.endswith("-other") else ME
        match what:
            case "assign" | "assign-other":
                self.say(Assign(task.id, task.attempt + 1, node, "", fetch=fetch))
            case "move" | "move-other":
                self.say(Move(task.id, task.attempt + 1, node, "", fetch=fetch))
            case "relink":
                self.say(Relink(task.id, ("http://two/f",)))
            case "release":
                self.say(Release(task.id, task.attempt, "Taken back."))
            case "pause":
                self.say(Pause(task.id))
            case "resume":
                self.say(Resume(task.id))
            case "retry":
                self.say(Retry(task.id))
            case "cancel":
                self.say(Cancel(task.id))
            case "remove":
                self.say(Remove(task.id))

    def settle(self) -> None:
        """No more surprises: there is room, what is on its way arrives, rounds until there is nothing to do."""
        self.node.full = False
        self.node.held.clear()
        for _ in range(12):
            busy = self.round()
            if not busy and all(transfer.ended for transfer in self.node.transfers.values()):
                return
            for task_id in self.node.transfers:
                self.node.transfer_ends(task_id)
        raise AssertionError(f"it never comes to rest: {self.node.plan()}")

    def judge(self) -> None:
        """At rest: the engine runs what the table wants, and nothing lies around that nobody needs."""
        node, tasks = self.node, self.table.tasks
        mine = {task.id: task.attempt for task in self.table.assigned_to(ME)}
        assert node.downloads.keys() == mine.keys()
        assert node.attempts == mine
        assert all(tasks[task_id].state is TaskState.DOWNLOADING for task_id in mine)
        assert all(download.status == "active" for download in node.downloads.values())
        assert not node.transfers, "nothing comes that nobody waits for"
        for task_id, folder in node.staged.items():
            row = tasks[task_id]  # no folder of a removed task
            assert (row.bytes_on or row.node) == ME
            assert row.state in {*ASSIGNED, TaskState.PENDING, TaskState.PAUSED, TaskState.FAILED}
            assert row.assigned_to != ME or folder.receipt is None
        for task_id, receipt in node.accepted.items():
            assert node.published.get(task_id) == receipt, "a promised file is gone"


def took(task: Task) -> Command:
    return Took(task.id, task.attempt)


def complete(task: Task) -> Command:
    return Complete(task.id, task.attempt, result_of(task, 7))


@given(st.lists(events, max_size=60))
@settings(max_examples=500)
def test_whatever_happens_the_node_ends_where_the_table_wants_it(story: list[Event]) -> None:
    world = World()
    world.say(*(Submit(task, SPEC) for task in TASKS))
    for event in story:
        world.happen(event)
    world.settle()
    world.judge()


ROWS = (
    *("none", "pending", "again", "queued", "downloading", "elsewhere", "paused"),
    *("completed", "completed-elsewhere", "failed", "canceled"),
)


class Beginning(NamedTuple):
    """One task at the start: its row, and what lies around of attempts up to the row's."""

    row: str
    download: str | None
    engine_attempt: int | None
    receipt: int | None
    folder: bool


starts = st.builds(
    Beginning,
    row=st.sampled_from(ROWS),
    download=st.sampled_from([None, "active", "waiting", "complete", "error", "removed"]),
    engine_attempt=st.sampled_from([None, 1, 2, 3]),
    receipt=st.sampled_from([None, 1, 2, 3]),
    folder=st.booleans(),
)


@given(st.lists(starts, min_size=len(TASKS), max_size=len(TASKS)))
@settings(max_examples=500)
def test_from_any_starting_point_the_node_comes_to_rest(beginning: list[Beginning]) -> None:
    world = World()
    node = world.node
    for task_id, start in zip(TASKS, beginning, strict=True):
        lead_to(world, task_id, start.row)
        if start.download is not None:
            node.downloads[task_id] = Download(gid=task_id, status=start.download, completed=7, error_code=1)
            if start.engine_attempt is not None:
                node.attempts[task_id] = start.engine_attempt
            node.staged[task_id] = Staged(None)
        if start.folder:
            receipt = None
            if start.receipt is not None:
                receipt = Receipt(attempt=start.receipt, result=RESULT)
                node.published[task_id] = receipt
                if start.row == "none":
                    node.accepted[task_id] = receipt  # who knows
            node.staged[task_id] = Staged(receipt)
        accepted = node.accepted.get(task_id)
        if accepted is not None:
            node.published[task_id] = accepted
    for _ in range(12):
        busy = world.round()
        waiting = [gid for gid, download in node.downloads.items() if download.status == "waiting"]
        for gid in waiting:
            node.engine_says(gid, Download(gid=gid, status="active"))
        if not busy and not waiting:
            break
    world.judge()
    assert world.round() is False


RESULT = Result(total_bytes=7, file_count=1)


def lead_to(world: World, task: str, row: str) -> None:
    """Make the table say `row` of `task`, at attempt 2 where a node is in play."""
    if row == "none":
        return
    world.say(Submit(task, SPEC))
    if row == "pending":
        return
    second = OTHER if row in ("elsewhere", "completed-elsewhere") else ME
    world.say(Assign(task, 1, ME, ""), Release(task, 1, "Taken back."))
    if row == "again":
        return
    world.say(Assign(task, 2, second, ""))
    if row in ("downloading", "paused", "elsewhere"):
        world.say(Start(task, 2))
    if row in ("completed", "completed-elsewhere"):
        world.say(complete(world.table.tasks[task]))
    elif row == "failed":
        failed = Failed(world.table.tasks[task], Download(gid=task, status="error", error_code=3))
        news = world.node.perform(failed)
        assert news is not None
        world.say(news)
    elif row == "paused":
        world.say(Pause(task))
    elif row == "canceled":
        world.say(Cancel(task))


def test_the_model_can_tell_good_from_bad() -> None:
    """The node of these tests publishes, tells and finishes at all."""
    world = World()
    world.say(Submit("t0", SPEC), Assign("t0", 1, ME, ""))
    seen: list[type] = []
    for _ in range(6):
        actions = world.node.plan()
        seen += [type(action) for action in actions]
        world.round()
        world.node.engine_says("t0", Download(gid="t0", status="complete", completed=7))
    assert Began not in seen or seen.index(Began) < seen.index(Publish)
    assert Publish in seen and Finished not in seen
    assert world.table.tasks["t0"].state is TaskState.COMPLETED
    assert world.node.downloads == {} and world.node.staged == {} and "t0" in world.node.published


def test_the_model_brings_bytes_along_and_lets_them_go() -> None:
    """The node of these tests fetches what is elsewhere, and keeps what another one fetches."""
    world = World()
    world.say(Submit("t0", SPEC), Assign("t0", 1, OTHER, ""), Start("t0", 1), Move("t0", 2, ME, "", fetch=True))
    assert [type(action) for action in world.node.plan()] == [Fetch]
    assert world.round() and not world.round(), "it waits for the bytes"
    world.node.transfer_ends("t0")
    assert [type(action) for action in world.node.plan()] == [Fetched]
    world.settle()
    assert world.table.tasks["t0"].bytes_on == ME
    world.judge()
    world.say(Move("t0", 3, OTHER, "", fetch=True))
    world.settle()
    world.judge()
    assert "t0" in world.node.staged, "somebody fetches them"
    world.say(took(world.table.tasks["t0"]))
    world.settle()
    world.judge()
    assert "t0" not in world.node.staged


@given(st.lists(st.tuples(st.sampled_from(["drop", "discard", "stop", "add", "publish"]), st.sampled_from("abcd"))))
def test_in_step_loses_nothing_and_keeps_each_order(said: list[tuple[str, str]]) -> None:
    def action(what: str, name: str) -> Action:
        task = Task(id=name, spec=SPEC, seq=1, state=TaskState.QUEUED, created_at=0, updated_at=0)
        match what:
            case "drop":
                return Drop(name)
            case "discard":
                return Discard(name, published=False)
            case "stop":
                return StopFetch(name)
            case "add":
                return Add(task, fresh=True)
        return Publish(task)

    actions = [action(*one) for one in said]
    groups = in_step(actions)
    chains = [chain for group in groups for chain in group]
    assert sorted(task_of(chain[0]) for chain in chains) == sorted({task_of(one) for one in actions})
    for chain in chains:
        assert chain == [one for one in actions if task_of(one) == task_of(chain[0])]
    kinds = [{tuple(map(type, chain)) for chain in group} for group in groups]
    assert all(len(kind) == 1 for kind in kinds)
    assert len({*kinds[0].union(*kinds)} if kinds else ()) == len(groups)
