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


async def refused(node: Node, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Start a node that must not start: the one sentence that it said; nothing of it is left running."""
    await node.start("--no-mdns", *arguments, env=env)
    code = await node.process.wait(timeout=20)
    assert code == 1
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
    said = await refused(node, "--config", str(file))
    assert expected in said
    assert str(file) in said


async def test_unknown_variable(node: Node) -> None:
    said = await refused(node, env={"ARIACLUSTER_SLOT": "3"})
    assert "ARIACLUSTER_SLOT" in said
    assert "'slots'" in said


async def test_failures_of_tasks(tmp_path: Path) -> None:
    """404, 403, 410, refused, no DNS: failed at once or after retries, with aria2's code and a sentence."""
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
            web.url("there.bin", "busy"): (2, 29, "overloaded"),
            f"http://127.0.0.1:{closed}/x": (2, 1, "could not be reached"),
            "http://no-such-host.invalid/x": (2, 19, "could not be resolved"),
        }
        ids = {}
        for url in cases:
            status, task = await node.post("/tasks", {"url": url, "max_attempts": 2})
            assert status == 201
            ids[task["id"]] = url
        for task in await cluster.finished(list(ids), timeout=60):
            attempts, code, sentence = cases[ids[task["id"]]]
            assert task["status"] == "failed", task
            assert len(task["failures"]) == attempts, (task["url"], task["failures"])
            assert task["failures"][-1]["error_code"] == code, task["failures"]
            assert sentence in task["error_message"], task["error_message"]


@asynccontextmanager
async def small_disk(folder: Path, megabytes: int) -> AsyncIterator[Path]:
    folder.mkdir()
    if trouble := await run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)):
        pytest.skip(f"no small disk can be made here: {trouble}")
    try:
        yield folder
    finally:
        assert not await run("umount", str(folder))


async def test_no_space_left(tmp_path: Path) -> None:
    """The disk fills up in the middle: the task says so with aria2's code, waits, and its end gives the room back."""
    content = tmp_path / "content"
    content.mkdir()
    with (content / "large.bin").open("wb") as file:
        file.truncate(450_000_000)
    async with small_disk(tmp_path / "small", 300) as small, nginx.origin(content, tmp_path / "nginx") as web:
        node = Node("alone", tmp_path, "bad-days")
        try:
            await node.start("--no-mdns", "--dir", str(small))
            await node.ready()
            _, task = await node.post("/tasks", {"url": web.url("large.bin")})

            async def failed() -> Any:
                _, now = await node.get(f"/tasks/{task['id']}")
                return now if now["failures"] and "has only" in now["reason"] else None

            now = await processes.until(failed, "it ran into the end of the disk", timeout=40)
            assert now["status"] == "pending"
            assert now["failures"][-1]["error_code"] == 9
            assert "disk of the node is full" in now["failures"][-1]["message"]
            await node.post(f"/tasks/{task['id']}/cancel")
            await processes.until(lambda: psutil.disk_usage(str(small)).percent < 5, "the room is given back")
        finally:
            await node.stop()


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
            assert "alone has only" in now["reason"]
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
