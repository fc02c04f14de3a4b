"""The web app of a whole node: it comes up with it, comes back when it dies, and is gone when the node is."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.support import ports
from tests.support.nodes import Node
from tests.support.processes import until

pytestmark = pytest.mark.integration


async def page(port: int, path: str = "/") -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", timeout=aiohttp.ClientTimeout(10)) as response,
    ):
        return response.status, await response.text()


async def shows(node: Node) -> bool:
    """Its web app has heard of it."""
    try:
        status, text = await page(node.ui_port, "/ui/boot")
    except aiohttp.ClientError:
        return False
    return status == 200 and f'"name":"{node.name}"' in text


async def webapps(node: Node) -> list[psutil.Process]:
    return [p for p in await node.process.family() if "ariacluster_ui.main" in " ".join(p.cmdline())]


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose web app shows it."""
    node = Node("node1", tmp_path, "test-webapp")
    node.ui_port = ports.free_port()
    await node.start("--no-mdns")
    try:
        await node.ready()
        await node.process.wait_until(lambda: shows(node), "the web app shows the node", timeout=30)
        yield node
    finally:
        await node.stop()


async def test_it_lives_and_dies_with_its_node(node: Node) -> None:
    status, text = await page(node.ui_port)
    assert status == 200
    assert "Aria Cluster" in text
    assert (await node.get("/nodes"))[1][0]["ui_port"] == node.ui_port

    [first] = await webapps(node)
    first.kill()
    await node.process.wait_until(lambda: shows(node), "it is back", timeout=30)
    [second] = await webapps(node)
    assert second.pid != first.pid

    await node.kill()
    await until(lambda: not lives(second), "it has ended", timeout=15)


async def test_a_node_that_stops_does_what_its_web_app_still_asks(node: Node) -> None:
    [app] = await webapps(node)
    node.process.signal(signal.SIGTERM)
    answers: list[int] = []
    while True:
        try:
            status, _ = await node.post("/tasks", {"url": f"http://127.0.0.1:9/{len(answers)}", "paused": True})
        except aiohttp.ClientError:
            status = 0
        if not lives(app):
            break
        answers.append(status)
    assert set(answers) == {201}
