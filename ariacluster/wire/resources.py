"""The resources of the API. Names are the original Aria Cluster's where it had one, so that its scripts go on working.

Sizes are bytes, speeds bytes per second, times RFC 3339 in UTC, `progress` and loads percent.
"""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ariacluster.domain import secrets
from ariacluster.domain.identity import info_hash_of
from ariacluster.domain.member import NodeView, Progress
from ariacluster.domain.names import name_of
from ariacluster.domain.policy import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, MAX_ATTEMPTS, Policy
from ariacluster.domain.task import Failure, FailureKind, FileEntry, Task, TaskState

from .problems import Problem

USUAL = Policy()

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""RFC 3339, with its offset: a time without one means another one on every node."""

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""Bytes, or bytes per second."""


class TaskCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks`: one of `url`, `urls` that are mirrors of one file, `torrent` or `metalink` (documents in base64).
    `dir` is relative to the download folder. It begins no earlier than `not_before`, and with `paused` only when it is resumed.
    `force`: even if another task fetches the same."""

    url: str | None = None
    urls: list[str] | None = None
    torrent: str | None = None
    metalink: str | None = None
    out: str | None = None
    dir: str = ""
    options: dict[str, Any] = {}
    headers: list[str] = []
    checksum: str | None = None
    priority: str = "normal"
    tags: dict[str, str] = {}
    prefer_tags: dict[str, str] = {}
    node: str | None = None
    max_attempts: int | None = None
    not_before: Moment | None = None
    paused: bool = False
    force: bool = False


class TaskPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /tasks/{id}`, as in RFC 7396: what is named is changed, null takes it away. A task that runs begins its
    attempt anew where that is needed, and keeps its bytes. Links are changed by `relink`."""

    out: str | msgspec.UnsetType | None = msgspec.UNSET
    dir: str | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    headers: list[str] | msgspec.UnsetType = msgspec.UNSET
    checksum: str | msgspec.UnsetType | None = msgspec.UNSET
    priority: str | msgspec.UnsetType = msgspec.UNSET
    tags: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    prefer_tags: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    node: str | msgspec.UnsetType | None = msgspec.UNSET
    max_attempts: int | msgspec.UnsetType | None = msgspec.UNSET
    not_before: Moment | msgspec.UnsetType | None = msgspec.UNSET


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/batch`: at most `MAX_BATCH` tasks, each taken or refused for itself."""

    tasks: list[TaskCreate]


class ImportRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/import`: a list of links, or aria2's input file (`aria2c -i`), as text. What its lines do not say is
    as in `defaults`, whose own links stay empty."""

    text: str
    defaults: TaskCreate = TaskCreate()


class BatchItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one of them: the `id` of its task, or the `problem`. `line`: where an import has it, from 1 on."""

    id: str | None = None
    problem: Problem | None = None
    line: int = 0


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """`results` in the order of the request."""

    accepted: int
    refused: int
    results: list[BatchItem]


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which tasks: all that is named holds of them. `q`: in their name or links, whatever the case. `tag`: `KEY=VALUE` or
    `KEY`."""

    ids: list[str] = []
    state: list[str] = []
    node: str | None = None
    tag: list[str] = []
    q: str = ""


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/bulk`: one of `TASK_BULK_VERBS` to every task that fits the filter. An empty filter is refused."""

    verb: str
    matching: TaskFilter


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """`done`: ids of the tasks that were changed; `refused`: of some of the others (at most 100), why not. Counts: of all."""

    done_count: int
    refused_count: int
    done: list[str]
    refused: list[BatchItem]


class MoveRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/{id}/move`: the node, by name or id."""

    node: str


class RelinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /tasks/{id}/relink`: where the same file is to be had. Without `headers` those that it has are kept."""

    url: str | None = None
    urls: list[str] | None = None
    headers: list[str] | None = None


class TransferRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /cluster/transfer`: who is to lead, by name or id; empty: any other voter."""

    node: str = ""


class DrainRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /nodes/{id}/drain`: for so many seconds may it finish what it has begun."""

    finish_within: Annotated[float, msgspec.Meta(ge=0, le=30 * 86_400)] = 0


class NodePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /nodes/{id}`: what is named is changed. `slots` null: back to its own settings; limits in bytes per
    second, 0 for none."""

    slots: Annotated[int, msgspec.Meta(ge=1, le=1000)] | msgspec.UnsetType | None = msgspec.UNSET
    download_limit: Limit | msgspec.UnsetType = msgspec.UNSET
    upload_limit: Limit | msgspec.UnsetType = msgspec.UNSET


class SettingsResource(msgspec.Struct, frozen=True, kw_only=True):
    """How the cluster goes about it; a change holds on all nodes at once. `origin_connections`: to any one server over all
    nodes, 0 for no limit; `origin_limits`: to these (`host` or `host:port`) instead. `min_free`: bytes that stay free on the
    disk of every node. `max_attempts`: of a task that does not say. `retry_pause`: seconds before its second attempt, and twice
    as many before each further one, up to `retry_pause_longest`. `node_timeout`: seconds of silence after which a node's tasks
    run elsewhere; `forget_after`: after which it is taken off the cluster; `slots`: downloads at a time on a node that was not
    tuned. Null: each node goes by its own settings."""

    strategy: str
    origin_connections: int
    origin_limits: dict[str, int]
    min_free: int
    max_attempts: int = MAX_ATTEMPTS
    retry_pause: float = FIRST_PAUSE_MS / 1000
    retry_pause_longest: float = LONGEST_PAUSE_MS / 1000
    node_timeout: float | None = None
    forget_after: float | None = None
    slots: int | None = None


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Body of `PATCH /settings`: what is named is changed, as in RFC 7396: null brings back what held before anybody said
    anything, and an origin with null loses its limit."""

    strategy: str | msgspec.UnsetType | None = msgspec.UNSET
    origin_connections: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | msgspec.UnsetType | None = msgspec.UNSET
    origin_limits: dict[str, Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] | None] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    min_free: Limit | msgspec.UnsetType | None = msgspec.UNSET
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] | msgspec.UnsetType | None = msgspec.UNSET
    retry_pause: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    retry_pause_longest: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    node_timeout: Annotated[float, msgspec.Meta(ge=2, le=86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    forget_after: Annotated[float, msgspec.Meta(ge=60, le=10 * 366 * 86_400)] | msgspec.UnsetType | None = msgspec.UNSET
    slots: Annotated[int, msgspec.Meta(ge=1, le=1000)] | msgspec.UnsetType | None = msgspec.UNSET


class AttemptResource(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt failed: `error_code` is aria2's own, 0 where aria2 had no say."""

    attempt: int
    worker_id: str
    worker_name: str
    at: datetime
    kind: str
    error_code: int
    message: str


class FileResource(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a completed task, its path relative to the download folder of the node that has it."""

    path: str
    length: int


class ResultResource(msgspec.Struct, frozen=True, kw_only=True):
    """What a completed task left; `files` of the task lists at most 100 of them."""

    total_bytes: int
    file_count: int


class TaskResource(msgspec.Struct, frozen=True, kw_only=True):
    """A task with its live progress. `reason`: why on this node, or why it waits. `failures`: its story. `bytes_on`: the node
    that has what was fetched so far. `needs_link`: it failed because of its link, and `relink` may give it another one.
    `document`: `torrent` or `metalink` if it was submitted as one. `secrets`: what is known and never shown, by name.
    `total_bytes`: of the files that `select-file` wants; while aria2 runs, of the pieces that hold them."""

    id: str
    url: str
    urls: list[str]
    name: str
    status: str
    priority: str
    worker_id: str | None
    worker_name: str | None
    aria2_gid: str
    out: str | None
    dir: str
    options: dict[str, str]
    checksum: str | None
    tags: dict[str, str]
    prefer_tags: dict[str, str]
    node: str | None
    progress: float
    completed_bytes: int
    total_bytes: int
    download_speed: int
    connections: int
    error_message: str | None
    attempt: int
    max_attempts: int
    reason: str
    failures: list[AttemptResource]
    files: list[FileResource]
    result: ResultResource | None
    created_at: datetime
    updated_at: datetime
    not_before: datetime | None = None
    bytes_on: str | None = None
    needs_link: bool = False
    upload_speed: int = 0
    info_hash: str | None = None
    document: str | None = None
    secrets: list[str] = []


class LiveFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is being fetched; its path relative to the download folder."""

    path: str
    length: int
    completed: int
    selected: bool = True


class LiveServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server or peer that bytes come from, and how fast (bytes/s)."""

    uri: str
    speed: int


class LiveResource(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /tasks/{id}/live`: what aria2 itself says of a download that runs, from whichever node is asked. `pieces`: aria2's
    bitfield in hex, the first piece its highest bit; empty while it is not known. All is empty for one that does not run."""

    id: str
    running: bool
    piece_length: int = 0
    piece_count: int = 0
    pieces: str = ""
    files: list[LiveFile] = []
    servers: list[LiveServer] = []
    seeders: int = 0
    upload_speed: int = 0
    uploaded: int = 0


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, replicated: the same `seq` on every node. `kind` is stable and for programs (`task_completed`,
    `node_lost`, `leader_elected` …), `text` a sentence for people. `who`: whose word it was, empty for the cluster's own.
    `count`: of how many tasks it tells; `task` is the first then."""

    seq: int
    at: datetime
    kind: str
    text: str
    task: str | None = None
    task_name: str | None = None
    node: str | None = None
    node_name: str | None = None
    who: str = ""
    count: int = 1


class NodeResource(msgspec.Struct, frozen=True, kw_only=True):
    """A member as it was last heard. `trouble` says why it takes no tasks, if it does not. Limits in bytes per second over all
    its downloads, 0 for none; `peak_speed`: what it reached lately. While it is `draining`, it may finish what it has begun
    until `drain_until`, and can be stopped once `tasks_left` is 0."""

    id: str
    name: str
    address: str
    port: int
    status: str
    role: str
    tags: dict[str, str]
    total_slots: int
    used_slots: int
    download_speed: int
    upload_speed: int
    disk_free: int
    disk_total: int
    cpu_usage: float
    memory_usage: float
    uptime: float
    version: str
    engine: str
    trouble: str
    last_seen: datetime | None
    witness: bool = False
    download_limit: int = 0
    upload_limit: int = 0
    drain_until: datetime | None = None
    tasks_left: int = 0
    peak_speed: int = 0
    ui_port: int = 0


class NamedId(msgspec.Struct, frozen=True):
    id: str
    name: str


class OtherClusterResource(msgspec.Struct, frozen=True, kw_only=True):
    """Another cluster of the same name that is heard here: how many members it has, and the names of those that are heard."""

    id: str
    members: int
    nodes: list[str]


class RecoveryResource(msgspec.Struct, frozen=True, kw_only=True):
    """What `POST /cluster/recover` would do, in sentences for the person who decides. `confirm` is what it wants to hear."""

    confirm: str
    missing: list[NamedId]
    consequences: list[str]


class RecoverRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`confirm`: the id of the cluster that is given up."""

    confirm: str


class MergeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`into`: the id of the other cluster, or its beginning; empty if there is only one other."""

    into: str = ""


class ClusterResource(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster as the answering node sees it. `mode` is `open` until it can be locked. `missing`: the voters that it cannot
    reach; `others`: further clusters of the same name."""

    id: str
    name: str
    mode: str
    leader: NamedId | None
    term: int
    voters: int
    members: int
    has_quorum: bool
    missing: list[NamedId] = []
    others: list[OtherClusterResource] = []


class StatusResource(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /status`: the cluster at a glance. `system_load` is the used share of all slots in percent.
    `problems`: what a person should see to, as sentences; the worst first. `revision` grows with every change of the table."""

    node: NamedId
    cluster: ClusterResource
    active_workers: int
    total_tasks: int
    tasks_by_status: dict[str, int]
    system_load: float
    download_speed: int
    upload_speed: int
    version: str
    problems: list[str] = []
    revision: int = 0


def task_resource(
    task: Task, progress: Progress | None, names: dict[str, str], reason: str, policy: Policy = USUAL
) -> TaskResource:
    """A row with what its node last said of it. `names` maps node ids to names."""
    done, total, speed = 0, 0, 0
    if task.result is not None:
        done = total = task.result.total_bytes
    elif progress is not None and progress.attempt == task.attempt:
        done, total, speed = progress.completed, progress.total, progress.speed
    total = total or task.size
    live = progress is not None and task.state is TaskState.DOWNLOADING
    node = task.node if task.state is not TaskState.PENDING else None
    return TaskResource(
        id=task.id,
        url=redact(task.spec.urls[0]),
        urls=[redact(url) for url in task.spec.urls],
        name=name_of(task),
        status=task.state.value,
        priority=task.spec.priority.name.lower(),
        worker_id=node,
        worker_name=names.get(node, node) if node else None,
        aria2_gid=task.id,
        out=task.spec.out,
        dir=task.spec.dir,
        options={key: secrets.shown(key, value) for key, value in task.spec.options.items()},
        checksum=task.spec.checksum,
        tags=task.spec.tags,
        prefer_tags=task.spec.prefer_tags,
        node=task.spec.node,
        progress=100.0 if task.result is not None else min(100.0, round(100 * done / total, 2)) if total else 0.0,
        completed_bytes=done,
        total_bytes=total,
        download_speed=speed if live else 0,
        connections=progress.connections if progress is not None and live else 0,
        error_message=task.reason if task.state is TaskState.FAILED else None,
        attempt=task.attempt,
        max_attempts=task.spec.max_attempts or policy.max_attempts,
        reason=reason,
        failures=[_attempt(failure, names) for failure in task.failures],
        files=[_file(entry) for entry in task.result.files] if task.result else [],
        result=ResultResource(total_bytes=task.result.total_bytes, file_count=task.result.file_count)
        if task.result
        else None,
        created_at=moment(task.created_at),
        updated_at=moment(task.updated_at),
        not_before=moment(task.spec.not_before) if task.spec.not_before else None,
        bytes_on=names.get(task.bytes_on, task.bytes_on) if task.bytes_on else None,
        needs_link=_needs_link(task),
        info_hash=_info_hash(task),
        document=task.spec.document.kind if task.spec.document else None,
        secrets=secrets.names(task.spec),
    )


def _info_hash(task: Task) -> str | None:
    return (info_hash_of(task.spec.urls[0]) or None) if task.spec.urls[0][:7].lower() == "magnet:" else None


def _needs_link(task: Task) -> bool:
    return task.state is TaskState.FAILED and bool(task.failures) and task.failures[-1].kind is FailureKind.LINK


def settings_resource(policy: Policy) -> SettingsResource:
    return SettingsResource(
        strategy=policy.strategy.value,
        origin_connections=policy.origin_connections,
        origin_limits=policy.origin_limits,
        min_free=policy.min_free,
        max_attempts=policy.max_attempts,
        retry_pause=policy.first_pause / 1000,
        retry_pause_longest=policy.longest_pause / 1000,
        node_timeout=policy.node_timeout,
        forget_after=policy.forget_after,
        slots=policy.slots,
    )


def node_resource(view: NodeView, *, policy: Policy, role: str, used: int, left: int, now: datetime) -> NodeResource:
    """A member as the API shows it; `role` is leader, voter or learner, `used` is how many tasks it has been given, `left` how
    many need it still."""
    slots = policy.slots_of(view.member)
    member, report = view.member, view.report
    draining = member.drain_until is not None
    busy = used >= slots > 0
    return NodeResource(
        id=member.id,
        name=member.name,
        address=member.address,
        port=member.port,
        status="offline" if not view.online else "draining" if draining else "busy" if busy else "online",
        role=role,
        tags=member.tags,
        total_slots=slots,
        used_slots=used,
        download_speed=report.download_speed if report and view.online else 0,
        upload_speed=report.upload_speed if report and view.online else 0,
        disk_free=report.disk_free if report else 0,
        disk_total=report.disk_total if report else 0,
        cpu_usage=report.cpu if report else 0.0,
        memory_usage=report.memory if report else 0.0,
        uptime=report.uptime if report else 0.0,
        version=member.version,
        engine=report.engine if report else "",
        trouble=report.trouble if report else "",
        last_seen=_last_seen(view, now),
        witness=member.witness,
        download_limit=member.tuning.download_limit,
        upload_limit=member.tuning.upload_limit,
        drain_until=moment(member.drain_until) if member.drain_until is not None else None,
        tasks_left=left,
        peak_speed=report.peak_speed if report else 0,
        ui_port=member.ui_port,
    )


def _last_seen(view: NodeView, now: datetime) -> datetime | None:
    """What the table says of one that is away is older than anything that a new leader can know."""
    if view.member.missed_since and not view.online:
        return moment(view.member.missed_since)
    return None if view.silent_for is None else datetime.fromtimestamp(now.timestamp() - view.silent_for, UTC)


def redact(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    if parts.scheme == "magnet" or not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _attempt(failure: Failure, names: dict[str, str]) -> AttemptResource:
    return AttemptResource(
        attempt=failure.attempt,
        worker_id=failure.node,
        worker_name=names.get(failure.node, failure.node),
        at=moment(failure.at),
        kind=failure.kind.value,
        error_code=failure.code,
        message=failure.message,
    )


def _file(entry: FileEntry) -> FileResource:
    return FileResource(path=entry.path, length=entry.length)
