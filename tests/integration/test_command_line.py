"""The command line and one real node: what the unit tests try on a scripted one holds here, too."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support import nodes
from tests.support.fake_node import Ran, ariacluster
from tests.support.nodes import Node

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

NEVER = "http://127.0.0.1:9"


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with nodes.cluster(tmp_path, 1) as cluster:
        await cluster.leader()
        yield cluster.nodes[0]


async def test_a_day_at_the_terminal(node: Node, tmp_path: Path) -> None:
    async def run(*arguments: str) -> Ran:
        return await ariacluster(*arguments, url=node.address)

    async def listed(*arguments: str) -> list[dict[str, Any]]:
        return list(json.loads((await run("task", "ls", "-o", "json", "--all", *arguments)).out))

    links = tmp_path / "links.txt"
    links.write_text("\n".join(f"{NEVER}/{number}.iso" for number in range(1200)) + "\ngopher://x\n")
    ran = await run("add", "-i", str(links), "--paused", "--tag", "batch=7")
    assert ran.code == 1 and f"{links}:1201: gopher://x" in ran.err and "1,200 tasks added, 1 refused." in ran.err
    assert [task["name"] for task in await listed()] == [f"{number}.iso" for number in range(1200)]

    again = await run("add", f"{NEVER}/7.iso")
    first = (await listed("--search", "/7.iso"))[0]
    assert again.code == 1 and first["id"] in again.err and again.err.count("--force") == 1
    assert (await run("add", f"{NEVER}/7.iso", "--force", "--paused")).code == 0

    changed = await run("task", "edit", first["id"], "--priority", "urgent", "--out", "seven.iso", "--tag", "batch=")
    assert (changed.code, changed.err) == (0, "") and "seven.iso" in changed.out
    assert len(await listed("--tag", "batch=7")) == 1199
    assert [task["name"] for task in await listed("--search", "SEVEN")] == ["seven.iso"]
    assert (await listed("--sort", "-created"))[-1]["name"] == "0.iso"
    refused = await run("task", "edit", first["id"], "--to", "../up")
    assert refused.code == 1 and "argument: --to" in refused.err
    assert "seven.iso" in (await run("task", "show", first["id"])).out

    assert (await run("task", "rm", "--tag", "batch=7")).code == 1, "nobody is there to be asked"
    assert (await run("task", "cancel", "--state", "paused", "--search", "seven", "--yes")).out == "1 task canceled.\n"
    assert (await run("task", "rm", "--all", "--yes")).out == "1,201 tasks taken off the list.\n"
    assert await listed() == []

    told = [json.loads(line) for line in (await run("events", "--since", "0", "-o", "ndjson")).out.splitlines()]
    assert [event["seq"] for event in told] == sorted(event["seq"] for event in told)
    assert {"leader_elected", "task_submitted", "task_edited", "task_canceled", "task_removed"} <= {
        event["kind"] for event in told
    }
    since = str(told[-1]["seq"] - 1)
    assert len((await run("events", "--since", since)).out.splitlines()) == 1
    assert (await run("__complete", "node", "drain", "")).out.split("\t")[0] == node.name
