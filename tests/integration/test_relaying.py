"""Real nodes ask each other for what only one of them can say or do."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import nginx, nodes, processes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


SIZE = 8_000_000
RATE = 100_000
"""Bytes per second of a connection: it runs for as long as the test does."""


async def test_pieces_and_leadership_from_any_node(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "slow.bin").write_bytes(bytes(SIZE))
    async with nginx.origin(served, tmp_path / "nginx") as web, nodes.cluster(tmp_path / "nodes", 3) as cluster:
        url = web.url("slow.bin", "slow", rate=RATE)
        leader = await cluster.leader()
        status, task = await leader.post("/tasks", {"url": url})
        assert status == 201, task

        async def told_of() -> list[dict[str, Any]]:
            answers = [await node.get(f"/tasks/{task['id']}/live") for node in cluster.nodes]
            return [body for code, body in answers if code == 200 and body["running"] and body["files"]]

        async def by_all() -> list[dict[str, Any]]:
            told = await told_of()
            return told if len(told) == 3 else []

        for told in await processes.until(by_all, "every node tells of its pieces", timeout=30):
            assert told["piece_count"] >= 1 and told["files"][0]["length"] == SIZE
            assert told["files"][0]["path"] == "slow.bin"
            assert told["servers"][0]["uri"] == url
        heir, other = [node for node in cluster.nodes if node is not leader]
        status, body = await other.post("/cluster/transfer", {"node": heir.name})
        assert (status, body["leader"]["name"]) == (200, heir.name), body
        assert await cluster.leader() is heir
        status, body = await leader.post("/cluster/transfer", {"node": heir.name})
        assert (status, body["code"]) == (409, "conflict")
