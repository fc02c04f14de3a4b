"""A LAN that falls apart: who goes on, who says that it cannot, and what all of them know once it is whole again.

Five hosts, of which three vote, for all tests of this file; each begins and ends with a LAN that is whole. The origin is in
reach of every side, so that downloads can go on there. All the while it is watched that no term has two leaders.
"""

import asyncio
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from ariacluster.wire.routes import STALE

from . import available
from .downloads import ALONE, tasks
from .host import Host
from .lab import Lab
from .origin import LanOrigin

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(150),
    pytest.mark.asyncio(loop_scope="module"),
    available.needed,
]

HOSTS = 5
NODE_TIMEOUT = "5"
"""Seconds, so that a partition outlasts it."""

FORMED_WITHIN = 15.0
DECIDES_WITHIN = 5.0
TELLS_WITHIN = 10.0
"""Until a host that is cut off knows: three pings that are lost, and a moment."""
ANSWERS_WITHIN = 3.0
"""For a host that knows that it is cut off."""
HEALED_WITHIN = 20.0

SIZE = 3_000_000
RATE = 400_000
"""Bytes, and bytes per second: downloads that run on while their side is cut off."""

WATCH_PERIOD_S = 0.1
FLAPS = 10
FLAP_S = 0.5


@dataclass
class Roles:
    """Who leads, who else votes and who follows before the cut; who was seen to lead since then, by term."""

    leader: Host
    voters: list[Host]
    learners: list[Host]
    led: dict[int, set[str]] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grown() -> AsyncIterator[Lab]:
    async with Lab(hosts=HOSTS) as lab:
        await asyncio.gather(
            *(host.start("--node-timeout", NODE_TIMEOUT, "--tag", f"host={host.name}") for host in lab.hosts)
        )
        await lab.alive(lab.hosts)
        yield lab


@asynccontextmanager
async def whole(lab: Lab) -> AsyncIterator[Roles]:
    """One LAN and one cluster of five with three voters and no tasks at the beginning; no two leaders in a term till the
    end."""
    try:
        await lab.heal()
        await lab.one_cluster(within=FORMED_WITHIN)
        roles = await lab.until(lambda: _roles(lab), "three of five vote", within=20)
        assert roles is not None
        await asyncio.gather(*(roles.leader.request("DELETE", f"/tasks/{i}") for i in await tasks(roles.leader)))
        async with one_leader_a_term(lab) as roles.led:
            yield roles
    except BaseException:
        for host in lab.hosts:  # pytest shows it with the failure
            sys.stderr.write(await host.log_tail() + "\n")
        raise


async def _roles(lab: Lab) -> Roles | None:
    """None until all tell the same, and it is as it shall be."""
    told = {tuple((node["name"], node["role"]) for node in await host.get("/nodes")) for host in lab.hosts}
    by_role: dict[str, list[Host]] = {"leader": [], "voter": [], "learner": []}
    for name, role in told.pop():
        by_role[role].append(lab.host(name))
    leaders, voters, learners = by_role.values()
    fit = not told and (len(leaders), len(voters), len(learners)) == (1, 2, 2)
    return Roles(leaders[0], voters, learners) if fit else None


@asynccontextmanager
async def one_leader_a_term(lab: Lab) -> AsyncIterator[dict[int, set[str]]]:
    """Asks every host all the time; the hosts that said to lead, with a quorum, by term."""
    led: defaultdict[int, set[str]] = defaultdict(set)

    async def watch(host: Host) -> None:
        while True:
            if status := await host.status():
                cluster = status["cluster"]
                if cluster["has_quorum"] and cluster["leader"] == status["node"]:
                    led[cluster["term"]].add(host.name)
            await asyncio.sleep(WATCH_PERIOD_S)

    watching = [asyncio.create_task(watch(host)) for host in lab.hosts]
    try:
        yield led
        assert not any(task.done() for task in watching), "it was watched till the end"
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    assert led, "somebody has led"
    assert {term: hosts for term, hosts in led.items() if len(hosts) > 1} == {}


def _all_of(led: dict[int, set[str]]) -> set[str]:
    return {name for names in led.values() for name in names}


async def part(lab: Lab, *sides: Sequence[Host]) -> None:
    """Nothing gets from one of these sides to another any more."""
    for one, other in itertools.combinations(sides, 2):
        await asyncio.gather(*(lab.cut(a, b) for a in one for b in other))


def task_of(origin: LanOrigin, name: str, *, on: Host | None = None, rate: int = 0) -> dict[str, Any]:
    """A small task, or with a `rate` one that takes its time; preferably `on` that host, and elsewhere without it."""
    size, options = (SIZE, {"rate": rate}) if rate else (100_000, {})
    return {
        "url": origin.url(f"/bytes/{size}/{name}", **options),
        "out": name,
        "options": ALONE,
        "prefer_tags": {"host": on.name} if on else {},
    }


async def submit(host: Host, task: dict[str, Any]) -> str:
    return str((await host.post("/tasks", task))["id"])


async def downloading(lab: Lab, asked: Host, task_id: str, on: Host) -> None:
    async def runs() -> bool:
        task = (await tasks(asked))[task_id]
        assert task["worker_name"] in (None, on.name)
        return bool(task["status"] == "downloading" and task["completed_bytes"] > 0)

    await lab.until(runs, f"it runs on {on.name}", within=10)


async def completed(lab: Lab, host: Host, *ids: str, within: float = 25.0) -> None:
    async def done() -> bool:
        known = await tasks(host)
        return all(known[task_id]["status"] == "completed" for task_id in ids)

    await lab.until(done, f"{host.name} knows as completed: {', '.join(ids)}", within=within)


async def on_disk(lab: Lab, host: Host, origin: LanOrigin, name: str) -> None:
    """The download has ended there, whatever the table says."""
    file, body = host.downloads / name, origin.body(f"/bytes/{SIZE}/{name}")

    async def whole_file() -> bool:
        return file.exists() and await asyncio.to_thread(file.read_bytes) == body

    await lab.until(whole_file, f"{name} is whole on {host.name}", within=20)


async def statuses(*hosts: Host) -> list[Any]:
    """`GET /status` of each."""
    return await asyncio.gather(*(host.get("/status") for host in hosts))


async def said_stale(host: Host, path: str) -> tuple[int, str | None]:
    """The status of a read, and whether it is marked as stale."""
    async with host.session() as session, session.get(path) as answer:
        await answer.read()
        return answer.status, answer.headers.get(STALE)


async def without_quorum(lab: Lab, hosts: Sequence[Host], task: dict[str, Any]) -> None:
    """Each of these says so, answers reads as stale, and refuses writes at once."""

    async def known() -> bool:
        return not any(status["cluster"]["has_quorum"] for status in await statuses(*hosts))

    await lab.until(known, "they know that they have no majority", within=TELLS_WITHIN)
    for host in hosts:
        assert await said_stale(host, "/tasks") == (200, "true")
        assert await said_stale(host, "/nodes") == (200, "true")
        begun = time.monotonic()
        code, problem = await host.call("POST", "/tasks", task)
        assert (code, problem["code"]) == (503, "no_quorum"), problem
        assert time.monotonic() - begun < ANSWERS_WITHIN
        assert (await host.status())["problems"], "and what a person can do"


async def the_same_everywhere(lab: Lab, origin: LanOrigin, ids: dict[str, str]) -> dict[str, Any]:
    """All five have one table of just these tasks (id by name), each completed, by the one host that has its file; by id."""

    async def agreed() -> dict[str, Any] | None:
        tables = await asyncio.gather(*(tasks(host) for host in lab.hosts))
        gists = [{i: (t["status"], t["attempt"], t["worker_name"]) for i, t in table.items()} for table in tables]
        done = all(status == "completed" for status, _, _ in gists[0].values())
        return tables[0] if done and all(gist == gists[0] for gist in gists) else None

    table = await lab.until(agreed, "all have the same table, and all is completed", within=HEALED_WITHIN)
    assert table is not None
    assert table.keys() == set(ids.values())
    files = {name: f"/bytes/{table[i]['total_bytes']}/{name}" for name, i in ids.items()}

    async def once() -> bool:
        return all(_having(lab, name) == [table[i]["worker_name"]] for name, i in ids.items())

    try:
        await lab.until(once, "each file is there once", within=10)
    except TimeoutError:
        where = {name: (_having(lab, name), table[i]["worker_name"]) for name, i in ids.items()}
        raise AssertionError(f"files on these hosts, by the table on that one: {where}") from None
    for name, task_id in ids.items():
        file = lab.host(table[task_id]["worker_name"]).downloads / name
        assert await asyncio.to_thread(file.read_bytes) == origin.body(files[name]), name
    return table


def _having(lab: Lab, name: str) -> list[str]:
    return [host.name for host in lab.hosts if (host.downloads / name).exists()]


async def test_the_majority_goes_on_and_the_minority_says_that_it_cannot(grown: Lab) -> None:
    """The leader and a learner are cut off. Their downloads are given to others meanwhile, and end on both sides: once the
    LAN is whole, each has been completed once."""
    lab = grown
    origin = await lab.origin()
    async with whole(lab) as was:
        minority = [was.leader, was.learners[0]]
        majority = [*was.voters, was.learners[1]]
        ids = {"before": await submit(was.leader, task_of(origin, "before", on=was.leader))}
        ids |= {
            f"runs-{host.name}": await submit(was.leader, task_of(origin, f"runs-{host.name}", on=host, rate=RATE))
            for host in (*minority, majority[0])
        }
        await completed(lab, was.leader, ids["before"])
        for host in (*minority, majority[0]):
            await downloading(lab, was.leader, ids[f"runs-{host.name}"], host)

        await part(lab, minority, majority)
        at_once = [asyncio.create_task(h.call("POST", "/tasks", task_of(origin, "at-once"))) for h in minority]
        cut_at = time.monotonic()
        ids["accepted"] = await submit(majority[0], task_of(origin, "accepted"))
        assert time.monotonic() - cut_at < DECIDES_WITHIN
        assert await said_stale(majority[2], "/tasks") == (200, "false")
        await without_quorum(lab, minority, task_of(origin, "refused"))
        for code, problem in await asyncio.gather(*at_once):
            # What the old leader had written down already it can only call unknown; what nobody took was refused.
            assert problem["code"] in ("no_quorum", "unknown_outcome"), (code, problem)
        assert time.monotonic() - cut_at < TELLS_WITHIN + ANSWERS_WITHIN

        for host in minority:
            await on_disk(lab, host, origin, f"runs-{host.name}")
            # Now the one that was begun anew elsewhere may end: later than this one, and yet it is the one that counts.
            origin.throttle(f"/bytes/{SIZE}/runs-{host.name}", None)
        await completed(lab, majority[1], *ids.values())

        await lab.heal()
        await lab.one_cluster(within=HEALED_WITHIN)
        table = await the_same_everywhere(lab, origin, ids)
        attempts = {name: table[i]["attempt"] for name, i in ids.items()}
        assert [attempts[f"runs-{host.name}"] for host in minority] == [2, 2], "they were taken over"
        untouched = f"runs-{majority[0].name}"
        assert (attempts["before"], attempts[untouched]) == (1, 1)
        assert origin.served[f"/bytes/{SIZE}/{untouched}"] == SIZE, "no byte was fetched twice"


async def test_without_any_majority_all_only_go_on_with_what_they_have(grown: Lab) -> None:
    """Two, two and one, a voter on each side: nobody accepts anything, and no download notices."""
    lab = grown
    origin = await lab.origin()
    async with whole(lab) as was:
        one, other = was.voters
        sides = [[was.leader, was.learners[0]], [one, was.learners[1]], [other]]
        at_work = [was.leader, was.learners[1], other]
        ids = {
            f"goes-on-{host.name}": await submit(other, task_of(origin, f"goes-on-{host.name}", on=host, rate=RATE))
            for host in at_work
        }
        for host in at_work:
            await downloading(lab, other, ids[f"goes-on-{host.name}"], host)

        await part(lab, *sides)
        await without_quorum(lab, lab.hosts, task_of(origin, "nobody-takes-it"))
        for host in at_work:
            await on_disk(lab, host, origin, f"goes-on-{host.name}")
        for host in lab.hosts:
            assert {task["status"] for task in (await tasks(host)).values()} == {"downloading"}, "nobody could say more"

        await lab.heal()
        await lab.one_cluster(within=HEALED_WITHIN)
        table = await the_same_everywhere(lab, origin, ids)
        assert {task["attempt"] for task in table.values()} == {1}
        for host in at_work:
            assert origin.served[f"/bytes/{SIZE}/goes-on-{host.name}"] == SIZE, "no byte was fetched twice"
        ids["after"] = await submit(other, task_of(origin, "after"))
        await the_same_everywhere(lab, origin, ids)


@pytest.mark.parametrize("deaf", ["follower", "leader"])
async def test_a_cut_of_one_way_between_the_leader_and_a_follower_is_no_matter_for_the_others(
    grown: Lab, deaf: str
) -> None:
    """Whichever of the two hears nothing of the other. The follower cannot follow, and does not disturb: the leader stays."""
    lab = grown
    origin = await lab.origin()
    async with whole(lab) as was:
        follower, *others = [*was.voters, *was.learners]
        speaker, hearer = (was.leader, follower) if deaf == "follower" else (follower, was.leader)
        await lab.cut(speaker, hearer, one_way=True)

        async def noticed() -> bool:
            missed = [[node["name"] for node in s["cluster"]["missing"]] for s in await statuses(was.leader, follower)]
            return missed == [[follower.name], [was.leader.name]]

        await lab.until(noticed, "the two miss each other", within=TELLS_WITHIN)
        assert await said_stale(follower, "/tasks") == (200, "true")
        ids = {}
        for host in (was.leader, *others):
            begun = time.monotonic()
            name = f"past-the-cut-{deaf}-{host.name}"
            ids[name] = await submit(host, task_of(origin, name, on=host))
            assert time.monotonic() - begun < DECIDES_WITHIN
        await completed(lab, was.leader, *ids.values())
        if deaf == "follower":  # once: that it has no leader, but a majority in reach, it says only after it has tried
            code, problem = await follower.call("POST", "/tasks", task_of(origin, "refused"))
            assert (code, problem["code"]) == (503, "no_leader"), problem

        await lab.heal()
        await lab.one_cluster(within=HEALED_WITHIN)
        await the_same_everywhere(lab, origin, ids)
        assert _all_of(was.led) == {was.leader.name}


async def test_a_leader_that_nobody_hears_is_succeeded(grown: Lab) -> None:
    """Nothing gets from it to anybody, while it hears them all."""
    lab = grown
    origin = await lab.origin()
    async with whole(lab) as was:
        others = [*was.voters, *was.learners]
        for host in others:
            await lab.cut(was.leader, host, one_way=True)
        begun = time.monotonic()
        ids = {"succeeded": await submit(was.voters[0], task_of(origin, "succeeded"))}
        assert time.monotonic() - begun < DECIDES_WITHIN
        await without_quorum(lab, [was.leader], task_of(origin, "refused"))
        await completed(lab, was.learners[0], *ids.values())

        await lab.heal()
        await lab.one_cluster(within=HEALED_WITHIN)
        await the_same_everywhere(lab, origin, ids)
        assert _all_of(was.led) - {was.leader.name}, "somebody else has led"


async def test_a_follower_that_comes_and_goes_disturbs_nobody(grown: Lab) -> None:
    """Cut off and back ten times in ten seconds: at most one other leader, and every task is completed."""
    lab = grown
    origin = await lab.origin()
    async with whole(lab) as was:
        flapping, others = was.voters[0], [was.leader, was.voters[1], *was.learners]
        ids: dict[str, str] = {}
        noticed = 0
        for number in range(FLAPS):
            await part(lab, [flapping], others)
            await asyncio.sleep(FLAP_S)
            name = f"meanwhile-{number}"
            ids[name] = await submit(others[number % len(others)], task_of(origin, name))
            noticed += await said_stale(flapping, "/tasks") == (200, "true")
            await lab.heal()
            await asyncio.sleep(FLAP_S)
        await lab.one_cluster(within=HEALED_WITHIN)
        await the_same_everywhere(lab, origin, ids)
        assert noticed, "it was cut off for long enough to miss the leader"
        assert len(was.led) <= 2, "leaders by term"
