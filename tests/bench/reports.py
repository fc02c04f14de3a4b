"""What 32 nodes that report once a second cost their leader: `python -m tests.bench.reports`.

The leader's receiving side runs in this process, the nodes in another one, with real sockets on loopback between them.
Beside it the way that it was before: a whole report by HTTP POST each second, and a whole overview in the answer.
"""

import argparse
import asyncio
import random
import socket
import struct
import sys
import time
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp import web

from ariacluster.domain.commands import Register
from ariacluster.domain.member import Progress, Report
from ariacluster.wire.deltas import Heard
from ariacluster.wire.peers import Overview
from ariacluster_node.adapters.peers.http import HttpPeers
from ariacluster_node.api.answers import SERVICES
from ariacluster_node.api.app import make_app
from ariacluster_node.api.peers import require_member
from ariacluster_node.services.reports import Talk
from ariacluster_node.services.roster import Roster
from tests.support.fake_site import WELCOME, FakeSite, SiteNode, until

NODES = 32
DOWNLOADS = 10
PERIOD = 1.0
SETTLE = 2.0
"""Seconds before it is counted: connections open, and whole frames go once."""

OLD = "/old/reports"
WAYS = ("stream", "stream, all watch", "post", "post, all watch")


class OldFrame(msgspec.Struct, frozen=True, omit_defaults=True):
    report: Report
    watching: bool = False


class Cost(NamedTuple):
    """Per second of running: the leader's CPU (s), bytes to and from it."""

    cpu: float
    up: float
    down: float
    reports: float


class BusyNode:
    """A node with downloads of which two are done every ten seconds."""

    def __init__(self, number: int) -> None:
        self.id = f"{number:016x}"
        self._dice = random.Random(number)
        self._seconds = 0
        self._begun = 0
        self._tasks = dict(self._fresh() for _ in range(DOWNLOADS))

    def _fresh(self) -> tuple[str, Progress]:
        self._begun += 1
        return f"{self.id[-4:]}{self._begun:012x}", Progress(attempt=1, total=10**9, connections=5, active=True)

    def report(self) -> Report:
        self._seconds += 1
        for task, progress in self._tasks.items():
            speed = self._dice.randrange(10**6, 10**7)
            self._tasks[task] = msgspec.structs.replace(progress, completed=progress.completed + speed, speed=speed)
        if self._seconds % 5 == 0:
            del self._tasks[next(iter(self._tasks))]
            self._tasks.update([self._fresh()])
        speed = sum(progress.speed for progress in self._tasks.values())
        return Report(
            node=self.id,
            download_speed=speed,
            upload_speed=self._dice.randrange(10**5),
            disk_free=10**12 - self._seconds * 10**7,
            disk_total=2 * 10**12,
            cpu=self._dice.uniform(5, 30),
            memory=self._dice.uniform(30, 31),
            uptime=1000.0 + self._seconds,
            engine="1.37.0",
            peak_speed=5 * 10**7,
            pace=0.2,
            tasks=dict(self._tasks),
        )


async def old_way(request: web.Request) -> web.Response:
    require_member(request)
    frame = msgspec.msgpack.decode(await request.read(), type=OldFrame)
    roster: Roster = request.app[ROSTER]
    request.app[SERVICES].cluster.require_lead()
    roster.hear(frame.report)
    now = time.monotonic()
    overview = Overview(1, tuple(Heard(report, now - at) for report, at in roster.heard().values()))
    return web.Response(
        body=msgspec.msgpack.encode(overview if frame.watching else None), content_type="application/msgpack"
    )


ROSTER: web.AppKey[Roster] = web.AppKey("roster", Roster)


def traffic(runner: web.AppRunner) -> tuple[int, int]:
    """Bytes that came over and went out through the leader's connections: `tcp_info` of Linux."""
    came = went = 0
    assert runner.server
    for connection in runner.server.connections:
        assert connection.transport
        info = connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        acked, received = struct.unpack_from("QQ", info, 120)
        came, went = came + received, went + acked
    return came, went


async def measure(way: str, seconds: float) -> Cost:
    site = FakeSite()
    [leader] = await site.up("a")
    site.clock.monotonic = time.monotonic  # type: ignore[method-assign]
    for number in range(NODES):
        name = BusyNode(number).id
        await site.say(Register(msgspec.structs.replace(SiteNode(site, "n").me, id=name, name=name)))
    app = make_app(leader.services)
    app[ROSTER] = leader.roster
    app.router.add_post(OLD, old_way)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    nodes = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.reports", "--nodes", f"127.0.0.1:{runner.addresses[0][1]}", "--way", way
    )
    try:
        await until(lambda: len(leader.roster.heard()) == NODES, within_s=60)
        await asyncio.sleep(SETTLE)
        heard, hear = 0, leader.roster.hear

        def count(report: Report) -> None:
            nonlocal heard
            heard += 1
            hear(report)

        leader.roster.hear = count  # type: ignore[method-assign]
        came, went = traffic(runner)
        cpu, began = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        spent, passed = time.process_time() - cpu, time.monotonic() - began
        came_now, went_now = traffic(runner)
        return Cost(spent / passed, (came_now - came) / passed, (went_now - went) / passed, heard / passed)
    finally:
        nodes.kill()
        await nodes.wait()
        await runner.cleanup()


async def be_nodes(door: str, way: str) -> None:
    watching = way.endswith("watch")
    async with asyncio.TaskGroup() as group:
        for number in range(NODES):
            one = stream_reports if way.startswith("stream") else post_reports
            group.create_task(one(door, BusyNode(number), watching))
            await asyncio.sleep(PERIOD / NODES)


async def stream_reports(door: str, node: BusyNode, watching: bool) -> None:
    peers = HttpPeers()
    peers.key = bytes.fromhex(WELCOME.key)
    await peers.start()
    async with peers.stream(door) as stream, asyncio.TaskGroup() as group:
        talk = Talk(stream)

        async def listen() -> None:
            while True:
                await talk.hear()

        group.create_task(listen())
        while True:
            await talk.tell(node.report(), time.monotonic(), watching=watching)
            await asyncio.sleep(PERIOD)


async def post_reports(door: str, node: BusyNode, watching: bool) -> None:
    peers = HttpPeers()
    peers.key = bytes.fromhex(WELCOME.key)
    async with aiohttp.ClientSession(headers=peers._credentials()) as session:
        while True:
            body = msgspec.msgpack.encode(OldFrame(node.report(), watching))
            async with session.post(
                f"http://{door}{OLD}", data=body, headers={"Content-Type": "application/msgpack"}
            ) as answer:
                assert answer.status == 200
                msgspec.msgpack.decode(await answer.read(), type=Overview | None)
            await asyncio.sleep(PERIOD)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each way")
    parser.add_argument("--nodes", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS)
    asked = parser.parse_args()
    if asked.nodes:
        await be_nodes(asked.nodes, asked.way)
        return
    sys.stdout.write(f"{NODES} nodes with {DOWNLOADS} downloads each, once a second, {asked.seconds:g} s each way\n")
    sys.stdout.write(f"{'way':20}{'reports/s':>12}{'CPU of a core':>16}{'kB/s up':>10}{'kB/s down':>11}\n")
    for way in [asked.way] if asked.way else WAYS:
        cost = await measure(way, asked.seconds)
        sys.stdout.write(
            f"{way:20}{cost.reports:12.1f}{cost.cpu:15.1%} {cost.up / 1000:10.1f}{cost.down / 1000:11.1f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
