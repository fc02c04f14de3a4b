"""The cluster at a glance: the numbers, and what a person should see to, the worst first."""

from collections.abc import Mapping
from typing import Any

from ariacluster.wire.resources import NodeResource, StatusResource
from ariacluster_ui.words import t

ACTIVE = ("downloading", "delivering")
WAITING = ("pending", "queued")
MAX_PROBLEMS = 6


def glance(status: StatusResource, nodes: Mapping[str, NodeResource]) -> dict[str, Any]:
    """What every page shows of the cluster, and the dashboard's numbers."""
    there = [node for node in nodes.values() if node.status != "offline"]
    workers = [node for node in there if not node.witness]
    counts = status.tasks_by_status
    leader = status.cluster.leader
    return {
        "here": {"id": status.node.id, "name": status.node.name},
        "version": status.version,
        "cluster": status.cluster.name,
        "mode": status.cluster.mode,
        "leader": {"id": leader.id, "name": leader.name} if leader else None,
        "term": status.cluster.term,
        "voters": status.cluster.voters,
        "quorum": status.cluster.has_quorum,
        "online": len(there),
        "members": len(nodes),
        "down": status.download_speed,
        "up": status.upload_speed,
        "tasks": status.total_tasks,
        "counts": counts,
        "active": sum(counts.get(state, 0) for state in ACTIVE),
        "waiting": sum(counts.get(state, 0) for state in WAITING),
        "used": sum(min(node.used_slots, node.total_slots) for node in workers),
        "slots": sum(node.total_slots for node in workers),
        "disk_free": sum(node.disk_free for node in workers),
        "disk_total": sum(node.disk_total for node in workers),
        "problems": problems(status, nodes),
    }


def problems(status: StatusResource, nodes: Mapping[str, NodeResource]) -> list[dict[str, Any]]:
    """Each with its `tone` (error, warn), `icon`, `text`, and where to look (`to`, a path). At most `MAX_PROBLEMS`; the last
    one then tells of the rest."""
    found: list[dict[str, Any]] = []
    if status.cluster.leader is None:
        text = t("problem.no_leader") if status.cluster.has_quorum else t("problem.no_quorum")
        found.append({"tone": "error", "icon": "crown", "text": text, "to": "/nodes"})
    away = sorted((node for node in nodes.values() if node.status == "offline"), key=lambda node: node.name)
    if len(away) == 1:
        [node] = away
        text = t("problem.offline.witness" if node.witness else "problem.offline", node=node.name)
        found.append(
            {"tone": "error", "icon": "cloud-off", "text": text, "strong": node.name, "to": f"/nodes/{node.id}"}
        )
    elif away:
        names = _names([node.name for node in away])
        text = t("problem.offline_many", n=len(away), nodes=names)
        found.append({"tone": "error", "icon": "cloud-off", "text": text, "to": "/nodes?show=offline"})
    by_name = sorted(nodes.values(), key=lambda node: -len(node.name))
    for sentence in status.problems:
        about = next((node for node in by_name if sentence.startswith(f"{node.name} ")), None)
        problem = {"tone": "warn", "icon": "triangle-alert", "text": sentence, "to": None}
        if about is not None:
            problem |= {"strong": about.name, "to": f"/nodes/{about.id}"}
        found.append(problem)
    if len(found) > MAX_PROBLEMS:
        rest = len(found) - MAX_PROBLEMS + 1
        more = {"tone": "warn", "icon": "info", "text": t("problem.more", n=rest), "to": "/nodes"}
        found[MAX_PROBLEMS - 1 :] = [more]
    return found


def _names(names: list[str], most: int = 4) -> str:
    if len(names) <= most:
        return f"{', '.join(names[:-1])} {t('and')} {names[-1]}"
    return t("and_more", names=", ".join(names[: most - 1]), n=len(names) - most + 1)
