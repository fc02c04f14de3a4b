"""What each request takes and answers, as data: the OpenAPI document is made of it, and a test holds it to the routes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    Duplicate,
    Forbidden,
    IllegalMove,
    InvalidInput,
    NoLeader,
    NoQuorum,
    NoSuchTask,
    NotFound,
    NotReady,
    NotSpoken,
    Overloaded,
    PayloadTooLarge,
    TooSlow,
    Unavailable,
    UnknownOutcome,
    UnsupportedMediaType,
)
from ariacluster.domain.history import Kind
from ariacluster.domain.task import TaskState
from ariacluster.wire import requests, resources
from ariacluster.wire import routes as paths
from ariacluster.wire.events import MAX_TOP, TOPICS, Frame

Json = dict[str, Any]


class Parameter(NamedTuple):
    name: str
    told: str
    schema: Json
    place: str = "query"
    required: bool = False


class Operation(NamedTuple):
    """`answer`: the type of the body that comes back; a string is a media type of its own. `refusals`: what is answered
    instead, beside `ALWAYS`. `read`: it is answered from the node's copy, and says whether that may be old."""

    method: str
    path: str
    summary: str
    answer: Any
    status: int = 200
    body: Any = None
    example: Any = None
    parameters: Sequence[Parameter] = ()
    refusals: Sequence[type[AriaClusterError]] = ()
    headers: Sequence[str] = ()
    read: bool = False
    body_required: bool = True


class Message(msgspec.Struct, frozen=True):
    """A sentence for a person."""

    message: str


class Health(msgspec.Struct, frozen=True):
    """`alive` or `ready`."""

    status: str


ALWAYS: tuple[type[AriaClusterError], ...] = (InvalidInput, Forbidden)
WITH_BODY: tuple[type[AriaClusterError], ...] = (PayloadTooLarge, UnsupportedMediaType, TooSlow)
READS: tuple[type[AriaClusterError], ...] = (NoLeader, NoQuorum, NotReady, UnknownOutcome)
WRITES: tuple[type[AriaClusterError], ...] = (NoLeader, NoQuorum, NotReady, Overloaded, UnknownOutcome, NotSpoken)
TASK_WRITES: tuple[type[AriaClusterError], ...] = (*WRITES, NoSuchTask, Conflict, IllegalMove)

TEXT: Json = {"type": "string"}
WORDS: Json = {"type": "string", "description": "Several are parted by commas."}


def _count(least: int, most: int, default: int | None = None) -> Json:
    schema: Json = {"type": "integer", "minimum": least, "maximum": most}
    return schema if default is None else {**schema, "default": default}


FRESH = Parameter(
    "fresh",
    "How sure the answer is to have everything that was answered to anybody before. By default it has, or is marked as stale "
    "after half a second; `true` waits for longer and is refused rather than stale; `false` waits for nothing.",
    {"type": "boolean"},
)
LIMIT = Parameter("limit", "So many on a page.", _count(1, paths.MAX_LIMIT, paths.DEFAULT_LIMIT))
OFFSET = Parameter("offset", "Leave out so many from the beginning.", _count(0, 2**53, 0))
CURSOR = Parameter("cursor", "Where to go on: as a page's `Link` has it.", TEXT)
TASK_ID = Parameter(
    "id", "The id, or a beginning of it that no other task has.", {"type": "string", "minLength": 1}, "path", True
)
NODE_ID = Parameter("id", "The id or the name.", {"type": "string", "minLength": 1}, "path", True)
KEY = Parameter(
    paths.IDEMPOTENCY_KEY,
    "Makes a repeat safe: the same key answers with the same task.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "header",
)
SORT = Parameter(
    "sort",
    "By what; with a leading `-` backwards.",
    {"type": "string", "enum": [*paths.SORTS, *(f"-{sort}" for sort in paths.SORTS)], "default": "created"},
)
PAGED = ("X-Total-Count", "Link")
STATES = ", ".join(state.value for state in TaskState)

A_TASK: Json = {"url": "https://example.com/file.iso", "dir": "iso", "priority": "high"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        paths.STATUS,
        "The cluster at a glance",
        resources.StatusResource,
        parameters=(FRESH,),
        refusals=READS,
        read=True,
    ),
    Operation(
        "post",
        paths.TASKS,
        "Submit a task; a majority has it on disk when this is answered",
        resources.TaskResource,
        status=201,
        body=requests.TaskCreate,
        example=A_TASK,
        parameters=(KEY,),
        refusals=(*WRITES, Conflict, Duplicate),
        headers=("Location",),
    ),
    Operation(
        "post",
        paths.TASKS_BATCH,
        f"Submit up to {paths.MAX_BATCH:,} tasks, each taken or refused for itself",
        resources.BatchResult,
        body=requests.BatchRequest,
        example={"tasks": [A_TASK, {"url": "https://example.com/other.iso"}]},
        parameters=(KEY,),
        refusals=WRITES,
    ),
    Operation(
        "post",
        paths.TASKS_IMPORT,
        "Submit what a list of links says, or aria2's input file",
        resources.BatchResult,
        body=requests.ImportRequest,
        example={"text": "https://example.com/a.iso\n  dir=iso\n", "defaults": {"priority": "low"}},
        parameters=(KEY,),
        refusals=WRITES,
    ),
    Operation(
        "post",
        paths.TASKS_BULK,
        f"Say one word ({', '.join(paths.TASK_BULK_VERBS)}) to every task that fits",
        resources.BulkResult,
        body=requests.BulkRequest,
        example={"verb": "retry", "matching": {"state": ["failed"]}},
        refusals=WRITES,
    ),
    Operation(
        "get",
        paths.TASKS,
        "The list of tasks",
        list[resources.TaskResource],
        parameters=(
            Parameter("state", f"Only those that are {STATES}.", WORDS),
            Parameter("node", "Only those of this node, by id or name.", TEXT),
            Parameter("tag", "Only those that ask for this tag, as `KEY=VALUE` or `KEY`.", WORDS),
            Parameter("q", "Only those with this in their name or links, whatever the case.", TEXT),
            Parameter("ids", "Only those with these whole ids.", WORDS),
            SORT,
            LIMIT,
            CURSOR,
            OFFSET,
            FRESH,
        ),
        refusals=(*READS, NotFound, Conflict),
        headers=PAGED,
        read=True,
    ),
    Operation(
        "get",
        paths.TASK,
        "One task",
        resources.TaskResource,
        parameters=(TASK_ID, FRESH),
        refusals=(*READS, NoSuchTask, Conflict),
        read=True,
    ),
    Operation(
        "get",
        paths.TASK_LIVE,
        "Pieces, files and servers of a download that runs, from whichever node has it",
        resources.LiveResource,
        parameters=(TASK_ID, FRESH),
        refusals=(*READS, NoSuchTask, Conflict, Unavailable),
        read=True,
    ),
    Operation(
        "patch",
        paths.TASK,
        "Change what was asked of a task; what is not named stays",
        resources.TaskResource,
        body=requests.TaskPatch,
        example={"priority": "urgent", "tags": {"place": "attic"}},
        parameters=(TASK_ID,),
        refusals=TASK_WRITES,
    ),
    Operation(
        "delete",
        paths.TASK,
        "Take a task off the list, stopping it if it runs",
        Message,
        parameters=(TASK_ID,),
        refusals=TASK_WRITES,
    ),
    *(
        Operation(
            "post",
            paths.TASK_VERB.replace("{verb}", verb),
            f"{verb.capitalize()} a task",
            resources.TaskResource,
            parameters=(TASK_ID,),
            refusals=TASK_WRITES,
        )
        for verb in paths.TASK_VERBS
    ),
    Operation(
        "post",
        paths.TASK_MOVE,
        "Give a task to another node, with its bytes",
        resources.TaskResource,
        body=requests.MoveRequest,
        example={"node": "nas"},
        parameters=(TASK_ID,),
        refusals=TASK_WRITES,
    ),
    Operation(
        "post",
        paths.TASK_RELINK,
        "Give a task another link to the same file",
        resources.TaskResource,
        body=requests.RelinkRequest,
        example={"url": "https://mirror.example.com/file.iso"},
        parameters=(TASK_ID,),
        refusals=TASK_WRITES,
    ),
    *(
        operation
        for many, one, word in ((paths.NODES, paths.NODE, "node"), (paths.WORKERS, paths.WORKER, "worker"))
        for operation in (
            Operation(
                "get",
                many,
                f"Every {word}, by name",
                list[resources.NodeResource],
                parameters=(LIMIT._replace(schema=_count(1, paths.MAX_LIMIT, paths.MAX_LIMIT)), CURSOR, OFFSET, FRESH),
                refusals=READS,
                headers=PAGED,
                read=True,
            ),
            Operation(
                "get",
                one,
                f"One {word}",
                resources.NodeResource,
                parameters=(NODE_ID, FRESH),
                refusals=(*READS, NotFound, Conflict),
                read=True,
            ),
            Operation(
                "delete",
                one,
                f"Take a {word} off the cluster for good",
                Message,
                parameters=(
                    NODE_ID,
                    Parameter("force", "Even if it is online.", {"type": "boolean", "default": False}),
                ),
                refusals=(*WRITES, NotFound, Conflict),
            ),
        )
    ),
    Operation(
        "patch",
        paths.NODE,
        "Set slots and limits of a node while it runs",
        resources.NodeResource,
        body=requests.NodePatch,
        example={"slots": 8, "download_limit": 5_000_000},
        parameters=(NODE_ID,),
        refusals=(*WRITES, NotFound, Conflict),
    ),
    Operation(
        "post",
        paths.NODE_DRAIN,
        "Empty a node: nothing new for it, and what it does not finish in time goes elsewhere",
        resources.NodeResource,
        body=requests.DrainRequest,
        example={"finish_within": 600},
        parameters=(NODE_ID,),
        refusals=(*WRITES, NotFound, Conflict),
        body_required=False,
    ),
    Operation(
        "post",
        paths.NODE_UNDRAIN,
        "Let a node take tasks again",
        resources.NodeResource,
        parameters=(NODE_ID,),
        refusals=(*WRITES, NotFound, Conflict),
    ),
    Operation(
        "get",
        paths.SETTINGS,
        "How the cluster works",
        resources.SettingsResource,
        parameters=(FRESH,),
        refusals=READS,
        read=True,
    ),
    Operation(
        "patch",
        paths.SETTINGS,
        "Change how the cluster works; what is not named stays",
        resources.SettingsResource,
        body=requests.SettingsPatch,
        example={"strategy": "round_robin", "origin_limits": {"mirror.example.org": 4}},
        refusals=(*WRITES, Conflict),
    ),
    Operation("get", paths.CLUSTER, "Who belongs together, who leads, who is missing", resources.ClusterResource),
    Operation(
        "post",
        paths.CLUSTER_JOIN,
        "Says how a node joins, which is not by this",
        resources.ClusterResource,
        refusals=(Conflict,),
    ),
    Operation(
        "post",
        paths.CLUSTER_TRANSFER,
        "Hand the leadership to another voter",
        resources.ClusterResource,
        body=requests.TransferRequest,
        example={"node": "nas"},
        refusals=(*WRITES, Unavailable, NotFound, Conflict),
    ),
    Operation(
        "post",
        paths.CLUSTER_MERGE,
        "Dissolve this node's cluster into another one of its name",
        resources.ClusterResource,
        body=requests.MergeRequest,
        example={"into": "4f2a"},
        refusals=(*WRITES, NotFound, Conflict),
    ),
    Operation(
        "get", paths.CLUSTER_RECOVER, "What beginning anew would do", resources.RecoveryResource, refusals=(NotReady,)
    ),
    Operation(
        "post",
        paths.CLUSTER_RECOVER,
        "Begin a new cluster with what this node knows",
        resources.ClusterResource,
        body=requests.RecoverRequest,
        example={"confirm": "0123456789abcdef"},
        refusals=(*WRITES, Conflict),
    ),
    Operation(
        "get",
        paths.HISTORY,
        "What happened, the newest first",
        list[resources.HistoryEntry],
        parameters=(
            Parameter("task", "Only of this task, by the beginning of its id.", TEXT),
            Parameter("node", "Only of this node, by id or name.", TEXT),
            Parameter("kind", f"Only of these kinds: {', '.join(Kind)}.", WORDS),
            Parameter("before", "Only what is older than this number.", _count(1, 2**62)),
            LIMIT,
            FRESH,
        ),
        refusals=READS,
        read=True,
    ),
    Operation(
        "get",
        paths.EVENTS,
        "What happens, as it happens: server-sent events, or a WebSocket if one is asked for. Each event is a frame: `Hello` "
        "first, then what is asked for, `Bye` at the end",
        ("text/event-stream", Frame),
        parameters=(
            Parameter("topics", f"What to hear of: {', '.join(TOPICS)}. By default all of it.", WORDS),
            Parameter("watch", f"Ids of the tasks whose rows are followed, at most {paths.MAX_WATCHED}.", WORDS),
            Parameter("top", "So many of the fastest downloads in each summary.", _count(0, MAX_TOP, 0)),
            Parameter("since", "Go on after this number.", _count(0, 2**53)),
            Parameter("Last-Event-ID", "As `since`: browsers send it by themselves.", _count(0, 2**53), "header"),
        ),
        refusals=(NoLeader, NotReady, Overloaded),
    ),
    Operation(
        "get",
        paths.METRICS,
        "This node for Prometheus, or in OpenMetrics if that is accepted",
        ("text/plain", "application/openmetrics-text", str),
    ),
    Operation("get", paths.LIVEZ, "Is the process alive?", Health),
    Operation(
        "get",
        paths.READYZ,
        "Would a write succeed?",
        Health,
        parameters=(
            Parameter(
                "no_leader",
                "Without a leader, too: reads and running downloads need none.",
                {"type": "string", "enum": [""]},
            ),
        ),
        refusals=(NotReady, NoLeader),
    ),
    Operation("get", paths.OPENAPI, "This description", dict[str, Any]),
    Operation("get", paths.DOCS, "This description for people", ("text/html", str)),
)
