"""Tasks for people: the list, and one task with its story."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.text import Text

from ariacluster.cli import units
from ariacluster.cli.grid import Cell, Column, hang, lay
from ariacluster.cli.looks import bar, pairs, task_state
from ariacluster.cli.pieces_view import live_story
from ariacluster.cli.plain import plain
from ariacluster.wire.resources import LiveResource, TaskResource

SHORT_ID = 8
"""Digits of an id that a list shows where there is little room; a node takes any beginning that is unique."""

BAR_WIDTH = 10

_COLUMNS = [
    Column("ID"),
    Column("STATE"),
    Column("NAME", least=20),
    Column("", keep=3),
    Column("DONE", right=True, keep=7),
    Column("SIZE", right=True, keep=5),
    Column("SPEED", right=True, keep=4),
    Column("NODE", least=7, keep=8),
    Column("CHANGED", right=True, keep=2),
    Column("WHY", least=30, keep=1),
]

_WHY_MATTERS = [*_COLUMNS[:-1], Column("WHY", least=30, keep=6)]
"""Where something failed or waits, the reason is worth more than a bar."""


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Each id's first digits, as many as tell these ids apart."""
    whole = list(ids)
    length = SHORT_ID
    while length < 16 and len({task_id[:length] for task_id in whole}) < len(set(whole)):
        length += 1
    return {task_id: task_id[:length] for task_id in whole}


def task_table(tasks: Sequence[TaskResource], width: int, now: datetime, *, whole_ids: bool) -> list[Text]:
    ids = {task.id: task.id for task in tasks} if whole_ids else short_ids(task.id for task in tasks)
    asked = any(task.status in ("failed", "pending") for task in tasks)
    return lay(_WHY_MATTERS if asked else _COLUMNS, [_row(task, ids[task.id], now) for task in tasks], width)


def _row(task: TaskResource, shown_id: str, now: datetime) -> list[Cell | Text]:
    moving = task.status == "downloading"
    begun = moving or task.completed_bytes > 0
    return [
        Cell(shown_id, "dim"),
        task_state(task.status),
        Cell(task.name),
        bar(task.progress / 100, BAR_WIDTH) if moving else Cell(""),
        Cell(units.percent(task.progress) if begun and (task.total_bytes or task.progress) else ""),
        Cell(units.size(task.total_bytes) if task.total_bytes else ""),
        Cell(units.speed(task.download_speed), "cyan"),
        Cell(task.worker_name or ""),
        Cell(units.ago(task.updated_at, now), "dim"),
        Cell(why(task), "red" if task.status == "failed" else "dim"),
    ]


def why(task: TaskResource) -> str:
    """What a person asks of a task in this state: why it failed, why it waits, why it is there. Empty when it is done."""
    if task.status == "failed":
        error = task.error_message or task.reason
        return f"needs a new link: {error}" if task.needs_link else error
    return "" if task.status == "completed" else task.reason


def task_story(task: TaskResource, width: int, now: datetime, live: LiveResource | None = None) -> list[Text]:
    """Everything about one task, its attempts in order; with what aria2 says of it while it runs."""
    facts: list[tuple[str, Text]] = [("id", Text(task.id)), ("state", _state_line(task, now))]
    if task.error_message:
        facts.append(("error", Text(plain(task.error_message), style="red")))
    if task.needs_link:
        facts.append(("what to do", Text(f"needs a new link: ariacluster task relink {plain(task.id)} URL")))
    if task.reason and task.reason != task.error_message:
        label = "why here" if task.worker_id else "why waiting" if task.status == "pending" else "why"
        facts.append((label, Text(plain(task.reason))))
    if task.worker_name:
        facts.append(("node", Text(plain(f"{task.worker_name} ({task.worker_id})"))))
    if task.bytes_on and task.bytes_on != task.worker_name:
        facts.append(("bytes on", Text(plain(task.bytes_on))))
    if task.status in ("downloading", "queued", "paused") or task.completed_bytes:
        facts.append(("progress", _progress_line(task)))
    for label, urls in (("url", task.urls[:1]), ("mirrors", task.urls[1:])):
        facts.extend((label if i == 0 else "", Text(plain(url))) for i, url in enumerate(urls))
    asked = [
        ("file name", task.out),
        ("folder", task.dir),
        ("checksum", task.checksum),
        ("priority", task.priority if task.priority != "normal" else None),
        ("only on", task.node),
        ("needs tags", pairs(task.tags)),
        ("better with", pairs(task.prefer_tags)),
        ("options", pairs(task.options)),
        ("not before", _due(task.not_before, now) if task.not_before else None),
        ("given as", f"a {task.document} file" if task.document else None),
        ("info hash", task.info_hash),
        ("secrets", ", ".join(task.secrets)),
        ("attempt", f"{task.attempt} of at most {task.max_attempts}" if task.attempt else None),
        ("submitted", _when(task.created_at, now)),
        ("changed", _when(task.updated_at, now)),
    ]
    facts.extend((label, Text(plain(value))) for label, value in asked if value)
    lines = [Text(plain(task.name), style="bold")]
    for label, value in facts:
        lines.extend(hang(Text(f"  {label:<11}  ", style="dim"), value, width))
    if live is not None and live.running:
        lines.extend(live_story(live, width))
    lines.extend(_attempts(task, width, now))
    lines.extend(_files(task, width))
    return lines


def _state_line(task: TaskResource, now: datetime) -> Text:
    cell = task_state(task.status)
    return Text.assemble((cell.text, cell.style), (f"  since {units.ago(task.updated_at, now)}", "dim"))


def _progress_line(task: TaskResource) -> Text:
    line = bar(task.progress / 100, 24, style="green" if task.status == "completed" else "blue")
    line.append(f" {units.percent(task.progress)}")
    for text in (units.part(task.completed_bytes, task.total_bytes), units.speed(task.download_speed)):
        if text:
            line.append(f"  {text}")
    if task.download_speed and task.total_bytes > task.completed_bytes:
        line.append(f"  {units.clock((task.total_bytes - task.completed_bytes) / task.download_speed)} left")
    if task.connections:
        line.append(f"  over {units.plural(task.connections, 'connection')}", style="dim")
    return line


def _attempts(task: TaskResource, width: int, now: datetime) -> list[Text]:
    if not task.failures:
        return []
    lines = [Text(), Text("What went wrong", style="bold")]
    for failure in task.failures:
        head = Text.assemble("  ", ("✗", "red"), f" attempt {failure.attempt} on {plain(failure.worker_name)}  ")
        body = Text(plain(failure.message))
        body.append(f" (aria2 error {failure.error_code})" if failure.error_code else "", style="dim")
        body.append(f"  {units.ago(failure.at, now)}", style="dim")
        lines.extend(hang(head, body, width))
    return lines


def _files(task: TaskResource, width: int) -> list[Text]:
    if not task.files:
        return []
    lines = [Text(), Text("Files", style="bold")]
    for file in task.files:
        lines.extend(hang(Text(f"  {units.size(file.length):>7}  ", style="dim"), Text(plain(file.path)), width))
    more = task.result.file_count - len(task.files) if task.result else 0
    if more > 0:
        lines.append(Text(f"  … and {units.plural(more, 'further file')}", style="dim"))
    return lines


def _when(then: datetime, now: datetime) -> str:
    return f"{then.astimezone():%Y-%m-%d %H:%M:%S}  ({units.ago(then, now)})"


def _due(then: datetime, now: datetime) -> str:
    left = (then - now).total_seconds()
    return f"{then.astimezone():%Y-%m-%d %H:%M:%S}" + (f"  (in {units.duration(left)})" if left > 0 else "")
