"""Downloads as rows that the browser keeps."""

from collections.abc import Mapping
from typing import Any

from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import BulkResult, TaskResource
from ariacluster.wire.routes import SORTS

from .task import ORDERS, kind_of

PAGE = 50

TABS: dict[str, tuple[str, ...]] = {
    "all": (),
    "downloading": ("downloading",),
    "waiting": ("pending", "queued"),
    "paused": ("paused",),
    "completed": ("completed",),
    "failed": ("failed",),
    "canceled": ("canceled",),
}
"""The tabs of the list, and which states each shows; none: all of them."""

NEWEST = "-created"


def fast_row(task: TaskResource) -> dict[str, Any]:
    """One of the fastest downloads."""
    return {
        "id": task.id,
        "name": task.name,
        "node": task.worker_id,
        "done": task.completed_bytes,
        "total": task.total_bytes,
        "speed": task.download_speed,
        "pct": task.progress,
    }


def list_row(task: TaskResource) -> dict[str, Any]:
    """One row of the list; `why`: why it is there, why it waits, or what went wrong."""
    return fast_row(task) | {
        "status": task.status,
        "kind": kind_of(task),
        "tags": [f"{key}={value}" for key, value in sorted(task.tags.items())],
        "connections": task.connections,
        "priority": task.priority,
        "why": (task.error_message or task.reason) if task.status != "completed" else "",
        "at": round(task.updated_at.timestamp()),
    }


def changed_rows(told: Mapping[str, dict[str, Any]], now: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What is new of the rows since they were told: their ids, and the fields that have other values."""
    news = []
    for task, row in now.items():
        before = told.get(task)
        fresh = row if before is None else {name: value for name, value in row.items() if before[name] != value}
        if fresh:
            news.append({"id": task, **fresh})
    return news


def view_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A view as the URL has it, as arguments of `NodeClient.page`. What makes no sense is as if it were not there."""
    sort = str(asked.get("sort") or NEWEST)
    page = str(asked.get("page") or "1")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
    return {
        "states": TABS.get(str(asked.get("show") or "all"), ()),
        "node": str(asked.get("node") or ""),
        "tags": [tag] if (tag := str(asked.get("tag") or "")) else [],
        "q": str(asked.get("q") or "")[:200],
        "sort": sort if sort.removeprefix("-") in SORTS else NEWEST,
        "offset": (max(1, number) - 1) * PAGE,
        "limit": PAGE,
    }


def filter_of(view: Mapping[str, Any], verb: str) -> TaskFilter | None:
    """All that the view shows, on whichever page, and that the verb can be said to; None if that is nothing. It always names
    states: a filter without any is refused."""
    states = [
        state for state, verbs in ORDERS.items() if verb in verbs and (not view["states"] or state in view["states"])
    ]
    if not states:
        return None
    return TaskFilter(state=states, node=view["node"] or None, tag=list(view["tags"]), q=str(view["q"]))


def refusals_of(result: BulkResult) -> str:
    """Why some were not changed, as far as one sentence goes."""
    reasons = [item.problem.detail for item in result.refused if item.problem is not None]
    return reasons[0] if reasons else ""
