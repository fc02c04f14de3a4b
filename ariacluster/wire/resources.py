"""What the API answers: its resources. Names are the original Aria Cluster's where it had one, so that its scripts go on
working.

Sizes are bytes, speeds bytes per second, times RFC 3339 in UTC, `progress` and loads percent.
"""

from datetime import datetime

import msgspec

from ariacluster.domain.policy import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, MAX_ATTEMPTS

from .problems import Problem


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


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """`done`: ids of the tasks that were changed; `refused`: of some of the others (at most 100), why not. Counts: of all."""

    done_count: int
    refused_count: int
    done: list[str]
    refused: list[BatchItem]


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
