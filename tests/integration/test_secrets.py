"""Where the secrets of a task are not: in the log, at its chattiest, and on command lines, which any user may read."""

import asyncio
import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import nodes, origin
from tests.support.nodes import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BEARER, COOKIE, IN_URL, AS_OPTION, FTP = (f"{word}-5ec4e7" for word in ("bearer", "cookie", "url", "option", "ftp"))
SECRETS = (BEARER, COOKIE, IN_URL, AS_OPTION, FTP)
HEADERS = [f"Authorization: Bearer {BEARER}", f"Cookie: sid={COOKIE}; theme=dark"]


async def submit(cluster: Cluster, **body: Any) -> str:
    status, task = await cluster.nodes[0].post("/tasks", body)
    assert status == 201, task
    return str(task["id"])


async def command_lines(cluster: Cluster) -> str:
    """Of the node and all that it has started."""
    family = await cluster.nodes[0].process.family()
    assert any("aria2c" in process.name() for process in family)
    read = [Path(f"/proc/{process.pid}/cmdline").read_bytes() for process in family]
    return b"\n".join(read).replace(b"\0", b" ").decode()


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_secret_is_logged_or_told_on_a_command_line(form: str, tmp_path: Path) -> None:
    settings = {"ARIACLUSTER_LOG_LEVEL": "debug", "ARIACLUSTER_LOG_FORMAT": form}
    async with origin.serving() as site, nodes.cluster(tmp_path, 1, env=settings) as cluster:
        [node] = cluster.nodes
        port = site.url("").rpartition(":")[2]
        slow = await submit(cluster, url=site.url("/bytes/3000000/slow", rate=600_000), headers=HEADERS)
        login = await submit(cluster, url=f"http://ada:{IN_URL}@127.0.0.1:{port}/bytes/1000/login")
        failing: list[dict[str, Any]] = [
            {"url": site.url("/bytes/1000/gone", fail=404), "headers": HEADERS},
            {"url": site.url("/bytes/1000/shut", fail=403), "headers": HEADERS},
            {"url": f"http://ada:{IN_URL}@127.0.0.1:9/refused", "max_attempts": 1},
            {"url": f"http://ada:{IN_URL}@no-such-host.invalid/file", "max_attempts": 1},
            {"url": f"ftp://ada:{IN_URL}@127.0.0.1:9/file", "max_attempts": 1},
            {"url": "ftp://127.0.0.1:9/x", "options": {"ftp-user": "ada", "ftp-passwd": FTP}, "max_attempts": 1},
        ]
        options = {"http-user": "ada", "http-passwd": AS_OPTION}
        asked = await submit(cluster, url=site.url("/bytes/1000/asked", fail=401), options=options, max_attempts=1)
        ids = [await submit(cluster, **body) for body in failing]
        told = await command_lines(cluster)
        engine = await cluster.nodes[0].aria2c()
        await asyncio.to_thread(_end, engine)  # another one is told all of it anew
        status, problem = await node.post(
            "/tasks", {"url": f"http://ada:{IN_URL}@x/y", "headers": [*HEADERS, "broken"]}
        )
        assert status == 400, problem
        done = await cluster.finished([slow, login])
        assert [task["status"] for task in done] == ["completed", "completed"]
        told += await command_lines(cluster)
        await cluster.finished([*ids, asked])
        assert site.seen["/bytes/3000000/slow"][-1]["Authorization"] == f"Bearer {BEARER}", "they were used"
        assert COOKIE in site.seen["/bytes/3000000/slow"][-1]["Cookie"]
        assert await node.stop() == 0
        text = await node.process.text()
        kept = await asyncio.to_thread(_all_of, node.data)
    assert len(kept) > 1000 and b"sid=" not in kept
    for secret in SECRETS:
        assert secret.encode() not in kept, "on the disk they are sealed"
        assert secret not in told, [line for line in told.splitlines() if secret in line]
        assert secret not in text, [line for line in text.splitlines() if secret in line]
    assert "engine lost" in text and "attempt failed" in text
    if form == "json":
        lines = [json.loads(line) for line in text.splitlines()]
        assert all(line["on"] == node.name for line in lines), "and every line is JSON that says who wrote it"


def _all_of(folder: Path) -> bytes:
    """What stands in every file below."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def _end(process: psutil.Process) -> None:
    process.kill()
