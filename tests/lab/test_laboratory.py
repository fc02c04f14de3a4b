"""The lab itself: its network does what its verbs say, and nothing of it is left when it ends, however it ends."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.support.processes import until

from . import available, door
from .door import LabError
from .host import Host
from .lab import Lab
from .machine import ROOT
from .switch import MDNS

pytestmark = [pytest.mark.integration, available.needed]

GROUP = "224.0.0.251"
LETTERS = 7000
KB = 1000

PARENT = """
import asyncio, sys
from pathlib import Path
from tests.lab.lab import Lab

async def main():
    async with Lab(hosts=2, folder=Path(sys.argv[1])) as lab:
        await asyncio.gather(*(host.exec("sleep", "1000") for host in lab.hosts))

asyncio.run(main())
"""


class Box:
    """A UDP socket on a host; letters to others, and what came in."""

    def __init__(self, taken: socket.socket, port: int) -> None:
        self.socket = taken
        self._port = port

    async def send(self, text: str, to: Host | str) -> None:
        where = to if isinstance(to, str) else to.address
        await asyncio.get_running_loop().sock_sendto(self.socket, text.encode(), (where, self._port))

    async def next(self) -> str:
        """The next letter; TimeoutError if none comes."""
        async with asyncio.timeout(5):
            return (await asyncio.get_running_loop().sock_recv(self.socket, 100)).decode()

    def here(self) -> list[str]:
        """All letters that are here already."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.socket.recv(100).decode())
        return found


@contextlib.asynccontextmanager
async def box(host: Host, port: int = LETTERS, *, ipv6: bool = False) -> AsyncIterator[Box]:
    taken = await host.socket("udp", ipv6=ipv6)
    with taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("", port))
        if not ipv6:
            interface = socket.inet_aton(host.address)
            taken.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            taken.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + interface)
        yield Box(taken, port)


@contextlib.asynccontextmanager
async def boxes(lab: Lab) -> AsyncIterator[list[Box]]:
    """A box on each host; all know each other's hardware addresses, so that no letter waits for one."""
    async with contextlib.AsyncExitStack() as stack:
        made = [await stack.enter_async_context(box(host)) for host in lab.hosts]
        for sender in made:
            for host, receiver in zip(lab.hosts, made, strict=True):
                await sender.send("greetings", host)
                assert await receiver.next() == "greetings"
        yield made


async def test_a_host_has_its_own_name_addresses_and_processes() -> None:
    async with Lab(hosts=2) as lab:
        code, told = await lab.hosts[1].exec("sh", "-c", "hostname; ip -o addr; ls /proc; exit 3")
        assert code == 3
        assert told.startswith("host2\n")
        for address in ("10.77.0.2/24", "fd77:77:77:77::2/64", "fe80::"):
            assert address in told
        assert len(re.findall(r"^\d+$", told, re.MULTILINE)) <= 3, "it sees its own processes alone"
        with pytest.raises(LabError, match="there is no host nobody; there are host1, host2"):
            lab.host("nobody")


async def test_multicast_reaches_every_host_but_those_it_is_off_for() -> None:
    async with (
        Lab(hosts=3) as lab,
        box(lab.hosts[0], MDNS) as sender,
        box(lab.hosts[1], MDNS) as near,
        box(lab.hosts[2], MDNS) as deaf,
    ):
        await sender.send("one", GROUP)
        assert [await near.next(), await deaf.next()] == ["one", "one"]
        await lab.multicast("off", lab.hosts[2])
        await sender.send("two", GROUP)
        await lab.multicast("on")
        await sender.send("three", GROUP)
        assert [await near.next(), await near.next()] == ["two", "three"]
        assert await deaf.next() == "three"


async def test_multicast_is_lost_by_percent() -> None:
    """600 packets, 30 % lost: 420 are to come, and six standard deviations (11 each) are granted."""
    async with (
        Lab(hosts=2) as lab,
        boxes(lab) as (here, there),
        box(lab.hosts[0], MDNS) as sender,
        box(lab.hosts[1], MDNS) as receiver,
    ):
        received = {}
        for percent in (0, 30):
            await lab.multicast(percent)
            received[percent] = 0
            for _ in range(12):
                for _ in range(50):  # no more than a socket holds
                    await sender.send("tick", GROUP)
                await here.send("that was it", lab.hosts[1])
                await there.next()
                received[percent] += len(receiver.here())
        assert received[0] == 600
        assert 420 - 67 <= received[30] <= 420 + 67


async def test_cuts_between_two_one_way_and_from_all() -> None:
    async with Lab(hosts=3) as lab, boxes(lab) as (one, two, three):
        a, b, c = lab.hosts

        await lab.cut(a, b)
        await one.send("lost", b)
        await two.send("lost", a)
        await one.send("beside", c)
        assert await three.next() == "beside"
        await lab.heal(a, b)
        await one.send("healed", b)
        await two.send("healed", a)
        assert [await one.next(), await two.next()] == ["healed", "healed"]

        await lab.cut(a, b, one_way=True)
        await one.send("lost", b)
        await two.send("back", a)
        assert await one.next() == "back"
        await lab.cut(c)
        await one.send("lost", c)
        await three.send("lost", a)
        await lab.heal()
        await one.send("healed", b)
        await one.send("healed", c)
        await two.send("healed", a)
        assert [await mail.next() for mail in (one, two, three)] == ["healed"] * 3


async def test_a_shaped_host_sends_no_faster() -> None:
    """1.5 MB at 1 MB/s, of which 64 kB are a burst: 1.4 s at the least. How fast it is without does not matter, but faster."""
    async with Lab(hosts=2) as lab:
        free = await duration(lab, 1500 * KB)
        await lab.hosts[0].shape("8mbit")
        shaped = await duration(lab, 1500 * KB)
        await lab.hosts[0].shape(0)
        freed = await duration(lab, 1500 * KB)
        assert shaped > 1.4
        assert max(free, freed) < shaped


async def duration(lab: Lab, size: int) -> float:
    """Seconds that so many bytes take from the first host to the second."""
    loop = asyncio.get_running_loop()
    with await lab.hosts[1].socket() as listener, await lab.hosts[0].socket() as sender:
        listener.bind((lab.hosts[1].address, 0))
        listener.listen()
        await loop.sock_connect(sender, listener.getsockname())
        receiver, _ = await loop.sock_accept(listener)
        with receiver:
            begun = time.monotonic()
            sending = asyncio.create_task(loop.sock_sendall(sender, bytes(size)))
            while size:
                size -= len(await loop.sock_recv(receiver, 64 * KB))
            await sending
            return time.monotonic() - begun


async def test_another_address_and_an_interface_that_is_off_for_a_while() -> None:
    async with Lab(hosts=2) as lab, boxes(lab) as (one, two):
        await lab.hosts[1].readdress("10.77.0.99")
        assert [host.address for host in await lab.look()] == ["10.77.0.1", "10.77.0.99"]
        await one.send("new", lab.hosts[1])
        assert await two.next() == "new"
        assert "10.77.0.2/" not in (await lab.hosts[1].exec("ip", "addr")).output

        await lab.hosts[1].link(False)
        await one.send("lost", lab.hosts[1])
        await lab.hosts[1].link(True)
        arrived: list[str] = []
        await until(lambda: _delivered(one, two, lab.hosts[1], arrived), "it is back")
        assert "lost" not in arrived
        told = (await lab.hosts[1].exec("ip", "addr")).output
        assert "10.77.0.99/24" in told
        assert "fd77:77:77:77::2/64" in told, "with all addresses"


async def _delivered(sender: Box, receiver: Box, to: Host, arrived: list[str]) -> bool:
    """Whether a letter gets through; all that did are added to `arrived`."""
    await sender.send("hello", to)
    await asyncio.sleep(0.05)
    arrived += receiver.here()
    return "hello" in arrived


async def test_two_switches_that_are_joined_late() -> None:
    async with Lab(hosts=3) as lab, boxes(lab) as (one, two, three):
        _, b, c = lab.hosts
        await lab.split(c)
        await one.send("lost", c)
        await one.send("same switch", b)
        assert await two.next() == "same switch"

        await lab.bridge()
        arrived: list[str] = []
        await until(lambda: _delivered(one, three, c, arrived), "the other switch is reached")
        assert "lost" not in arrived
        await one.send("to all", GROUP)
        assert [await two.next(), await three.next()] == ["to all", "to all"]

        await lab.cut(b, c)
        await two.send("cut", c)
        await one.send("not cut", c)
        assert await three.next() == "not cut", "cuts hold over the wire too"


async def test_a_lan_without_ipv4() -> None:
    async with Lab(hosts=2, ipv6_only=True) as lab:
        one, two = lab.hosts
        assert two.address == "fd77:77:77:77::2"
        assert not re.search(r"inet (?!127)", (await two.exec("ip", "addr")).output)
        async with box(one, ipv6=True) as sender, box(two, ipv6=True) as receiver:
            await sender.send("six", two)
            assert await receiver.next() == "six"


async def test_a_node_is_started_paused_stopped_and_killed_with_all_of_its_processes() -> None:
    async with Lab(hosts=2) as lab:
        host, other = lab.hosts
        await host.start("--no-mdns", "--slots", "2")
        await lab.alive()
        assert (await host.call("GET", "/livez"))[0] == 200
        assert (await other.call("GET", "/livez", of=host))[0] == 200, "over the LAN"
        with pytest.raises(LabError, match="runs already"):
            await host.start()

        await lab.look()
        node = psutil.Process(host.facts.pid)
        family = [node, *node.children(recursive=True)]
        assert any("aria2c" in process.name() for process in family)
        await host.pause()
        await until(lambda: {p.status() for p in family} == {psutil.STATUS_STOPPED}, "all stand still")
        assert await lab.running() == []
        await host.resume()
        await until(host.alive, "it goes on")

        await host.kill()
        assert not any(process.is_running() for process in family)
        assert (await lab.look())[0].facts.code == -signal.SIGKILL
        await host.start("--no-mdns")
        await lab.alive()
        assert await host.stop() == 0
        assert (await host.log_text()).count("engine started") == 2, "one log of both"


async def test_data_is_copied_and_wiped() -> None:
    async with Lab(hosts=2) as lab:
        one, two = lab.hosts
        await one.start("--no-mdns")
        await lab.alive()
        with pytest.raises(LabError, match="stop it first"):
            await lab.clone(two, one)
        await one.stop()
        await lab.clone(one, two)
        identity = sorted(path.name for path in one.data.iterdir())
        assert identity
        assert sorted(path.name for path in two.data.iterdir()) == identity
        await one.wipe()
        assert not one.data.exists()
        assert two.data.exists()


async def test_an_origin_counts_what_it_serves() -> None:
    async with Lab(hosts=1) as lab:
        origin = await lab.origin()
        url = origin.url("/bytes/1000/file")
        fetch = "import sys, urllib.request; sys.stdout.write(str(len(urllib.request.urlopen(sys.argv[1]).read())))"
        ran = await lab.hosts[0].exec(sys.executable, "-c", fetch, url)
        assert ran.output == "1000"
        assert origin.served == {"/bytes/1000/file": 1000}
        assert await lab.origin() is origin


class Traces:
    """What a lab might leave on this machine, seen from outside of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._before = (self._spaces(), self._mounts(), self._links())

    def processes(self) -> list[int]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                said = [*process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and any(self._folder in text for text in said):
                    found.append(process.pid)
        return found

    def spaces(self) -> set[str]:
        """Network namespaces that are new."""
        return self._spaces() - self._before[0]

    def check_gone(self, made: set[str]) -> None:
        assert not self.processes()
        assert not self._spaces() & made
        assert (self._mounts(), self._links()) == self._before[1:]
        assert not list(Path("/run/netns").glob("*")), "`ip netns` shows nothing"

    def _spaces(self) -> set[str]:
        found = set()
        for space in Path("/proc").glob("[0-9]*/ns/net"):
            with contextlib.suppress(OSError):
                found.add(str(space.readlink()))
        return found

    def _mounts(self) -> set[str]:
        return set(Path("/proc/self/mountinfo").read_text().splitlines())

    def _links(self) -> set[str]:
        return {path.name for path in Path("/sys/class/net").iterdir()}


async def test_nothing_is_left_of_a_lab_that_ended(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    traces = Traces(folder)
    async with Lab(hosts=2, folder=folder) as lab:
        await lab.hosts[0].start("--no-mdns")
        await lab.alive()
        made = traces.spaces()
        assert traces.processes()
        assert len(made) >= 2, "the switch's, the first host's; one without processes is not seen from outside"
    traces.check_gone(made)


async def test_nothing_is_left_when_the_holder_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    traces = Traces(folder)
    async with Lab(hosts=2, folder=folder) as lab:
        await lab.hosts[0].start("--no-mdns")
        await lab.alive()
        made = traces.spaces()
        os.kill(await lab.holder(), signal.SIGKILL)
        await until(lambda: not traces.processes(), "all its processes are gone")
        traces.check_gone(made)
        with pytest.raises(LabError, match="no lab runs"):
            await lab.hosts[1].start()


async def test_nothing_is_left_when_the_test_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    traces = Traces(folder)
    parent = await asyncio.to_thread(
        subprocess.Popen,
        [sys.executable, "-c", PARENT, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/node"},
    )
    try:

        def sleeping() -> bool:
            running = [psutil.Process(pid) for pid in traces.processes()]
            return [process.name() for process in running].count("sleep") == 2

        await until(sleeping, "the lab runs", timeout=30)
        made = traces.spaces()
    finally:
        parent.kill()
        parent.wait()
    await until(lambda: not traces.processes(), "all its processes are gone")
    traces.check_gone(made)


async def test_people_make_one_that_stays_until_it_is_down(tmp_path: Path) -> None:
    """Each verb is a process of its own, as for a person."""
    folder = tmp_path / "lab"
    traces = Traces(folder)

    def lab(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.lab", "--folder", str(folder), *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/node"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    async def say(*words: str, code: int = 0) -> str:
        return await asyncio.to_thread(lab, *words, code=code)

    assert "no lab runs" in await say("ps", code=1)
    assert "host2  10.77.0.2  fd77:77:77:77::2" in await say("up", "2")
    try:
        made = traces.spaces()
        assert "a lab runs already" in await say("up", code=1)
        await say("start", "1", "--no-mdns", "--slots", "2")
        attached = await Lab.attach(folder)
        await attached.alive()
        assert '"alive"' in await say("api", "1", "GET", "/livez")
        assert "host1\n" in await say("exec", "1", "hostname")
        await say("multicast", "all", "drop", "30")
        await say("cut", "1", "2", "--one-way")
        await say("heal")
        assert "engine started" in await say("logs", "1")
        assert "running" in await say("ps")
        await say("stop", "1")
        assert "ended with 0" in await say("ps")
    finally:
        await say("down")
    traces.check_gone(made)


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "path", lambda: "/nowhere")
    reason = available.available.__wrapped__()
    assert reason == "the lab needs programs that are not here: apt-get install iproute2 nftables util-linux"


def test_its_door_may_be_far_down(tmp_path: Path) -> None:
    """The path of a Unix socket is limited to 107 bytes."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    with door.listen(deep):
        assert door.holder_of(deep) == os.getpid()
