"""Events of real nodes: a reader who loses its node goes on at another one, and hears every entry once."""

import asyncio
from pathlib import Path

import pytest

from ariacluster.client.stream import EventStream, Lost
from ariacluster.wire.events import Frame, Hello, History
from tests.support import nodes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NEVER = "http://127.0.0.1:9/file-{}.bin"


async def test_nothing_is_lost_or_told_twice_when_the_node_is_killed(tmp_path: Path) -> None:
    async with nodes.cluster(tmp_path, 3) as cluster:
        leader = await cluster.leader()
        first, second = [node for node in cluster.nodes if node is not leader]
        heard: list[str] = []
        told: list[Frame | Lost] = []
        wanted: set[str] = set()
        ready = asyncio.Event()

        async def listen() -> None:
            urls = [f"http://{node.address}" for node in (first, second)]
            async with EventStream(urls, topics=["history"]) as stream:
                async for frame in stream:
                    told.append(frame)
                    ready.set()
                    if isinstance(frame, History) and frame.entry.kind == "task_submitted" and frame.entry.task:
                        heard.append(frame.entry.task)
                    if len(wanted) == 40 and wanted <= set(heard):
                        return

        async def submit() -> None:
            await ready.wait()
            for number in range(40):
                if number == 15:
                    await first.kill()
                status, body = await leader.post("/tasks", {"url": NEVER.format(number)})
                assert status == 201, body
                wanted.add(body["id"])

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(listen())
            group.create_task(submit())
        assert len(heard) == len(set(heard)) == 40
        assert [type(frame) for frame in told if not isinstance(frame, History)] == [Hello, Lost, Hello]
        again = [frame for frame in told if isinstance(frame, Hello)][1]
        assert again.resumed and again.node.name == second.name
        seqs = [frame.entry.seq for frame in told if isinstance(frame, History)]
        assert seqs == sorted(set(seqs))
        assert await second.stop() == 0, "a reader holds nobody up"
