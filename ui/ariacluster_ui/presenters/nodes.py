"""Nodes as rows that the browser keeps: what rarely changes (`member_row`), and what does all the time (`load_row`)."""

from typing import Any

from ariacluster.wire.resources import NodeResource

COLOURS = 8

FULL, NEARLY_FULL = 0.93, 0.85
"""Used shares of a disk from which on its bar is red, and yellow."""


def member_row(node: NodeResource, *, leader: str | None, colour: int) -> dict[str, Any]:
    """Who it is and how it does. `colour`: its place in the row of node colours."""
    return {
        "id": node.id,
        "name": node.name,
        "c": colour % COLOURS,
        "status": node.status,
        "leads": node.id == leader,
        "role": node.role,
        "witness": node.witness,
        "address": f"[{node.address}]:{node.port}" if ":" in node.address else f"{node.address}:{node.port}",
        "host": node.address,
        "ui": node.ui_port,
        "tags": [f"{key}={value}" if value else key for key, value in sorted(node.tags.items())],
        "slots": node.total_slots,
        "down_limit": node.download_limit,
        "up_limit": node.upload_limit,
        "drain_until": node.drain_until.timestamp() if node.drain_until else None,
        "trouble": node.trouble,
        "version": node.version,
        "engine": node.engine,
        "peak": node.peak_speed,
    }


def load_row(node: NodeResource) -> dict[str, Any]:
    """What it does now: disk in bytes (rounded to 10 MB, so that it is not news each second), loads in whole percent."""
    return {
        "used": node.used_slots,
        "left": node.tasks_left,
        "free": round(node.disk_free, -7),
        "disk": node.disk_total,
        "tone": disk_tone(node.disk_free, node.disk_total),
        "cpu": round(node.cpu_usage),
        "mem": round(node.memory_usage),
        "since": _minute(node),
        "seen": round(node.last_seen.timestamp()) if node.last_seen and node.status == "offline" else None,
    }


def disk_tone(free: int, total: int) -> str:
    used = 1 - free / total if total else 0.0
    return "error" if used >= FULL else "warn" if used >= NEARLY_FULL else "ok"


def _minute(node: NodeResource) -> int:
    """Its uptime in whole minutes, in seconds."""
    return int(node.uptime) // 60 * 60
