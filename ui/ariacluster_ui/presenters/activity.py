"""What happened, as rows: which icon and tone it has, and where it leads."""

from typing import Any

from ariacluster.wire.resources import HistoryEntry

LOOKS: dict[str, tuple[str, str]] = {
    "task_submitted": ("plus", "plain"),
    "task_assigned": ("arrow-right", "plain"),
    "task_started": ("arrow-down", "accent"),
    "task_completed": ("check", "ok"),
    "task_attempt_failed": ("rotate-ccw", "warn"),
    "task_failed": ("x", "error"),
    "task_lost": ("unplug", "warn"),
    "task_released": ("undo-2", "plain"),
    "task_moved": ("move", "accent"),
    "task_paused": ("pause", "plain"),
    "task_resumed": ("play", "plain"),
    "task_retried": ("rotate-ccw", "plain"),
    "task_relinked": ("link", "plain"),
    "task_edited": ("pencil", "plain"),
    "task_canceled": ("ban", "plain"),
    "task_removed": ("trash-2", "plain"),
    "node_joined": ("log-in", "ok"),
    "node_left": ("log-out", "plain"),
    "node_lost": ("cloud-off", "error"),
    "node_back": ("heart-pulse", "ok"),
    "node_resigned": ("power-off", "plain"),
    "node_drained": ("inbox", "warn"),
    "node_undrained": ("play", "ok"),
    "node_tuned": ("sliders-horizontal", "plain"),
    "leader_elected": ("crown", "gold"),
    "settings_changed": ("settings", "plain"),
    "cluster_absorbed": ("merge", "ok"),
    "cluster_merged": ("merge", "ok"),
}
"""Icon and tone by kind; a kind of a newer node looks like a plain note."""

GROUPS: dict[str, tuple[str, ...]] = {
    "done": ("task_completed",),
    "failed": ("task_failed", "task_attempt_failed", "task_lost"),
    "tasks": tuple(kind for kind in LOOKS if kind.startswith("task_")),
    "nodes": tuple(kind for kind in LOOKS if kind.startswith("node_")),
    "leader": ("leader_elected", "cluster_absorbed", "cluster_merged"),
    "settings": ("settings_changed", "node_tuned"),
}
"""The filters of the page, and which kinds each lets through."""


def entry_row(entry: HistoryEntry) -> dict[str, Any]:
    """`strong`: the part of the text that is a name."""
    icon, tone = LOOKS.get(entry.kind, ("info", "plain"))
    to = f"/tasks/{entry.task}" if entry.task else f"/nodes/{entry.node}" if entry.node else None
    if entry.kind in ("task_removed", "node_left"):
        to = None
    strong = entry.task_name or entry.node_name or ""
    return {
        "seq": entry.seq,
        "at": round(entry.at.timestamp()),
        "kind": entry.kind,
        "icon": icon,
        "tone": tone,
        "text": entry.text,
        "strong": strong if strong in entry.text else "",
        "to": to,
        "node": entry.node,
        "who": entry.who,
    }


def shows(kind: str, group: str) -> bool:
    return group not in GROUPS or kind in GROUPS[group]
