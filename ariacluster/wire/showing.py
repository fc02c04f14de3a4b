"""Tasks, nodes and settings of the domain as the resources that the API answers with."""

from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

from ariacluster.domain import secrets
from ariacluster.domain.identity import info_hash_of
from ariacluster.domain.member import NodeView, Progress
from ariacluster.domain.names import name_of
from ariacluster.domain.policy import Policy
from ariacluster.domain.task import Failure, FailureKind, FileEntry, Task, TaskState

from .resources import AttemptResource, FileResource, NodeResource, ResultResource, SettingsResource, TaskResource

USUAL = Policy()


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
