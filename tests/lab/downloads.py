"""What tests of a lab do with downloads: submit, watch, and judge what lies on the disks in the end."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .host import Host
from .lab import Lab
from .origin import LanOrigin

ALONE = {"split": "1", "max-connection-per-server": "1"}
"""One connection: with several, aria2 fetches some bytes twice in the end."""

FINAL = ("completed", "failed", "canceled")
STAGING = ".ariacluster"


async def submit(host: Host, origin: LanOrigin, name: str, *, rate: int = 0, size: int = 100_000, **fields: Any) -> str:
    """The id of a task for `/bytes/size/name`, over one connection, at `rate` bytes/s if that is given."""
    options: dict[str, int] = {"rate": rate} if rate else {}
    url = origin.url(f"/bytes/{size}/{name}", **options)
    return str((await host.post("/tasks", {"url": url, "out": name, "options": ALONE, **fields}))["id"])


async def tasks(host: Host) -> dict[str, Any]:
    """What this node knows of tasks, by id."""
    return {task["id"]: task for task in await host.get("/tasks?limit=1000")}


async def all_completed(lab: Lab, host: Host, ids: list[str], *, within: float = 40.0) -> dict[str, Any]:
    """What `host` says of all tasks, once these are completed."""

    async def done() -> bool:
        known = await tasks(host)
        return all(task_id in known and known[task_id]["status"] == "completed" for task_id in ids)

    await lab.until(done, "every task is completed", within=within)
    return await tasks(host)


async def downloading(lab: Lab, host: Host, task_id: str, *, least: int = 1) -> dict[str, Any]:
    """The task, once its node has so many bytes of it."""

    async def runs() -> dict[str, Any] | None:
        task: dict[str, Any] = (await tasks(host))[task_id]
        return task if task["status"] == "downloading" and task["completed_bytes"] >= least else None

    found = await lab.until(runs, f"{least} bytes are there", within=20)
    assert found is not None
    return found


async def arriving(lab: Lab, host: Host, task_id: str, name: str) -> None:
    """Until the first bytes of that file have come to its staging folder from another node. What the nodes tell of it is up
    to some seconds old, and all may have come by then."""
    file = host.downloads / STAGING / task_id / "data" / name

    async def some() -> bool:
        return await asyncio.to_thread(lambda: file.exists() and file.stat().st_blocks > 0)  # its length it has at once

    await lab.until(some, f"the first bytes are at {host.name}", within=20)


def found(hosts: Iterable[Host], name: str) -> list[Host]:
    """Those that have published a file of that name."""
    return [host for host in hosts if (host.downloads / name).exists()]


def on(lab: Lab, task: dict[str, Any]) -> Host:
    """The host whose node has it."""
    return lab.host(task["worker_name"])


def litter(hosts: Iterable[Host]) -> list[Path]:
    """Staging folders that are left."""
    return sorted(path for host in hosts for path in (host.downloads / STAGING).glob("*") if path.is_dir())


async def tidy(lab: Lab, hosts: list[Host], *, within: float = 15.0) -> None:
    """No staging folder is left anywhere."""

    async def clean() -> bool:
        return not await asyncio.to_thread(litter, hosts)

    await lab.until(clean, f"nothing is left in staging: {litter(hosts)}", within=within)
