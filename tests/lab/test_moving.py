"""Half-done downloads move with their bytes: drained nodes, a word of a person, and what dies on the way."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from . import available
from .downloads import ALONE, all_completed, arriving, downloading, found, on, submit, tasks, tidy
from .host import Host
from .lab import Lab
from .origin import LanOrigin

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), available.needed]

SIZE = 16_000_000
RATE = 1_500_000
"""Bytes, and bytes per second: downloads that last some ten seconds."""

PART = SIZE // 4
ALLOWED = 2 * 1024 * 1024
"""Bytes that may be fetched twice by a move."""

QUICK = ("--node-timeout", "4")


@asynccontextmanager
async def lan(hosts: int = 3, flags: Sequence[str] = QUICK) -> AsyncIterator[tuple[Lab, LanOrigin]]:
    async with Lab(hosts=hosts) as lab:
        origin = await lab.origin()
        await asyncio.gather(*(host.start(*flags) for host in lab.hosts))
        await lab.alive()
        await lab.one_cluster(within=15)

        async def all_online() -> bool:
            said = (await lab.said()).values()
            wanted = (len(lab.hosts), 1 if hosts < 3 else 3)
            return all(s and (s["active_workers"], s["cluster"]["voters"]) >= wanted for s in said)

        await lab.until(all_online, "everybody is there", within=20)
        yield lab, origin


def others(lab: Lab, host: Host) -> list[Host]:
    return [other for other in lab.hosts if other is not host]


async def whole(lab: Lab, origin: LanOrigin, task_id: str, name: str, *, by: Host, twice: int = ALLOWED) -> Host:
    """The one host that has it in the end, right to the last byte, and not more fetched twice than `twice`."""
    task = (await all_completed(lab, by, [task_id]))[task_id]
    path = f"/bytes/{SIZE}/{name}"
    [holder] = found(lab.hosts, name)
    assert holder is on(lab, task)
    assert await asyncio.to_thread((holder.downloads / name).read_bytes) == origin.body(path)
    assert origin.served[path] <= SIZE + twice, f"{origin.served[path] - SIZE} bytes were fetched twice"
    return holder


async def test_a_drained_node_hands_its_downloads_over_with_their_bytes() -> None:
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        task_id = await submit(first, origin, "big", rate=RATE, size=SIZE)
        before = await downloading(lab, first, task_id, least=PART)
        source = on(lab, before)
        await first.post(f"/nodes/{source.name}/drain", {})
        target = await whole(lab, origin, task_id, "big", by=first)
        assert target is not source
        task = (await tasks(first))[task_id]
        assert task["attempt"] == 2
        assert task["failures"] == []
        assert "is being drained" in task["reason"]
        node = await first.get(f"/nodes/{source.name}")
        assert (node["status"], node["used_slots"]) == ("draining", 0)
        await tidy(lab, lab.hosts)

        refused = await submit(first, origin, "pinned", node=source.name)

        async def told() -> bool:
            return "is being drained" in (await first.get(f"/tasks/{refused}"))["reason"]

        await lab.until(told, "it says why it waits")
        await first.post(f"/nodes/{source.name}/undrain")
        await all_completed(lab, first, [refused])


async def test_a_drained_node_may_finish_what_it_can() -> None:
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        task_id = await submit(first, origin, "big", rate=RATE, size=SIZE)
        source = on(lab, await downloading(lab, first, task_id))
        await first.post(f"/nodes/{source.name}/drain", {"finish_within": 60})
        assert await whole(lab, origin, task_id, "big", by=first, twice=0) is source


async def test_a_person_moves_a_download() -> None:
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        task_id = await submit(first, origin, "big", rate=RATE, size=SIZE)
        source = on(lab, await downloading(lab, first, task_id, least=PART))
        target = others(lab, source)[0]
        await first.post(f"/tasks/{task_id}/move", {"node": target.name})
        assert await whole(lab, origin, task_id, "big", by=first) is target
        await tidy(lab, lab.hosts)


async def test_the_source_dies_while_its_bytes_are_fetched() -> None:
    """They are given up: the download begins anew where it is, and is whole in the end."""
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        task_id = await submit(first, origin, "big", rate=RATE, size=SIZE)
        source = on(lab, await downloading(lab, first, task_id, least=PART))
        target, third = others(lab, source)
        await source.shape("8mbit")  # so that its bytes take their time
        await third.post(f"/tasks/{task_id}/move", {"node": target.name})
        await arriving(lab, target, task_id, "big")
        await source.kill()
        await source.shape(0)
        assert await whole(lab, origin, task_id, "big", by=third, twice=SIZE) is target
        await source.start(*QUICK)
        await lab.alive([source])
        await tidy(lab, lab.hosts)


async def test_the_target_dies_while_it_fetches_bytes() -> None:
    """The source still has them: whoever goes on, goes on at the byte."""
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        task_id = await submit(first, origin, "big", rate=RATE, size=SIZE)
        source = on(lab, await downloading(lab, first, task_id, least=PART))
        target, third = others(lab, source)
        await source.shape("8mbit")
        await third.post(f"/tasks/{task_id}/move", {"node": target.name})
        await arriving(lab, target, task_id, "big")
        await target.kill()
        assert "bytes fetched" not in await target.log_text(), "they had all come: what it holds is lost with it"
        await source.shape(0)
        assert await whole(lab, origin, task_id, "big", by=third) is not target
        await target.start(*QUICK)
        await lab.alive([target])
        await tidy(lab, lab.hosts)


async def test_a_file_that_changed_at_its_origin_is_not_spliced() -> None:
    async with lan() as (lab, origin):
        first = lab.hosts[0]
        old, new = origin.body(f"/bytes/{SIZE}/old"), origin.body(f"/bytes/{SIZE}/new")
        origin.put("/file", old)
        origin.throttle("/file", RATE)
        url = origin.url("/file")
        task_id = str((await first.post("/tasks", {"url": url, "out": "file", "options": ALONE}))["id"])
        source = on(lab, await downloading(lab, first, task_id, least=PART))
        target = others(lab, source)[0]
        await first.post(f"/tasks/{task_id}/pause")
        origin.put("/file", new)
        await first.post(f"/tasks/{task_id}/resume")
        await first.post(f"/tasks/{task_id}/move", {"node": target.name})
        await all_completed(lab, first, [task_id])
        [holder] = found(lab.hosts, "file")
        assert await asyncio.to_thread((holder.downloads / "file").read_bytes) == new
