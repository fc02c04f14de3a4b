"""40 files over 4 hosts with an uplink of 20 Mbit/s each: the cluster, four aria2c fed by hand, what the links could carry.

"By hand" knows every size beforehand and gives the largest file that is left to the host with the least to do; the lists are
in its hosts' hands before the clock starts.
"""

import asyncio
import random
import time
from collections.abc import Callable

from ariacluster_node.adapters.aria2.locate import locate
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.origin import LanOrigin
from tests.support import processes

from .lines import Line
from .rounds import completed, listed, medians

HOSTS = 4
FILES = 40
RATE_BITS = 20_000_000
SIZES = random.Random(5)

AIM = 0.97


async def measure(mean: int, rounds: int, progress: Callable[[str], None]) -> list[Line]:
    """The medians of so many rounds. `mean`: bytes of a file on average; the sizes differ by 60 percent up and down."""
    sizes = [int(mean * SIZES.uniform(0.4, 1.6)) for _ in range(FILES)]
    by_hand, ours = await medians(rounds, lambda which: _round(sizes, which, progress))
    links = sum(sizes) * 8 / (HOSTS * RATE_BITS)
    part = f"(a) {FILES} files, {HOSTS} hosts of 20 Mbit/s"
    against = {"four aria2c fed by hand": (by_hand, f"≥ {AIM}"), "the sum of the links": (links, "")}
    return [
        Line(part=part, what=f"against {what}", ours=ours, best=best, unit="s", ratio=best / ours, aim=aim)
        for what, (best, aim) in against.items()
    ]


async def _round(sizes: list[int], which: str, progress: Callable[[str], None]) -> tuple[float, float]:
    """Seconds by hand, and of the cluster."""
    async with Lab(hosts=HOSTS) as lab:
        origin = await lab.origin()
        for host in lab.hosts:
            await host.shape("20mbit")
        progress(f"four aria2c fed by hand, {which}")
        by_hand = await _by_hand(lab, origin, sizes)
        progress(f"the cluster, {which}")
        return by_hand, await _cluster(lab, origin, sizes)


async def _by_hand(lab: Lab, origin: LanOrigin, sizes: list[int]) -> float:
    """Seconds until the last of four aria2c ends."""
    program = (await locate()).path
    shares: list[list[int]] = [[] for _ in lab.hosts]
    loads = [0] * len(shares)
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        least = loads.index(min(loads))
        shares[least].append(number)
        loads[least] += sizes[number]
    commands = []
    for host, share in zip(lab.hosts, shares, strict=True):
        urls = [origin.url(f"/bytes/{sizes[n]}/hand{n}") for n in share]
        commands.append((host, listed(program, host.data.parent / "by-hand", urls)))
    begun = time.perf_counter()
    ended = await asyncio.gather(*(host.exec(*command) for host, command in commands))
    taken = time.perf_counter() - begun
    assert all(ran.code == 0 for ran in ended), ended
    return taken


async def _cluster(lab: Lab, origin: LanOrigin, sizes: list[int]) -> float:
    """Seconds from the first submit to the completion of the last task."""
    await asyncio.gather(*(host.start() for host in lab.hosts))
    await lab.alive(lab.hosts)
    await lab.one_cluster(within=20)

    async def all_vote() -> bool:
        said = (await lab.said()).values()
        return all(status and status["cluster"]["voters"] == 3 and status["active_workers"] == HOSTS for status in said)

    await lab.until(all_vote, "three of them vote", within=30)
    urls = [origin.url(f"/bytes/{size}/cluster{number}") for number, size in enumerate(sizes)]
    begun = time.perf_counter()
    async with lab.hosts[0].session() as session:
        tasks = [{"url": url, "out": f"cluster{number}"} for number, url in enumerate(urls)]
        async with session.post("/tasks/batch", json={"tasks": tasks}) as answer:
            told = await answer.json()
            assert answer.ok and not told["refused"], told
        await processes.until(lambda: completed(session, FILES), "all are completed", timeout=600)
    taken = time.perf_counter() - begun
    _check(lab.hosts, sizes)
    return taken


def _check(hosts: list[Host], sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        found = [path.stat().st_size for host in hosts if (path := host.downloads / f"cluster{number}").exists()]
        assert found == [size], (number, size, found)
