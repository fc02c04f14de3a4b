"""This version and the next one run together, and are updated one node after the other."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import nodes
from tests.support.nodes import Node
from tests.support.processes import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEXT = (sys.executable, "-m", "tests.support.next_version")


async def names(node: Node) -> set[str]:
    return {entry["name"] for entry in (await node.get("/nodes"))[1]}


async def shout(node: Node, name: str, *, rashly: bool = False) -> tuple[int, Any]:
    me = (await node.get("/status"))[1]["node"]["id"]
    return await node.post("/shout", {"node": me, "name": name, "rashly": rashly})


async def test_a_mixed_pair_works_and_says_nothing_that_one_of_them_does_not_understand(tmp_path: Path) -> None:
    async with nodes.cluster(tmp_path, count=2, programs=(None, NEXT)) as pair:
        old, new = pair.nodes
        for node in pair.nodes:
            status, task = await node.post("/tasks", {"url": f"http://127.0.0.1:9/{node.name}"})
            assert status == 201, task
        assert (await old.get("/nodes"))[1] and await names(old) == {old.name, new.name}
        versions = (await old.get("/status"))[1]["problems"]
        assert any("different versions (0.1.0, 0.2.0)" in problem for problem in versions), versions

        status, problem = await shout(new, "renamed")
        assert (status, problem["code"]) == (409, "not_spoken")
        assert old.name in problem["detail"], "it names who is to be updated"

        if (await pair.leader()) is new:
            await new.stop()
            await pair.leader()
            await new.start()
            await new.ready()
        assert (await pair.leader()) is old
        status, problem = await shout(new, "renamed", rashly=True)
        assert (status, problem["code"]) == (409, "not_spoken"), problem
        assert "leader" in problem["detail"]
        assert await names(new) == {old.name, new.name}

        await old.stop()
        old.program = NEXT
        await old.start()
        await old.ready()
        await pair.whole()

        async def understood() -> bool:
            return (await shout(new, "renamed"))[0] == 200

        await until(understood, "the new command is understood", timeout=10)
        for node in pair.nodes:

            async def renamed(node: Node = node) -> bool:
                return await names(node) == {old.name, "renamed"}

            await until(renamed, f"{node.name} has applied it", timeout=10)

        late = Node("late", tmp_path, old.cluster)
        await late.start("--no-mdns", "--join", old.address)

        async def refused() -> bool:
            return "Update Aria Cluster on late" in await late.process.text()

        try:
            await until(refused, "a node of the older version is turned away", timeout=20)
        finally:
            await late.stop()
