"""Clusters that find each other late, or lose their majority: what becomes of their tasks, their downloads and their nodes."""

import asyncio
from typing import Any

import pytest

from . import available
from .downloads import ALONE, all_completed, downloading, submit, tasks
from .host import Host
from .lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), available.needed]

FORMED_WITHIN = 15.0
HEALED_WITHIN = 30.0
SIZE = 6_000_000
RATE = 600_000
"""Bytes, and bytes per second: downloads that run while their cluster moves."""

WAITS = {"out": "waits", "tags": {"no": "node"}}
"""Of a task that nobody takes."""


async def one_in_each(lab: Lab, *hosts: Host) -> None:
    """Every one of these has a cluster, and each its own."""

    async def apart() -> bool:
        said = await lab.said()
        ids = {(said[host.name] or {}).get("cluster", {}).get("id") for host in hosts}
        leaders = [(said[host.name] or {}).get("cluster", {}).get("leader") for host in hosts]
        return len(ids) == len(hosts) and all(ids) and all(leaders)

    await lab.until(apart, "each has a cluster of its own", within=FORMED_WITHIN)


async def test_two_lone_founders_become_one_and_no_running_download_notices() -> None:
    """Both have tasks: finished ones, running ones and waiting ones. All are there afterwards, once."""
    async with Lab(hosts=2) as lab:
        one, other = lab.hosts
        origin = await lab.origin()
        await lab.multicast("off")
        await asyncio.gather(one.start(), other.start())
        await lab.alive()
        await one_in_each(lab, one, other)
        finished = [await submit(host, origin, f"finished-{host.name}") for host in lab.hosts]
        for host, task_id in zip(lab.hosts, finished, strict=True):
            await all_completed(lab, host, [task_id])
        running = [await submit(host, origin, f"running-{host.name}", rate=RATE, size=SIZE) for host in lab.hosts]
        paused = await one.post(
            "/tasks", {"url": origin.url("/bytes/10/paused"), "out": "paused", "tags": {"no": "node"}}
        )
        for host, task_id in zip(lab.hosts, running, strict=True):
            await downloading(lab, host, task_id)

        await lab.multicast("on")
        await lab.one_cluster(within=HEALED_WITHIN)
        known = await all_completed(lab, one, [*finished, *running])
        assert set(known) == {*finished, *running, paused["id"]}
        assert known[paused["id"]]["status"] == "pending"
        assert {known[task_id]["attempt"] for task_id in (*finished, *running)} == {1}, "nothing was begun again"
        for host, task_id in zip(lab.hosts, running, strict=True):
            assert known[task_id]["worker_name"] == host.name
            path = f"/bytes/{SIZE}/running-{host.name}"
            assert origin.served[path] == SIZE, "no byte was fetched twice"
            assert (host.downloads / f"running-{host.name}").read_bytes() == origin.body(path)
        assert (await tasks(other)).keys() == known.keys()


async def test_two_grown_clusters_stay_apart_until_somebody_says_merge() -> None:
    """Two LANs of two hosts each are linked late. Each shows the other; one word makes them one, with all their tasks."""
    async with Lab(hosts=4) as lab:
        a, b, c, d = lab.hosts
        origin = await lab.origin()
        await lab.split(c, d)
        await asyncio.gather(*(host.start() for host in lab.hosts))
        await lab.alive()

        async def two_of_two() -> bool:
            said = await lab.said()
            return all(s and s["cluster"]["members"] == 2 and s["cluster"]["leader"] for s in said.values())

        await lab.until(two_of_two, "two clusters of two", within=FORMED_WITHIN)
        await lab.bridge()
        left = [await submit(a, origin, f"left{number}") for number in range(3)]
        running = await submit(a, origin, "running", rate=RATE, size=SIZE)
        await downloading(lab, a, running)
        right = [await submit(d, origin, f"right{number}") for number in range(3)]

        async def seen() -> bool:
            said = await lab.said()
            return all(s and len(s["cluster"]["others"]) == 1 for s in said.values())

        await lab.until(seen, "each sees the other", within=60)
        status = await a.status()
        assert status["cluster"]["others"][0]["members"] == 2
        assert any("cluster merge" in problem for problem in status["problems"])
        assert len(await lab.clusters()) == 2

        answer = await a.post("/cluster/merge", {})
        assert answer["id"] == (await d.status())["cluster"]["id"]
        await lab.one_cluster(within=HEALED_WITHIN, members=4)
        known = await all_completed(lab, b, [*left, *right, running])
        assert set(known) == {*left, *right, running}
        assert known[running]["attempt"] == 1
        assert origin.served[f"/bytes/{SIZE}/running"] == SIZE
        assert (await b.status())["problems"] == []


async def test_without_its_majority_a_cluster_says_so_and_is_recovered_on_a_word() -> None:
    """Two of three die. What runs goes on, reads are stale, writes are refused with the names of the missing; `recover`
    begins anew, and those who come back join with what they knew: also with what the survivor had never heard of."""
    async with Lab(hosts=3) as lab:
        origin = await lab.origin()
        await asyncio.gather(*(host.start() for host in lab.hosts))
        await lab.alive()
        await lab.one_cluster(within=FORMED_WITHIN)

        async def all_vote() -> bool:
            return all(s and s["cluster"]["voters"] == 3 for s in (await lab.said()).values())

        await lab.until(all_vote, "all three vote", within=20)
        survivor = lab.hosts[0]
        finished = await submit(survivor, origin, "finished")
        await all_completed(lab, survivor, [finished])
        node = (await survivor.status())["node"]["name"]
        running = (
            await survivor.post(
                "/tasks",
                {
                    "url": origin.url(f"/bytes/{SIZE}/running", rate=RATE),
                    "out": "running",
                    "node": node,
                    "options": ALONE,
                },
            )
        )["id"]
        await downloading(lab, survivor, running)
        before = (await survivor.status())["cluster"]["id"]
        for host in lab.hosts[1:]:
            await lab.cut(survivor, host)

        async def decide() -> Any:
            code, body = await lab.hosts[1].call("POST", "/tasks", {**WAITS, "url": origin.url("/bytes/1/unheard-of")})
            return body["id"] if code == 201 else None

        unheard_of = await lab.until(decide, "the majority goes on", within=10)
        await asyncio.gather(*(host.kill() for host in lab.hosts[1:]))

        async def refused() -> Any:
            code, body = await survivor.call("POST", "/tasks", {"url": origin.url("/bytes/1/no")})
            return body if code == 503 and body["code"] == "no_quorum" else None

        problem = await lab.until(refused, "writes are refused", within=10)
        assert all(host.name in problem["detail"] for host in lab.hosts[1:]), problem
        status = await survivor.status()
        assert {node["name"] for node in status["cluster"]["missing"]} == {host.name for host in lab.hosts[1:]}
        assert "cluster recover" in status["problems"][0]
        assert set(await tasks(survivor)) == {finished, running}
        code, body = await survivor.call("POST", "/cluster/recover", {"confirm": "yes"})
        assert (code, body["field"]) == (400, "confirm")

        answer = await survivor.post("/cluster/recover", {"confirm": before})
        assert answer["id"] != before
        assert answer["has_quorum"]
        later = await submit(survivor, origin, "later")
        known = await all_completed(lab, survivor, [finished, running, later])
        assert known[running]["attempt"] == 1
        assert origin.served[f"/bytes/{SIZE}/running"] == SIZE

        await lab.heal()
        await asyncio.gather(*(host.start() for host in lab.hosts[1:]))
        await lab.alive()
        assert await lab.one_cluster(within=HEALED_WITHIN) == answer["id"]

        async def united() -> bool:
            tables = [await tasks(host) for host in lab.hosts]
            return all(table.keys() == {finished, running, later, unheard_of} for table in tables)

        await lab.until(united, "everybody knows what anybody knew")
        assert (await survivor.status())["problems"] == []


async def test_a_cluster_that_was_recovered_while_the_others_lived_is_one_again_when_they_meet() -> None:
    """Somebody was too quick: both sides went on, and took tasks. Nothing is lost, and what was removed stays removed."""
    async with Lab(hosts=3) as lab:
        await asyncio.gather(*(host.start() for host in lab.hosts))
        await lab.alive()
        before = await lab.one_cluster(within=FORMED_WITHIN)

        async def all_vote() -> bool:
            return all(s and s["cluster"]["voters"] == 3 for s in (await lab.said()).values())

        await lab.until(all_vote, "all three vote", within=20)
        hasty, *others = lab.hosts

        async def take(host: Host, name: str) -> str:
            code, body = await host.call("POST", "/tasks", {**WAITS, "url": f"http://192.0.2.1/{name}"})
            return str(body["id"]) if code == 201 else ""

        both, removed = await take(hasty, "both"), await take(hasty, "removed")
        await lab.cut(hasty)
        there = await lab.until(lambda: take(others[0], "there"), "the majority goes on", within=10)
        await others[0].request("DELETE", f"/tasks/{removed}")

        async def recovered() -> Any:
            code, body = await hasty.call("POST", "/cluster/recover", {"confirm": before})
            return body["id"] if code == 200 else None

        after = await lab.until(recovered, "the other one is recovered", within=15)
        here = await take(hasty, "here")
        await lab.multicast("off")  # that it has another cluster now was announced to nobody, and is not said again
        await lab.heal()
        assert await lab.one_cluster(within=HEALED_WITHIN) == after

        async def united() -> bool:
            tables = [await tasks(host) for host in lab.hosts]
            return all(table.keys() == {both, there, here} for table in tables)

        await lab.until(united, "everybody knows what anybody knew")
