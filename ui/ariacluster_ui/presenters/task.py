"""One download as the browser shows it: what it is, how far, and what can be done about it."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from ariacluster.wire.resources import HistoryEntry, LiveResource, TaskResource

from .activity import entry_row

CELLS = 240
"""Of the picture of its pieces: more would be no picture but a pattern."""

LISTED = 240
"""Files of a torrent that are told; how many there are is told beside them."""

LEVELS = 9
"""A cell stands for many pieces: how many of them are there, in so many steps."""


class Verb(NamedTuple):
    """What can be said to a download."""

    icon: str
    becomes: str = ""
    """The state that is shown until the node tells."""
    back: str = ""
    """The verb that takes it back."""
    final: bool = False
    """What was fetched is thrown away, and no verb takes that back: it is asked first."""
    held: bool = False
    """Where those that are meant are seen on the list, they are hidden for some seconds in place of the question."""
    many: bool = True
    """It needs no more than to be said, to however many."""


VERBS: dict[str, Verb] = {
    "resume": Verb("play", becomes="pending", back="pause"),
    "pause": Verb("pause", becomes="paused", back="resume"),
    "retry": Verb("rotate-ccw", becomes="pending"),
    "cancel": Verb("ban", final=True),
    "remove": Verb("trash-2", final=True, held=True),
    "move": Verb("move", many=False),
    "relink": Verb("link", many=False),
    "edit": Verb("pencil", many=False),
}
"""In the order in which they are offered for many. What they are called and how they are told: `task.do.…` and its likes in
the catalogue."""

ORDERS: dict[str, tuple[str, ...]] = {
    "pending": ("pause", "edit", "move", "relink", "cancel", "remove"),
    "queued": ("pause", "edit", "move", "relink", "cancel", "remove"),
    "downloading": ("pause", "edit", "move", "relink", "cancel", "remove"),
    "paused": ("resume", "edit", "relink", "cancel", "remove"),
    "failed": ("retry", "relink", "remove"),
    "canceled": ("retry", "remove"),
    "completed": ("remove",),
}
"""What may be said to it in which state; the first is the obvious one."""

HERE = ("queued", "downloading", "completed")
"""States in which the reason tells why it is on its node; in the others, why it waits."""

LOOKS: dict[str, tuple[str, str]] = {
    "pending": ("clock", "plain"),
    "queued": ("hourglass", "plain"),
    "downloading": ("arrow-down", "accent"),
    "paused": ("pause", "warn"),
    "completed": ("check", "ok"),
    "failed": ("x", "error"),
    "canceled": ("ban", "plain"),
}
"""Icon and tone by state."""


def detail_row(task: TaskResource) -> dict[str, Any]:
    icon, tone = LOOKS.get(task.status, ("info", "plain"))
    return {
        "id": task.id,
        "name": task.name,
        "status": task.status,
        "icon": icon,
        "tone": tone,
        "kind": kind_of(task),
        "priority": task.priority,
        "tags": [f"{key}={value}" for key, value in sorted(task.tags.items())],
        "prefers": [f"{key}={value}" for key, value in sorted(task.prefer_tags.items())],
        "node": task.worker_id,
        "pinned": task.node,
        "pct": task.progress,
        "done": task.completed_bytes,
        "total": task.total_bytes,
        "speed": task.download_speed,
        "up": task.upload_speed,
        "connections": task.connections,
        "reason": task.reason.removeprefix(f"{task.worker_name}: "),
        "here": task.status in HERE and task.worker_id is not None,
        "error": task.error_message,
        "needs_link": task.needs_link,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "links": task.urls,
        "headers": task.secrets,
        "options": [[key, value] for key, value in sorted(task.options.items())],
        "checksum": task.checksum,
        "hash": task.info_hash,
        "dir": task.dir,
        "out": task.out,
        "bytes_on": task.bytes_on,
        "files": [[file.path, file.length] for file in task.files],
        "file_count": task.result.file_count if task.result else 0,
        "failures": [
            {
                "attempt": one.attempt,
                "node": one.worker_id,
                "place": one.worker_name,
                "at": round(one.at.timestamp()),
                "code": one.error_code,
                "text": one.message,
            }
            for one in reversed(task.failures)
        ],
        "created": round(task.created_at.timestamp()),
        "updated": round(task.updated_at.timestamp()),
        "not_before": round(task.not_before.timestamp()) if task.not_before else None,
        "orders": list(ORDERS.get(task.status, ("remove",))),
    }


def kind_of(task: TaskResource) -> str:
    """`torrent`, `metalink`, `magnet`, or the scheme of its first link."""
    return task.document or (task.url.partition(":")[0] if task.url else "")


def live_row(live: LiveResource) -> dict[str, Any]:
    """`cells`: a digit from 0 to 8 for each: how much of what it stands for is there."""
    return {
        "id": live.id,
        "running": live.running,
        "cells": cells(live.pieces, live.piece_count),
        "pieces": live.piece_count,
        "piece_length": live.piece_length,
        "files": [[file.path, file.length, file.completed, file.selected] for file in live.files[:LISTED]],
        "file_count": len(live.files),
        "servers": [[server.uri, server.speed] for server in live.servers[:32]],
        "seeders": live.seeders,
    }


def cells(pieces: str, count: int) -> str:
    """aria2's bitfield (hex, the first piece its highest bit) as at most `CELLS` digits; empty if it makes no sense."""
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes.fromhex(pieces))[:count]
    except ValueError:
        return ""
    if not count or len(bits) < count:
        return ""
    wanted = min(CELLS, count)
    edges = [round(place * count / wanted) for place in range(wanted + 1)]
    parts = (bits[begin:end] for begin, end in itertools.pairwise(edges))
    return "".join(str(part.count("1") * (LEVELS - 1) // len(part)) for part in parts)


def story(entries: Sequence[HistoryEntry]) -> list[dict[str, Any]]:
    """What happened to it, the newest first."""
    return [entry_row(entry) for entry in entries]
