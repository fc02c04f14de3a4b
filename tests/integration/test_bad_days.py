"""What goes wrong on a node's first day, and what a task's failure tells a person."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aria2c
import psutil
import pytest

from tests.support import nginx, nodes, ports, processes
from tests.support.nodes import Node

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def refused(node: Node, *arguments: str, env: dict[str, str] | None = None, code: int = 1) -> str:
    """Start a node that must not start: the one sentence that it said; nothing of it is left running. `code` 2 tells its
    supervisor that to start again is of no use."""
    await node.start("--no-mdns", *arguments, env=env)
    assert await node.process.wait(timeout=20) == code
    text = await node.process.text()
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, text
    assert await node.process.family() == []
    return errors[0]


async def run(*command: str) -> str:
    """Run a program of the system; what it complained of when it failed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    return (said.decode().strip() or str(process.returncode)) if process.returncode else ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node("alone", tmp_path, "bad-days")


@pytest.mark.parametrize("which", ["API", "consensus"])
async def test_port_taken(node: Node, which: str) -> None:
    port = node.port if which == "API" else node.port + 1
    with socket.create_server(("127.0.0.1", port)):
        said = await refused(node)
    assert str(port) in said
    assert which in said
    assert "--port" in said


async def test_download_folder_is_no_folder(node: Node) -> None:
    node.downloads.parent.mkdir(parents=True)
    node.downloads.write_text("a file")
    said = await refused(node)
    assert str(node.downloads) in said
    assert "--dir" in said


async def test_download_folder_not_writable(node: Node) -> None:
    said = await refused(node, "--dir", "/proc/downloads")
    assert "/proc/downloads" in said


async def test_aria2c_missing(node: Node) -> None:
    said = await refused(node, "--aria2c", "/nowhere/aria2c")
    assert "/nowhere/aria2c" in said


async def test_aria2c_too_old(node: Node, tmp_path: Path) -> None:
    old = tmp_path / "aria2c"
    program = await asyncio.to_thread(Path(aria2c.ARIA2C).read_bytes)
    old.write_bytes(program.replace(b"1.37.0", b"1.18.8"))  # the real one, that tells another version
    old.chmod(0o755)
    said = await refused(node, "--aria2c", str(old))
    assert "1.18.8" in said
    assert "1.36" in said


async def test_data_folder_in_use(node: Node, tmp_path: Path) -> None:
    await node.start("--no-mdns")
    try:
        await node.ready()
        other = Node("other", tmp_path, "bad-days")
        said = await refused(other, "--data", str(node.data))
        assert str(node.data) in said
        assert "in use" in said
        assert (await node.get("/readyz"))[0] == 200, "the first one was not disturbed"
    finally:
        await node.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slots = ", "not valid TOML"),
        ("solts = 3", "Did you mean 'slots'?"),
        ("slots = 'many'", "slots"),
        ("slots = 0", "slots"),
        ("tags = 3", "tags"),
    ],
)
async def test_broken_config(node: Node, tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    said = await refused(node, "--config", str(file), code=2)
    assert expected in said
    assert str(file) in said


async def test_unknown_variable(node: Node) -> None:
    said = await refused(node, env={"ARIACLUSTER_SLOT": "3"}, code=2)
    assert "ARIACLUSTER_SLOT" in said
    assert "'slots'" in said


async def test_failures_of_tasks(tmp_path: Path) -> None:
    """404, 403, 410, refused, no DNS: failed at once or after retries, with aria2's code and a sentence. A server that is busy
    and says when to come again is taken at its word."""
    content = tmp_path / "content"
    content.mkdir()
    (content / "there.bin").write_bytes(b"x" * 1000)
    closed = ports.free_port()
    async with nodes.cluster(tmp_path / "nodes", 1) as cluster, nginx.origin(content, tmp_path / "nginx") as web:
        [node] = cluster.nodes
        cases = {
            web.url("missing.bin"): (1, 3, "no such file"),
            web.url("there.bin", "secret"): (1, 22, "new one"),
            web.url("there.bin", "gone"): (1, 22, "gone for good"),
            web.url("there.bin", "auth"): (1, 24, "login"),
            f"http://127.0.0.1:{closed}/x": (2, 1, "could not be reached"),
            "http://no-such-host.invalid/x": (2, 19, "could not be resolved"),
        }
        ids = {}
        for url in cases:
            status, task = await node.post("/tasks", {"url": url, "max_attempts": 2})
            assert status == 201
            ids[task["id"]] = url
        busy = web.url("there.bin", "busy")
        _, asked = await node.post("/tasks", {"url": busy, "max_attempts": 1})

        async def tried_again() -> Any:
            [task] = await cluster.tasks([asked["id"]])
            return task if len(task["failures"]) > 1 else None

        waiting = await processes.until(tried_again, "it is asked again when it said that one may", timeout=30)
        assert waiting["status"] != "failed", waiting
        assert {failure["kind"] for failure in waiting["failures"]} == {"throttled"}
        for task in await cluster.finished(list(ids), timeout=60):
            attempts, code, sentence = cases[ids[task["id"]]]
            assert task["status"] == "failed", task
            assert len(task["failures"]) == attempts, (task["url"], task["failures"])
            assert task["failures"][-1]["error_code"] == code, task["failures"]
            assert sentence in task["error_message"], task["error_message"]


SIZE = 120_000_000
"""Bytes of a download that lasts some ten seconds."""


@asynccontextmanager
async def small_disk(folder: Path, megabytes: int) -> AsyncIterator[Path]:
    folder.mkdir()
    if trouble := await run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)):
        pytest.skip(f"no small disk can be made here: {trouble}")
    try:
        yield folder
    finally:
        assert not await run("umount", str(folder))


def fill(filler: Path, left: int) -> None:
    """Write to `filler` until so many bytes are left on its disk, whatever else is written there meanwhile."""
    with filler.open("wb", buffering=0) as file:
        while psutil.disk_usage(str(filler.parent)).free > left:
            file.write(bytes(1_000_000))


async def test_no_space_left(tmp_path: Path) -> None:
    """Somebody else fills the disk in the middle: the download waits, says why, and goes on where it was when there is room."""
    content = tmp_path / "content"
    content.mkdir()
    with (content / "large.bin").open("wb") as file:
        file.truncate(SIZE)
    async with small_disk(tmp_path / "small", 300) as small, nginx.origin(content, tmp_path / "nginx") as web:
        node = Node("alone", tmp_path, "bad-days")
        try:
            await node.start("--no-mdns", "--dir", str(small))
            await node.ready()
            assert (await node.call("PATCH", "/settings", {"min_free": 160_000_000}))[0] == 200
            _, task = await node.post("/tasks", {"url": web.url("large.bin", "slow", rate=1_500_000)})
            path = f"/tasks/{task['id']}"

            async def half_way() -> bool:
                return bool((await node.get(path))[1]["completed_bytes"] > SIZE // 4)

            await processes.until(half_way, "a part of it is there", timeout=20)
            filler = small / "somebody-elses"
            await asyncio.to_thread(fill, filler, 36_000_000)

            async def waits() -> Any:
                _, now = await node.get(path)
                return now if "disk" in now["reason"] and "make room" in now["reason"] else None

            now = await processes.until(waits, "it says why it waits", timeout=20)
            assert now["status"] in ("queued", "downloading"), "its bytes are here, and nobody else could take it"
            assert now["failures"] == [], "aria2 never met the end of the disk"
            _, status = await node.get("/status")
            assert any("alone takes no tasks" in problem for problem in status["problems"]), status["problems"]

            filler.unlink()
            [now] = await nodes.Cluster([node]).finished([task["id"]])
            assert now["status"] == "completed", [(f["error_code"], f["message"]) for f in now["failures"]]
            assert (small / "large.bin").stat().st_size == SIZE
            assert await web.bytes_sent("/slow/large.bin") < SIZE + 10_000_000, "it went on where it was"
        finally:
            await node.stop()


async def test_a_disk_that_fills_up_is_eased(tmp_path: Path) -> None:
    """With another node at hand, the download goes there with its bytes, and is never stopped for want of room."""
    content = tmp_path / "content"
    content.mkdir()
    with (content / "large.bin").open("wb") as file:
        file.truncate(SIZE)
    async with (
        small_disk(tmp_path / "small", 300) as small,
        nginx.origin(content, tmp_path / "nginx") as web,
        nodes.cluster(tmp_path / "nodes", 2) as cluster,
    ):
        tight, roomy = cluster.nodes[1], cluster.nodes[0]
        await tight.stop()
        await tight.start("--no-mdns", "--join", roomy.address, "--dir", str(small))
        await cluster.whole()
        assert (await roomy.call("PATCH", "/settings", {"min_free": 100_000_000}))[0] == 200
        url = web.url("large.bin", "slow", rate=1_000_000)
        _, task = await tight.post("/tasks", {"url": url})
        if (await running(cluster, task["id"]))["worker_name"] != tight.name:
            assert (await roomy.post(f"/tasks/{task['id']}/move", {"node": tight.name}))[0] == 200
            await running(cluster, task["id"])
        filler = small / "somebody-elses"
        await asyncio.to_thread(fill, filler, 60_000_000)
        [now] = await cluster.finished([task["id"]])
        assert (now["status"], now["worker_name"], now["failures"]) == ("completed", roomy.name, []), now
        assert f"{tight.name} has only" in now["reason"], now["reason"]
        assert await web.bytes_sent("/slow/large.bin") < SIZE + 10_000_000, "it went on where it was"
        filler.unlink()


async def running(cluster: nodes.Cluster, task_id: str) -> dict[str, Any]:
    """The task, once its node has a part of it."""

    async def has_a_part() -> Any:
        [task] = await cluster.tasks([task_id])
        return task if task["status"] == "downloading" and task["completed_bytes"] > 5_000_000 else None

    found: dict[str, Any] = await processes.until(has_a_part, "a part of it is there", timeout=20)
    return found


async def test_too_full_to_begin(tmp_path: Path) -> None:
    """A download folder that is too full: the task is not lost, and says why it waits."""
    async with small_disk(tmp_path / "small", 8) as small:
        node = Node("alone", tmp_path, "bad-days")
        try:
            await node.start("--no-mdns", "--dir", str(small))
            await node.ready()
            _, task = await node.post("/tasks", {"url": "http://127.0.0.1:9/x"})

            async def told() -> Any:
                _, now = await node.get(f"/tasks/{task['id']}")
                return now if "free" in now["reason"] else None

            now = await processes.until(told, "the task says why it waits")
            assert now["status"] == "pending"
            assert "alone takes no tasks: Its disk has only" in now["reason"]
        finally:
            await node.stop()


async def test_a_log_that_cannot_be_written_ends_the_node_with_the_reason(node: Node) -> None:
    """It must not go on as if what it says were kept. What was acknowledged before is there when it is back."""
    await node.start("--no-mdns")
    await node.ready()
    _, first = await node.post("/tasks", {"url": "http://127.0.0.1:9/first"})
    written = max(path.stat().st_size for path in (node.data / "raft").rglob("*"))
    psutil.Process(node.process.pid).rlimit(psutil.RLIMIT_FSIZE, (written + 10_000, written + 10_000))

    async def ended() -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await node.post("/tasks", {"url": f"http://127.0.0.1:9/{'x' * 2000}"})
        return not node.process.running

    await processes.until(ended, "the node ends", timeout=40)
    assert await node.process.wait() == 1
    last = [line for line in (await node.process.text()).splitlines() if line.strip()][-1]
    assert "the node has to stop" in last, last
    assert "reason=" in last
    assert await node.process.family() == []
    try:
        await node.start("--no-mdns")
        await node.ready()
        status, _ = await node.get(f"/tasks/{first['id']}")
        assert status == 200
    finally:
        await node.stop()
