"""Who votes when machines are few: a pair of which one is switched off, and a pair with a witness."""

import asyncio

import pytest

from . import available
from .host import Host
from .lab import Lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120), available.needed]


async def voting(lab: Lab, count: int, *, within: float = 20.0) -> None:
    async def so_many() -> bool:
        return all(status and status["cluster"]["voters"] == count for status in (await lab.said()).values())

    await lab.until(so_many, f"{count} vote", within=within)


async def download(lab: Lab, host: Host, name: str) -> str:
    """The name of the node that did it."""
    origin = await lab.origin()
    task = await host.post("/tasks", {"url": origin.url(f"/bytes/1000/{name}"), "out": name})

    async def node() -> str:
        found = await host.get(f"/tasks/{task['id']}")
        return str(found["worker_name"]) if found["status"] == "completed" else ""

    return await lab.until(node, f"{name} is downloaded", within=20)


async def test_of_a_pair_the_one_that_is_switched_off_says_goodbye_and_the_other_goes_on() -> None:
    """Whichever of the two: the leader, or the other one. Only a crash takes the majority away."""
    async with Lab(hosts=2) as lab:
        await asyncio.gather(*(host.start("--node-timeout", "4") for host in lab.hosts))
        await lab.alive()
        await lab.one_cluster(within=15)
        await voting(lab, 2)
        for number in range(2):
            leader = (await lab.hosts[number].status())["cluster"]["leader"]["name"]
            going = lab.host(leader) if number == 0 else next(h for h in lab.hosts if h.name != leader)
            staying = next(host for host in lab.hosts if host is not going)
            assert await going.stop() == 0
            await lab.one_cluster(within=10, members=2)
            assert await download(lab, staying, f"without-{going.name}-{number}") == staying.name
            status = await staying.status()
            assert (status["cluster"]["voters"], status["cluster"]["missing"]) == (1, [])
            await going.start("--node-timeout", "4")
            await lab.alive()
            await lab.one_cluster(within=15)
            await voting(lab, 2)


async def test_two_machines_and_a_witness_survive_the_loss_of_any_one() -> None:
    """The witness votes, needs no aria2c, and downloads nothing."""
    async with Lab(hosts=3) as lab:
        one, other, witness = lab.hosts
        await asyncio.gather(
            one.start("--node-timeout", "4"),
            other.start("--node-timeout", "4"),
            witness.start("--witness", "--node-timeout", "4"),
        )
        await lab.alive()
        await lab.one_cluster(within=15)
        await voting(lab, 3)
        for number in range(4):
            assert await download(lab, witness, f"file{number}") != witness.name
        [shown] = [node for node in await one.get("/nodes") if node["name"] == witness.name]
        assert (shown["witness"], shown["total_slots"], shown["trouble"], shown["engine"]) == (True, 0, "", "")
        assert "aria2c" not in (await witness.exec("ps", "-e", "-o", "comm")).output
        await one.kill()
        assert await download(lab, witness, "after") == other.name
