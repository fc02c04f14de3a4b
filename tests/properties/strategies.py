"""Histories: arbitrary sequences of proposals, sensible enough to go deep and mad enough to find the corners.

A `Step` is relative (the row's attempt plus an offset, the clock plus a jump), so that most of a random history is
legal; it becomes a proposal only when it meets a table.
"""

from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Configure,
    Drain,
    Edit,
    Elect,
    Fail,
    Introduce,
    Measure,
    Miss,
    Move,
    Pause,
    Proposal,
    Register,
    Release,
    Relink,
    Remove,
    Resign,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FailureKind, FileEntry, Priority, Result, Task, TaskSpec, TaskState, mark_of

TASKS = ("t0", "t1", "t2")
NODES = ("a", "b", "c", "d")
TAGS: tuple[dict[str, str], ...] = ({}, {"gpu": "yes"}, {"disk": "ssd"}, {"gpu": "yes", "disk": "ssd"}, {"gpu": "no"})
NODE_TIMEOUT = 20.0
START = 1_000_000

SPECS = (
    TaskSpec(urls=("https://User@Three/f?q=1", "ftp://[2001:db8::1]/f"), options={"split": "3"}, headers=("A: b",)),
    TaskSpec(urls=("http://one:80/g",), options={"max-connection-per-server": "2"}, not_before=START + 50_000),
    TaskSpec(urls=("magnet:?dn=x&xt=urn:btih:" + 20 * "aB",), not_before=7),
    *(
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
    ),
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
    (FailureKind.THROTTLED, 29, ""),
    (FailureKind.THROTTLED, 22, "The response status is not successful. status=429"),
    (FailureKind.LINK, 3, "status=404"),
    (FailureKind.LINK, 22, "The response status is not successful. status=403"),
    (FailureKind.ORIGIN, 22, "The response status is not successful. status=503"),
    (FailureKind.LOST, -1, ""),
    (FailureKind.ORIGIN, 99_999, "status=999"),
)
"""Ways in which an attempt fails: kind, aria2's code, message; those at the end come from a node that lost its mind."""

DICE = (0.5, 0.0, 0.999, float("nan"), float("inf"), -1.0, 1e300)

LINKS = (("http://one/f",), ("http://four/new", "http://two/f"), ("https://three/f",))

SIZES = (0, 0, 1, 10**6, 10**9, 1_100_000_000, 5 * 10**12, 2**63 - 1, -1)
"""What is said of a size; the last by a node that lost its mind."""

POLICIES = (
    Policy(),
    Policy(strategy=Strategy.ROUND_ROBIN, origin_connections=1),
    Policy(strategy=Strategy.RANDOM, origin_limits={"one": 3, "two:80": 20}),
    Policy(strategy=Strategy.TAGS, min_free=10**11),
    Policy(slots=3, max_attempts=2, first_pause=100, longest_pause=1_000),
    Policy(slots=1, node_timeout=3.0, forget_after=60.0, max_attempts=40),
)

TUNINGS = (Tuning(), Tuning(slots=0), Tuning(slots=4), Tuning(download_limit=1000))

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
    size: int
    validator: str
    time: int
    way: int
    fetch: bool
    only: bool
    links: tuple[str, ...]
    policy: Policy
    tuning: Tuning

    def __repr__(self) -> str:
        """Short: hypothesis prints whole histories. Of values from a list, the place in it."""
        chosen = (SPECS.index(self.spec), MEMBERS.index(self.member), RESULTS.index(self.result), ENDS.index(self.end))
        rest = (LINKS.index(self.links), POLICIES.index(self.policy), TUNINGS.index(self.tuning))
        words = (
            f"{self.task}{self.offset:+}",
            self.node,
            self.dice,
            self.size,
            self.validator[:6],
            self.time,
            self.way,
        )
        return f"<{self.verb} {words} {self.fetch:d}{self.only:d} {(*chosen, *rest)}>".replace("'", "")


VERBS = 60 * ("next",) + (
    *("submit", "measure", "assign", "move", "move", "took", "start", "complete", "fail", "throttle", "release"),
    *("pause", "resume", "retry", "relink", "edit", "edit", "cancel", "remove", "register", "unregister", "introduce"),
    *("miss", "resign", "drain", "undrain", "tune", "configure", "elect"),
)

NEXT: dict[TaskState | None, tuple[str, ...]] = {
    None: ("submit",),
    TaskState.PENDING: ("assign", "assign", "edit"),
    TaskState.QUEUED: ("start", "start", "took", "move"),
    TaskState.DOWNLOADING: ("fail", "throttle", "release", "move", "move", "complete", "edit"),
    TaskState.PAUSED: ("resume",),
    TaskState.FAILED: ("retry", "relink"),
    TaskState.CANCELED: ("retry",),
    TaskState.COMPLETED: ("remove",),
}
"""What `next` stands for: the verbs that a row is waiting for, so that random histories go deep."""

PARTS: dict[str, st.SearchStrategy[Any]] = {
    "verb": st.sampled_from(VERBS),
    "task": st.sampled_from(TASKS),
    "offset": st.sampled_from([*[0] * 24, -1, 1, 5]),
    "node": st.sampled_from((*NODES, *NODES, "nobody")),
    "spec": specs,
    "member": members,
    "result": st.sampled_from(RESULTS),
    "end": st.sampled_from(ENDS),
    "dice": st.sampled_from(DICE),
    "size": st.sampled_from(SIZES),
    "validator": st.sampled_from(["", "", '"one"', "Wed, 21 Oct 2015 07:28:00 GMT"]),
    "time": st.sampled_from([0, 0, 0, 1, 5_000, 60_000, 10**15, -1]),
    "way": st.sampled_from(range(60)),
    "fetch": st.booleans(),
    "only": st.booleans(),
    "links": st.sampled_from(LINKS),
    "policy": st.sampled_from(POLICIES),
    "tuning": st.sampled_from(TUNINGS),
}


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    return Intent(**{name: draw(part) for name, part in PARTS.items()})


class Step(NamedTuple):
    """A proposal to be. `again` proposes an earlier one anew (counted back); `stolen` gives its id to other commands."""

    intents: list[Intent]
    jump: int
    again: int | None
    stolen: bool


steps = st.builds(
    Step,
    intents=st.lists(intents(), min_size=0, max_size=3),
    jump=st.sampled_from([0, 1, 2_000, 30_000, 400_000, -10_000, -1]),
    again=st.sampled_from([*[None] * 12, 1, 2, 5]),
    stolen=st.booleans(),
)

histories = st.one_of(st.lists(steps, max_size=10), st.lists(steps, min_size=25, max_size=40))


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
        who = "somebody" if len(commands) == 1 else ""
        proposal = Proposal(id=name, at=self.now, by="a", who=who, commands=commands)
        self.written.append(proposal)
        return proposal


def command(intent: Intent, table: TaskTable) -> Command:
    """The command as it would be made from this table. Of commands in one proposal all see the table before it."""
    row = table.tasks.get(intent.task)
    attempt = (row.attempt if row else 0) + intent.offset
    task = intent.task
    verb = intent.verb
    if verb == "next":
        fitting = NEXT[row.state if row else None]
        verb = fitting[intent.way % len(fitting)]
    match verb:
        case "submit":
            return Submit(task, intent.spec, min(intent.time, 60_000), intent.way % 5 == 0, intent.fetch)
        case "edit":
            return edited(intent, row)
        case "measure":
            return Measure(task, intent.size, intent.validator)
        case "assign" | "move":
            unknown = intent.verb == "next" and intent.node not in table.members
            node = next(iter(table.members), intent.node) if unknown else intent.node
            connections = max(0, intent.offset)
            if verb == "assign":
                return Assign(task, attempt + 1, node, "because", connections, intent.fetch)
            return Move(task, attempt + 1, node, "better there", connections, intent.fetch, intent.only)
        case "took":
            return Took(task, attempt)
        case "start":
            return Start(task, attempt, intent.size)
        case "complete":
            return Complete(task, attempt, intent.result)
        case "fail":
            return Fail(task, attempt, *intent.end, intent.dice, intent.time)
        case "throttle":
            return Fail(task, attempt, FailureKind.THROTTLED, 29, "Too many.", intent.dice, intent.time)
        case "release":
            return Release(task, attempt, "Taken back.", intent.time, intent.only)
        case "relink":
            return Relink(task, intent.links, ("C: d",) if intent.only else None)
    return about_members(verb, intent) or about_task(verb, task)


def edited(intent: Intent, row: Task | None) -> Edit:
    """Another spec with the same links, made of the one that the row has, or of one that it had."""
    old = row.spec if row else intent.spec
    new = msgspec.structs.replace(intent.spec, urls=intent.links if intent.offset == 5 else old.urls)
    if intent.only:  # nothing that its aria2 or its node would have to know
        new = msgspec.structs.replace(old, priority=intent.spec.priority, not_before=intent.spec.not_before)
    return Edit(intent.task, new, mark_of(old if intent.offset != 1 else new), None if intent.fetch else intent.size)


def about_members(verb: str, intent: Intent) -> Command | None:
    match verb:
        case "register":
            return Register(intent.member)
        case "introduce":
            return Introduce(intent.member)
        case "unregister":
            return Unregister(intent.node)
        case "miss":
            return Miss(intent.node, intent.time)
        case "resign":
            return Resign(intent.node)
        case "drain":
            return Drain(intent.node, START + intent.time)
        case "undrain":
            return Undrain(intent.node)
        case "tune":
            return Tune(intent.node, intent.tuning)
        case "elect":
            return Elect(intent.node, intent.way)
        case "configure":
            return Configure(intent.policy)
    return None


def about_task(verb: str, task: str) -> Command:
    plain: dict[str, type[Pause | Resume | Retry | Cancel | Remove]] = {
        "pause": Pause,
        "resume": Resume,
        "retry": Retry,
        "cancel": Cancel,
        "remove": Remove,
    }
    return plain[verb](task)
