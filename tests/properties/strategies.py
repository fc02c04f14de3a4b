"""Histories: arbitrary sequences of proposals, sensible enough to go deep and mad enough to find the corners.

A `Step` is relative (the row's attempt plus an offset, the clock plus a jump), so that most of a random history is
legal; it becomes a proposal only when it meets a table.
"""

from typing import NamedTuple

from hypothesis import strategies as st

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Fail,
    Pause,
    Proposal,
    Register,
    Release,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Unregister,
)
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.placement import MIN_DISK_FREE
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FailureKind, FileEntry, Priority, Result, TaskSpec, TaskState

TASKS = ("t0", "t1", "t2", "t3")
NODES = ("a", "b", "c", "d")
TAGS: tuple[dict[str, str], ...] = ({}, {"gpu": "yes"}, {"disk": "ssd"}, {"gpu": "yes", "disk": "ssd"}, {"gpu": "no"})
NODE_TIMEOUT = 20.0
START = 1_000_000

SPECS = tuple(
    TaskSpec(urls=urls, priority=priority, tags=tags, prefer_tags=prefer, node=node, max_attempts=tries)
    for (urls, priority, tags, prefer, node, tries) in (
        (("http://one/f",), Priority.NORMAL, {}, {}, None, 5),
        (("http://one/f",), Priority.LOW, {}, {"gpu": "yes"}, None, 1),
        (("http://one/f", "http://two/f"), Priority.URGENT, {}, {}, None, 40),
        (("http://one/f",), Priority.HIGH, {"gpu": "yes"}, {}, None, 2),
        (("http://one/f",), Priority.NORMAL, {"disk": "ssd"}, {"gpu": "yes"}, None, 3),
        (("http://one/f",), Priority.LOW, {"gpu": "yes", "disk": "ssd"}, {}, None, 5),
        (("http://one/f",), Priority.NORMAL, {}, {}, "a", 5),
        (("http://one/f",), Priority.HIGH, {}, {}, "name-b", 5),
        (("http://one/f",), Priority.URGENT, {}, {}, "elsewhere", 5),
    )
)

MEMBERS = tuple(
    Member(
        id=node, name=f"name-{node}", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=slots, tags=tags,
        joined_at=7,
    )
    for slots, tags in zip([2, 1, 3, 1, 0, -1], (*TAGS, {}), strict=True)
    for node in NODES
)  # fmt: skip

RESULTS = (
    Result(total_bytes=7, file_count=1, files=(FileEntry("out/file", 7),)),
    Result(total_bytes=2**63 - 1, file_count=5000),
)

ENDS = (
    *((FailureKind.ORIGIN, code, "") for code in (1, 2, 6, 29)),
    *((FailureKind.NODE, code, "") for code in (0, 7, 9, 17)),
    *((FailureKind.CONTENT, code, "é ☃") for code in (8, 10, 32)),
    (FailureKind.LINK, 3, "status=404"),
    (FailureKind.LINK, 22, "The response status is not successful. status=403"),
    (FailureKind.ORIGIN, 22, "The response status is not successful. status=503"),
    (FailureKind.LOST, -1, ""),
    (FailureKind.ORIGIN, 99_999, "status=999"),
)
"""Ways in which an attempt fails: kind, aria2's code, message; those at the end come from a node that lost its mind."""

DICE = (0.5, 0.0, 0.999, float("nan"), float("inf"), -1.0, 1e300)

specs = st.sampled_from(SPECS)
members = st.sampled_from(MEMBERS)


class Intent(NamedTuple):
    """A command still without its attempt number. `offset` 0 is the right one."""

    verb: str
    task: str
    offset: int
    node: str
    spec: TaskSpec
    member: Member
    result: Result
    end: tuple[FailureKind, int, str]
    dice: float


VERBS = 8 * ("next",) + (
    *("submit", "assign", "start", "complete", "fail", "release"),
    *("pause", "resume", "retry", "cancel", "remove", "register", "unregister"),
)

NEXT: dict[TaskState | None, str] = {
    None: "submit",
    TaskState.PENDING: "assign",
    TaskState.QUEUED: "start",
    TaskState.DOWNLOADING: "fail",
    TaskState.PAUSED: "resume",
    TaskState.FAILED: "retry",
    TaskState.CANCELED: "retry",
    TaskState.COMPLETED: "remove",
}
"""What `next` stands for: the verb that a row is waiting for, so that random histories go deep."""

intents = st.builds(
    Intent,
    verb=st.sampled_from(VERBS),
    task=st.sampled_from(TASKS),
    offset=st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1, 5]),
    node=st.sampled_from((*NODES, "nobody")),
    spec=specs,
    member=members,
    result=st.sampled_from(RESULTS),
    end=st.sampled_from(ENDS),
    dice=st.sampled_from(DICE),
)


class Step(NamedTuple):
    """A proposal to be. `again` proposes an earlier one anew (counted back); `stolen` gives its id to other commands."""

    intents: list[Intent]
    jump: int
    again: int | None
    stolen: bool


steps = st.builds(
    Step,
    intents=st.lists(intents, min_size=0, max_size=3),
    jump=st.sampled_from([0, 1, 2_000, 30_000, 400_000, -10_000, -1]),
    again=st.sampled_from([None, None, None, None, 1, 2, 5]),
    stolen=st.booleans(),
)

histories = st.one_of(st.lists(steps, max_size=10), st.lists(steps, min_size=20, max_size=40))


class Author:
    """Turns steps into proposals, keeping the clock and the ids."""

    def __init__(self) -> None:
        self.now = START
        self.written: list[Proposal] = []

    def write(self, step: Step, table: TaskTable) -> Proposal:
        self.now = max(0, self.now + step.jump)
        name = f"p{len(self.written)}"
        if step.again is not None and step.again <= len(self.written):
            earlier = self.written[-step.again]
            if not step.stolen:
                return earlier
            name = earlier.id
        commands = tuple(command(intent, table) for intent in step.intents)
        proposal = Proposal(id=name, at=self.now, by="a", commands=commands)
        self.written.append(proposal)
        return proposal


def command(intent: Intent, table: TaskTable) -> Command:
    """The command as it would be made from this table. Of commands in one proposal all see the table before it."""
    row = table.tasks.get(intent.task)
    attempt = (row.attempt if row else 0) + intent.offset
    task = intent.task
    verb = NEXT[row.state if row else None] if intent.verb == "next" else intent.verb
    match verb:
        case "submit":
            return Submit(task, intent.spec)
        case "assign":
            unknown = intent.verb == "next" and intent.node not in table.members
            node = next(iter(table.members), intent.node) if unknown else intent.node
            return Assign(task, attempt + 1, node, "because")
        case "start":
            return Start(task, attempt)
        case "complete":
            return Complete(task, attempt, intent.result)
        case "fail":
            return Fail(task, attempt, *intent.end, intent.dice)
        case "release":
            return Release(task, attempt, "Taken back.")
        case "register":
            return Register(intent.member)
        case "unregister":
            return Unregister(intent.node)
    plain: dict[str, type[Pause | Resume | Retry | Cancel | Remove]] = {
        "pause": Pause,
        "resume": Resume,
        "retry": Retry,
        "cancel": Cancel,
        "remove": Remove,
    }
    return plain[verb](task)


def views_of(table: TaskTable) -> st.SearchStrategy[list[NodeView]]:
    """What a leader may think of the members, consistent or not; some have no view at all."""

    def view(member: Member) -> st.SearchStrategy[NodeView | None]:
        report = st.builds(
            Report,
            node=st.just(member.id),
            disk_free=st.sampled_from([0, MIN_DISK_FREE - 1, MIN_DISK_FREE, 10**12, 10**12]),
            trouble=st.sampled_from(["", "", "", "the download folder is missing"]),
        )
        fine = st.builds(NodeView, member=st.just(member), report=report, silent_for=st.just(0.2), online=st.just(True))
        odd = st.builds(
            NodeView,
            member=st.just(member),
            report=st.one_of(st.none(), report),
            silent_for=st.sampled_from([None, 0.0, NODE_TIMEOUT, NODE_TIMEOUT + 0.1, 1e9]),
            online=st.booleans(),
        )
        return st.one_of(fine, fine, odd, st.none())

    return st.tuples(*(view(member) for member in table.members.values())).map(
        lambda found: [one for one in found if one is not None]
    )
