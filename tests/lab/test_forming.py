"""Nodes on a LAN become one cluster: many at once, with multicast that loses packets or comes late, and without multicast.

What is counted: the seconds that forming may take begin when the API of the last node answers (`/livez`), for ten Python
programs that start at once on a small machine need some seconds for that alone.
"""

import asyncio
import os

import pytest

from . import available
from .lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), available.needed]

HOSTS = 10
STORMS = int(os.environ.get("LAB_STORMS", "1"))
"""How often each storm is let loose."""

FORMED_WITHIN = 10.0
HEALED_WITHIN = 10.0
LATE_AFTER = 20.0


@pytest.mark.parametrize("lost", [0, 30], ids=lambda percent: f"{percent} percent lost")
@pytest.mark.parametrize("storm", range(STORMS))
async def test_ten_that_start_at_once_become_one_cluster(storm: int, lost: int) -> None:
    """Within 10 s of the last one's first answer, also when each mDNS packet is lost to each receiver by 30 percent."""
    async with Lab(hosts=HOSTS) as lab:
        await lab.multicast(lost)
        await asyncio.gather(*(host.start() for host in lab.hosts))
        await lab.alive(lab.hosts)
        await lab.one_cluster(within=FORMED_WITHIN)
        assert len(await lab.clusters()) == 1


@pytest.mark.parametrize("storm", range(STORMS))
async def test_founders_unite_when_multicast_comes_late(storm: int) -> None:
    """Ten that hear nobody for 20 s have founded one each. One cluster is left within 10 s of the first packet."""
    async with Lab(hosts=HOSTS) as lab:
        await lab.multicast("off")
        await asyncio.gather(*(host.start() for host in lab.hosts), asyncio.sleep(LATE_AFTER))
        await lab.alive(lab.hosts)

        async def alone() -> bool:
            return len(await lab.clusters()) == HOSTS

        await lab.until(alone, "every node has founded a cluster", within=FORMED_WITHIN)
        await lab.multicast("on")
        await lab.one_cluster(within=HEALED_WITHIN)


async def test_without_multicast_they_join_where_they_are_told_and_outlive_the_first() -> None:
    """Two join the address of the third, which then dies: the two elect a leader and a task is downloaded."""
    async with Lab(hosts=3) as lab:
        first, *others = lab.hosts
        # A new leader may send the task to the dead one, which it has to miss first.
        flags = ("--no-mdns", "--node-timeout", "4")
        await first.start(*flags)
        await asyncio.gather(*(host.start(*flags, "--join", first.api) for host in others))
        await lab.alive(lab.hosts)
        await lab.one_cluster(within=FORMED_WITHIN)

        async def all_vote() -> bool:
            return all(status and status["cluster"]["voters"] == 3 for status in (await lab.said()).values())

        await lab.until(all_vote, "all three vote", within=20)

        await first.kill()
        dead = first.name

        async def led() -> bool:
            leaders = [(status or {}).get("cluster", {}).get("leader") for status in (await lab.said()).values()]
            return all(leader and leader["name"] != dead for leader in leaders)

        await lab.until(led, "the two have a leader of their own", within=10)
        await lab.one_cluster(within=10, members=3)

        origin = await lab.origin()
        task = await others[0].post("/tasks", {"url": origin.url("/bytes/300000/file"), "out": "file"})

        async def completed() -> bool:
            return bool((await others[1].get(f"/tasks/{task['id']}"))["status"] == "completed")

        await lab.until(completed, "the task is completed", within=20)
        assert origin.served["/bytes/300000/file"] >= 300_000
        found = [path for host in others if (path := host.downloads / "file").exists()]
        assert [path.read_bytes() for path in found] == [origin.body("/bytes/300000/file")]


async def test_a_lan_without_ipv4_is_a_lan() -> None:
    """Unique local addresses only: they find each other, form one cluster, and download from one another's network."""
    async with Lab(hosts=3, ipv6_only=True) as lab:
        await asyncio.gather(*(host.start() for host in lab.hosts))
        await lab.alive(lab.hosts)
        await lab.one_cluster(within=FORMED_WITHIN)
        nodes = await lab.hosts[0].get("/nodes")
        assert {node["address"] for node in nodes} == {host.address for host in lab.hosts}
        origin = await lab.origin()
        task = await lab.hosts[1].post("/tasks", {"url": origin.url("/bytes/1000/file"), "out": "file"})

        async def completed() -> bool:
            return bool((await lab.hosts[2].get(f"/tasks/{task['id']}"))["status"] == "completed")

        await lab.until(completed, "the task is completed", within=20)


async def test_clusters_of_two_names_live_side_by_side() -> None:
    """Four on one LAN, started together: two clusters of two, and neither sees anything of the other."""
    async with Lab(hosts=4) as lab:
        names = ("attic", "cellar", "attic", "cellar")
        await asyncio.gather(
            *(host.start("--cluster", name) for host, name in zip(lab.hosts, names, strict=True)),
        )
        await lab.alive(lab.hosts)

        async def two_of_two() -> bool:
            said = (await lab.said()).values()
            return all(s and s["cluster"]["members"] == 2 and s["cluster"]["leader"] for s in said)

        await lab.until(two_of_two, "each name has a cluster of two", within=FORMED_WITHIN)
        said = await lab.said()
        for host, name in zip(lab.hosts, names, strict=True):
            cluster = said[host.name]["cluster"]
            assert (cluster["name"], cluster["others"]) == (name, [])
            assert said[host.name]["problems"] == []
        assert len(await lab.clusters()) == 2


async def test_a_node_that_comes_late_joins_what_is_there() -> None:
    """Nobody asks the LAN anew just then: the late one does."""
    async with Lab(hosts=3) as lab:
        *early, late = lab.hosts
        for host in early:  # one after the other
            await host.start()
            await lab.alive([host])
        founded = await lab.one_cluster(within=FORMED_WITHIN)
        await asyncio.sleep(5)
        await late.start()
        await lab.alive([late])
        assert await lab.one_cluster(within=FORMED_WITHIN) == founded
