"""Hosts that change their address, lose their disk, or come back as two of the same: who is who stays right.

One cluster of three for all tests of this file, and a host beside it for copies; each begins with the three that vote.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from . import available
from .host import Host
from .lab import Lab
from .origin import LanOrigin

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
    available.needed,
]

MEMBERS = 3
FORMED_WITHIN = 15.0
VOTE_WITHIN = 20.0
FOUND_WITHIN = 20.0
OFFLINE_WITHIN = 15.0
REFUSED_WITHIN = 20.0

SIZE = 1_500_000
RATE = 500_000
"""Bytes, and bytes per second."""


@dataclass
class Trio:
    """The three by what they are now, and the host beside them."""

    leader: Host
    follower: Host
    third: Host
    spare: Host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lan() -> AsyncIterator[Lab]:
    async with Lab(hosts=MEMBERS + 1) as lab:
        yield lab


@asynccontextmanager
async def voting(lab: Lab) -> AsyncIterator[Trio]:
    """Three members that all vote, and nobody else; whatever was before."""
    try:
        *three, spare = await lab.look()
        if spare.facts.running:
            await spare.stop()
        await asyncio.gather(*(host.start() for host in three if not host.facts.running))
        await lab.alive()
        await lab.one_cluster(within=FORMED_WITHIN, members=MEMBERS)
        leader = await lab.until(lambda: _leader(lab), "all three vote", within=VOTE_WITHIN)
        assert leader is not None
        follower, third = (host for host in three if host is not leader)
        yield Trio(leader, follower, third, spare)
    except BaseException:
        for host in lab.hosts:  # pytest shows it with the failure
            sys.stderr.write(await host.log_tail() + "\n")
        raise


async def _leader(lab: Lab) -> Host | None:
    """None until all three vote and tell the same one."""
    clusters = [(status or {}).get("cluster", {}) for status in (await lab.said()).values()]
    names = {(cluster.get("leader") or {}).get("name") for cluster in clusters}
    if {cluster.get("voters") for cluster in clusters} != {MEMBERS} or len(names) != 1 or None in names:
        return None
    return lab.host(str(names.pop()))


async def nodes(host: Host) -> dict[str, Any]:
    """What this node says of all, by id."""
    return {node["id"]: node for node in await host.get("/nodes")}


async def id_of(host: Host) -> str:
    return str((await host.status())["node"]["id"])


async def downloads(lab: Lab, host: Host, name: str, *, asked: Host) -> None:
    """That very host downloads something, which `asked` is told."""
    origin = await lab.origin()
    url = origin.url(f"/bytes/100000/{name}")
    task = await asked.post("/tasks", {"url": url, "out": name, "node": await id_of(host)})

    async def done() -> bool:
        return bool((await asked.get(f"/tasks/{task['id']}"))["status"] == "completed")

    await lab.until(done, f"{host.name} has downloaded {name}", within=20)
    assert (host.downloads / name).read_bytes() == origin.body(url)


async def move(lab: Lab, host: Host, address: str) -> None:
    """Another IPv4 address for this host."""
    await host.readdress(address)
    await lab.look()
    assert host.address == address


async def known_at_its_address(lab: Lab, *moved: Host) -> None:
    """Every running node tells where these are now, that they are online, and the same members as before: no more."""
    running = await lab.running()
    ids = {host.name: await id_of(host) for host in moved}
    last: dict[str, dict[str, Any]] = {}

    async def known() -> bool:
        for host in running:
            last[host.name] = {i: (n["name"], n["address"], n["status"]) for i, n in (await nodes(host)).items()}
        expected = {ids[host.name]: (host.name, host.address, "online") for host in moved}
        return all(len(told) == MEMBERS and expected.items() <= told.items() for told in last.values())

    try:
        await lab.until(known, within=FOUND_WITHIN)
    except TimeoutError:
        raise AssertionError(f"not everybody knows {moved} there, and {MEMBERS} in all: {last}") from None


def let_go(origin: LanOrigin) -> None:
    """End its connections to an address that is gone: what waits to be sent there would keep them open for minutes."""
    assert origin._runner is not None
    assert origin._runner.server is not None
    for connection in origin._runner.server.connections:
        if connection.transport is not None:
            connection.transport.abort()


async def test_members_change_their_addresses_and_stay_the_same_members(lan: Lab) -> None:
    """A follower, then the leader; then another address of one is news to one that was off, and in the end all were."""
    lab = lan
    async with voting(lab) as now:
        await move(lab, now.follower, "10.77.0.101")
        await known_at_its_address(lab, now.follower)
        await downloads(lab, now.follower, "a-follower-moved", asked=now.third)

        await move(lab, now.leader, "10.77.0.102")
        await known_at_its_address(lab, now.leader)
        await downloads(lab, now.leader, "the-leader-moved", asked=now.follower)

        # One that is off meanwhile, and hears no multicast later, finds the one through the other.
        await now.third.stop()
        await move(lab, now.leader, "10.77.0.103")
        await known_at_its_address(lab, now.leader)
        await now.third.start("--no-mdns")
        await lab.alive()
        await lab.one_cluster(within=FOUND_WITHIN, members=MEMBERS)
        await known_at_its_address(lab, *lab.hosts[:MEMBERS])
        await downloads(lab, now.third, "found-through-the-other", asked=now.leader)

        # As when a router hands out other addresses over night: nobody is where anybody remembers.
        await now.third.stop()
        for number, host in enumerate(lab.hosts[:MEMBERS], 110):
            await move(lab, host, f"10.77.0.{number}")
        await now.third.start()
        await lab.alive()
        await lab.one_cluster(within=FOUND_WITHIN, members=MEMBERS)
        await known_at_its_address(lab, *lab.hosts[:MEMBERS])
        await downloads(lab, now.third, "all-moved", asked=now.leader)


async def test_a_host_whose_disk_was_wiped_is_a_new_node(lan: Lab) -> None:
    """The old one is offline and counts on as a voter; taken off, it makes room for the new one."""
    lab = lan
    async with voting(lab) as now:
        wiped, three = now.follower, lab.hosts[:MEMBERS]
        before = await id_of(wiped)
        await wiped.wipe()
        await wiped.start()
        await lab.alive()
        await lab.one_cluster(within=FORMED_WITHIN, members=MEMBERS + 1)
        after = await id_of(wiped)
        assert after != before

        async def told_apart() -> bool:
            told = [await nodes(host) for host in three]
            return all(
                len(t) == MEMBERS + 1
                and (t[before]["status"], t[before]["name"]) == ("offline", wiped.name)
                and (t[after]["status"], t[after]["name"]) == ("online", wiped.name)
                for t in told
            )

        await lab.until(told_apart, "the old one is offline, the new one online", within=OFFLINE_WITHIN)
        cluster = (await now.third.status())["cluster"]
        assert cluster["has_quorum"]
        assert [node["id"] for node in cluster["missing"]] == [before]
        assert (await nodes(now.third))[after]["role"] == "learner"
        await downloads(lab, wiped, "under-a-new-id", asked=now.leader)
        await downloads(lab, now.third, "asked-by-the-new", asked=wiped)

        await wiped.request("DELETE", f"/nodes/{before}")

        async def new_one_votes() -> bool:
            told = [await nodes(host) for host in three]
            return all(len(t) == MEMBERS and t[after]["role"] == "voter" for t in told)

        await lab.until(new_one_votes, "the new one votes", within=VOTE_WITHIN)


async def test_of_a_node_and_its_copy_only_the_first_runs(lan: Lab) -> None:
    """Whichever of the two that is. The other one ends, says why, and the cluster does not notice."""
    lab = lan
    async with voting(lab) as now:
        copied, elsewhere = now.follower, now.spare
        node, term = await id_of(copied), (await now.leader.status())["cluster"]["term"]

        await lab.clone(copied, elsewhere)
        await elsewhere.start()
        await refused(elsewhere, node, copied)
        await lab.one_cluster(members=MEMBERS)
        assert (await now.leader.status())["cluster"]["term"] == term
        await known_at_its_address(lab, copied)
        await downloads(lab, copied, "the-original", asked=now.third)

        await copied.stop()
        await lab.clone(copied, elsewhere)
        await elsewhere.start()
        await lab.alive()
        await lab.one_cluster(within=FOUND_WITHIN, members=MEMBERS)
        assert await id_of(elsewhere) == node
        await known_at_its_address(lab, elsewhere)
        await copied.start()
        await refused(copied, node, elsewhere)
        await lab.one_cluster(members=MEMBERS)
        assert (await now.leader.status())["cluster"]["term"] == term
        await known_at_its_address(lab, elsewhere)
        await downloads(lab, elsewhere, "the-copy", asked=now.third)

        await elsewhere.stop()  # and back again, for its log is the one that counts
        await lab.clone(elsewhere, copied)


async def refused(host: Host, node: str, other: Host) -> None:
    """Its node ends, and says where the `other` of that id runs and what may have happened."""
    assert await host.ended(REFUSED_WITHIN) == 1
    said = (await host.log_text()).splitlines()[-1]
    assert said.startswith(f"error: This node ({node}) runs already, as {other.name} at {other.api}."), said
    assert "data folder copied" in said


async def test_a_download_goes_on_soon_when_its_host_changes_its_address(lan: Lab) -> None:
    """Its connections are of the address that is gone, and nobody tells them so. The bytes that are there stay."""
    lab = lan
    origin = await lab.origin()
    async with voting(lab) as now:
        path = f"/bytes/{SIZE}/moving"
        url = origin.url(path, rate=RATE)
        node, options = await id_of(now.follower), {"split": "1"}
        body = {"url": url, "out": "moving", "node": node, "options": options}
        task = (await now.follower.post("/tasks", body))["id"]

        async def has_come_to(status: str) -> bool:
            told = await now.follower.get(f"/tasks/{task}")
            return bool(told["status"] == status and told["completed_bytes"] > 0)

        await lab.until(lambda: has_come_to("downloading"), "it runs", within=10)
        await move(lab, now.follower, "10.77.0.120")
        try:
            await lab.until(lambda: has_come_to("completed"), "it is completed", within=40)
        finally:
            let_go(origin)
        assert (now.follower.downloads / "moving").read_bytes() == origin.body(path)
        assert (await now.follower.get(f"/tasks/{task}"))["attempt"] == 1
        assert origin.served[path] < 1.5 * SIZE, "most bytes were fetched once"
