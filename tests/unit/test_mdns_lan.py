"""A LAN of two machines and a switch, in network namespaces that die with the test."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.integration

NODE = """
import asyncio, json, structlog, sys, time
from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns.discovery import ZeroconfDiscovery

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main(me, other, bind):
    discovery = ZeroconfDiscovery(bind)
    began = time.monotonic()
    await discovery.start(Heard(node_id=me, node_name="Büro", cluster_name="lab", address=bind, port=8000))
    found = []
    while not found and time.monotonic() - began < 20:
        await asyncio.sleep(0.005)
        found = [h.address for h in discovery.heard() if h.node_id == other]
    print(json.dumps({"address": found, "after": round(time.monotonic() - began, 3)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await discovery.stop()

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


@pytest.mark.parametrize("binds", [("0.0.0.0", "0.0.0.0"), ("10.77.0.1", "10.77.0.2")])
def test_two_machines_hear_each_other_at_the_address_of_their_lan(
    lan: tuple[Host, Host], binds: tuple[str, str]
) -> None:
    ids = ((A, B), (B, A))
    with ExitStack() as stack:
        nodes = []
        for host, (me, other), bind in zip(lan, ids, binds, strict=True):
            command = host.command(sys.executable, "-c", NODE, me, other, bind)
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            nodes.append(process)
        told = [json.loads(process.stdout.readline()) for process in nodes if process.stdout]
        assert [entry["address"] for entry in told] == [["10.77.0.2"], ["10.77.0.1"]], told
        for process in nodes:
            assert process.stdin
            process.stdin.close()
            assert process.wait(20) == 0
