"""The words of the transcripts: how a line is read, and how what came of it is told."""

import re
import shlex
from collections.abc import Collection, Iterator

from ariacluster.domain.commands import (
    Refusal,
)
from ariacluster.domain.placement import human, span
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
    StopFetch,
)
from ariacluster.domain.table import Change
from ariacluster.domain.task import Task, TaskState
from tests.support.node_model import NodeModel

SIZES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
TIMES = {"s": 1, "min": 60, "h": 3600, "d": 86_400}

Words = list[str]
Named = dict[str, str]


# -- reading a line -----------------------------------------------------------------------------------------------


def parse(line: str) -> tuple[Words, Named]:
    words, named = [], {}
    for part in shlex.split(line):
        if match := re.fullmatch(r"([a-z_-]+)=(.*)", part, re.DOTALL):
            named[match[1]] = match[2]
        else:
            words.append(part)
    return words, named


def pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in text.split(",")) if text else {}


def size(text: str) -> int:
    return int(float(text[:-2]) * SIZES[text[-2:]])


def time(text: str) -> int:
    """Milliseconds."""
    match = re.fullmatch(r"([0-9.]+)([a-z]+)", text)
    assert match, text
    return int(float(match[1]) * TIMES[match[2]] * 1000)


def download(task: str, status: str, named: Named) -> Download:
    return Download(
        gid=task,
        status=status,
        completed=size(named.get("size", "700MB")),
        error_code=int(named.get("code", "0")),
        error_message=named.get("message", ""),
    )


# -- telling what happened ----------------------------------------------------------------------------------------


def answer(outcome: Refusal | None) -> str:
    return f"refused ({outcome.code}): {outcome.detail}" if outcome else "ok"


def told(changes: tuple[Change, ...], now: int) -> list[str]:
    return [changed(change, now) for change in changes]


def changed(change: Change, now: int) -> str:
    before, after = change
    if after is None:
        assert before is not None
        return f"{before.id}: {before.state} → gone"
    if before is not None and (before.state, before.attempt) == (after.state, after.attempt):
        return f"{after.id}: {news(before, after, now)}"
    step = f"{before.state} → {stand(after)}" if before else stand(after)
    if after.connections and after.assigned_to:
        step += f", {after.connections} connections"
    if after.not_before > now:
        step += f", next try in {(after.not_before - now) / 1000:g} s"
    if after.reason and (before is None or before.reason != after.reason):
        step += f" — {after.reason}"
    return f"{after.id}: {step}"


def news(before: Task, after: Task, now: int) -> str:
    """What changed while it stands where it stood."""
    news = []
    if after.size != before.size:
        news.append(human(after.size))
    if after.bytes_on != before.bytes_on:
        news.append(f"its bytes are on {after.bytes_on}")
    if after.spec.urls != before.spec.urls:
        news.append(f"from {', '.join(after.spec.urls)}")
    if after.not_before != before.not_before:
        news.append(f"waits for {span(after.not_before - now)}" if after.not_before > now else "waits no more")
    return "; ".join(news) or "as before"


def stand(row: Task) -> str:
    if row.assigned_to:
        where = f"{row.state} on {row.node}, attempt {row.attempt}"
        return f"{where}, bytes to come from {row.holder}" if row.holder else where
    if row.state is TaskState.COMPLETED and row.result:
        files = ", ".join(entry.path for entry in row.result.files)
        return f"{row.state} on {row.node}, {human(row.result.total_bytes)}: {files}"
    return f"{row.state}, bytes on {row.bytes_on}" if row.bytes_on else str(row.state)


def step(action: Action, node: NodeModel, emptied: Collection[str] = ()) -> str:
    """`emptied`: tasks whose folder went just before."""
    match action:
        case Add(task, fresh):
            there = task.id in node.staged
            again = fresh and (there or task.id in emptied)
            how = "from scratch" if again else "go on with what is there" if there else "first bytes here"
            return f"add {task.id} to the engine, {how}"
        case Drop(gid):
            return f"drop {gid} from the engine"
        case Fetch(task):
            return f"fetch what {task.holder} has of {task.id}"
        case StopFetch(task_id):
            return f"fetch no more of {task_id}"
        case Fetched(task):
            return f"tell that the bytes of {task.id} are here"
        case Began(task):
            return f"tell that {task.id} began"
        case Publish(task):
            return f"publish {task.id}"
        case Finished(task, receipt):
            return f"tell that {task.id} is complete, by the receipt of attempt {receipt.attempt}"
        case Failed(task, download):
            return f"tell that {task.id} failed with aria2's code {download.error_code}"
        case Discard(task_id, published):
            return f"discard the folder of {task_id}{', and what it published' if published else ''}"


def holds(node: NodeModel) -> Iterator[str]:
    yield f"engine: {', '.join(f'{gid} ({d.status})' for gid, d in sorted(node.downloads.items())) or 'empty'}"
    folders = (
        f"{task} (receipt of attempt {f.receipt.attempt})" if f.receipt else task for task, f in node.staged.items()
    )
    yield f"folders: {', '.join(folders) or 'none'}"
    yield f"published: {', '.join(sorted(node.published)) or 'nothing'}"
