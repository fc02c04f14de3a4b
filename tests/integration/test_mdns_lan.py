"""A LAN of two machines and a switch, in network namespaces that die with the test."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

pytestmark = pytest.mark.integration

NODE = """
import asyncio, json, socket, struct, structlog, sys
import aiohttp
from aiohttp import web
from zeroconf._protocol.incoming import DNSIncoming
from ariacluster.domain.formation import Heard
from ariacluster_node import lifecycle
from ariacluster_node.adapters.mdns import discovery as module

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
module.TEND_PERIOD = 0.3
goodbyes = set()

class Wire(asyncio.DatagramProtocol):
    def datagram_received(self, data, peer):
        message = DNSIncoming(data)
        if message.is_response():
            goodbyes.update(f"{peer[0]} {record.name}" for record in message.answers() if record.ttl == 0)

async def listen_on_the_wire():
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    wire.bind(("224.0.0.251", 5353))
    group = socket.inet_aton("224.0.0.251") + struct.pack("@ii", 0, socket.if_nametoindex("eth0"))
    wire.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    await asyncio.get_running_loop().create_datagram_endpoint(Wire, sock=wire)

async def open_door(door):
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(2)) as session:
            async with session.get(f"http://{door}/") as response:
                return await response.text()
    except Exception as error:
        return repr(error)

async def main(me, other, bind):
    await listen_on_the_wire()
    app = web.Application()
    async def whoever(request):
        return web.Response(text=me)
    app.router.add_get("/", whoever)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, lifecycle.listen(bind, 8000, "API")).start()
    discovery = module.ZeroconfDiscovery(bind)
    await discovery.start(Heard(node_id=me, node_name="Büro", cluster_name="lab", address=bind, port=8000))
    loop = asyncio.get_running_loop()
    end = loop.run_in_executor(None, sys.stdin.read)
    told = None
    while not end.done():
        found = [h for h in discovery.heard() if h.node_id == other]
        news = {"address": [h.address for h in found], "twins": discovery.twins, "goodbyes": sorted(goodbyes)}
        if news != told:
            told = news
            answers = [await open_door(h.door) for h in found]
            print(json.dumps({**news, "answers": answers}), flush=True)
        await asyncio.sleep(0.01)
    await discovery.stop()
    await runner.cleanup()

asyncio.run(main(*sys.argv[1:]))
"""

A, B = "00000000000000aa", "00000000000000bb"


class Host(NamedTuple):
    """A process that holds a network namespace open."""

    pid: int

    def command(self, *words: str) -> list[str]:
        return [*self.enter("--net"), *words]

    def enter(self, *what: str) -> list[str]:
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self.pid}", *user, *what, "--"]

    def do(self, line: str) -> None:
        subprocess.run(self.command(*line.split()), check=True, capture_output=True, text=True, timeout=20)

    def ipv6(self, interface: str) -> list[str]:
        told = subprocess.run(
            self.command("ip", "-6", "-json", "address", "show", "dev", interface), check=True, capture_output=True
        )
        return [address["local"] for entry in json.loads(told.stdout) for address in entry.get("addr_info", ())]


class Node:
    """A node on a host. It tells what it hears whenever that changes."""

    def __init__(self, host: Host, me: str, other: str, bind: str) -> None:
        command = host.command(sys.executable, "-c", NODE, me, other, bind)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout

    def tells(self, **expected: Any) -> dict[str, Any]:
        """The first news that are so; `AssertionError` with the last ones after 20 s."""
        news: dict[str, Any] = {}
        watchdog = threading.Timer(20, self.process.kill)
        watchdog.start()
        try:
            for line in self._out:
                news = json.loads(line)
                if {key: news[key] for key in expected} == expected:
                    return news
        finally:
            watchdog.cancel()
        raise AssertionError(f"expected {expected}, was told {news}")

    def end(self) -> None:
        self._in.close()
        assert self.process.wait(20) == 0


@pytest.fixture
def lan() -> Iterator[tuple[Host, Host]]:
    """Two machines behind one switch, with a subnet and no route out of it. No name of theirs is seen outside."""
    with ExitStack() as stack:
        hosts: list[Host] = []
        for _ in range(3):
            # `cat` ends when its standard input does, at the latest with this process; the namespace goes with it.
            hold = ["unshare", "--net", "--", "sh", "-c", "echo; exec cat"]
            if os.geteuid() != 0:  # then all three belong to a user namespace, where we may do what root may
                hold = [*hosts[0].enter(), *hold] if hosts else ["unshare", "--user", "--map-root-user", *hold[1:]]
            try:
                holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            except FileNotFoundError:
                pytest.skip("unshare is not installed")
            stack.enter_context(holder)
            stack.callback(holder.kill)
            assert holder.stdout
            if not holder.stdout.readline():
                pytest.skip("network namespaces cannot be made here")
            hosts.append(Host(holder.pid))
        switch, *machines = hosts
        try:
            switch.do("ip link add br0 type bridge mcast_snooping 0")
            switch.do("ip link set br0 up")
            for number, machine in enumerate(machines, 1):
                switch.do(f"ip link add port{number} type veth peer name eth0 netns {machine.pid}")
                switch.do(f"ip link set port{number} master br0 up")
                machine.do("ip link set lo up")
                machine.do(f"ip address add 10.77.0.{number}/24 dev eth0")
                machine.do("ip link set eth0 up")
                machine.do("ip link add docker0 type bridge")  # the same on both, as Docker has it
                machine.do("ip address add 172.17.0.1/16 dev docker0")
                machine.do("ip link set docker0 up")
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network can be built here: {getattr(error, 'stderr', error)}")
        yield machines[0], machines[1]


@contextmanager
def nodes(*wanted: tuple[Host, str, str, str]) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        made = []
        for host, me, other, bind in wanted:
            node = Node(host, me, other, bind)
            stack.enter_context(node.process)
            stack.callback(node.process.kill)
            made.append(node)
        yield made


@pytest.mark.parametrize("binds", [("0.0.0.0", "::"), ("10.77.0.1", "10.77.0.2")])
def test_two_machines_hear_each_other_at_the_address_of_their_lan(
    lan: tuple[Host, Host], binds: tuple[str, str]
) -> None:
    with nodes((lan[0], A, B, binds[0]), (lan[1], B, A, binds[1])) as (first, second):
        first.tells(address=["10.77.0.2"], answers=[B])
        second.tells(address=["10.77.0.1"], answers=[A])
        first.end()
        second.end()


def test_another_address_is_followed_without_a_goodbye(lan: tuple[Host, Host]) -> None:
    with nodes((lan[0], A, B, "::"), (lan[1], B, A, "::")) as (moving, watching):
        moving.tells(address=["10.77.0.2"])
        watching.tells(address=["10.77.0.1"])
        lan[0].do("ip address add 10.77.0.9/24 dev eth0")
        lan[0].do("ip address del 10.77.0.1/24 dev eth0")
        lan[0].do("ip address replace 10.77.0.9/24 dev eth0")  # as a secondary address it went with the first
        assert watching.tells(address=["10.77.0.9"])["goodbyes"] == []
        lan[0].do("ip address del 10.77.0.9/24 dev eth0")
        lan[0].do("ip address add 10.77.0.5/24 dev eth0")
        news = watching.tells(address=["10.77.0.5"], answers=[A])
        assert (news["goodbyes"], news["twins"]) == ([], [])
        moving.end()
        assert watching.tells(address=[])["goodbyes"], "the wire is not heard"
        watching.end()


def test_a_lan_without_ipv4(lan: tuple[Host, Host]) -> None:
    """First with nothing but link-local addresses, then with some of its own. The bridges of both keep their IPv4."""
    for number, host in enumerate(lan, 1):
        host.do(f"ip address del 10.77.0.{number}/24 dev eth0")
    with nodes((lan[0], A, B, "::"), (lan[1], B, A, "::")) as (first, second):
        # Heard of at once, if at all: a link-local address is only there once nobody objects to it, a second or two.
        answer = first.tells(answers=[B])
        assert answer["address"] == [f"{lan[1].ipv6('eth0')[0]}%eth0"]
        second.tells(address=[f"{lan[0].ipv6('eth0')[0]}%eth0"], answers=[A])
        for number, host in enumerate(lan, 1):
            host.do(f"ip address add fd77::{number}/64 dev eth0 nodad")
        first.tells(address=["fd77::2"], answers=[B])
        second.tells(address=["fd77::1"], answers=[A])
        first.end()
        second.end()


def test_two_machines_with_one_id_are_told_of_each_other(lan: tuple[Host, Host]) -> None:
    with nodes((lan[0], A, B, "::"), (lan[1], A, B, "::")) as (first, second):
        first.tells(twins=["10.77.0.2:8000"])
        second.tells(twins=["10.77.0.1:8000"])
        first.end()
        second.end()
