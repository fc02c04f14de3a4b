"""What the machine tells: the fake and the real one keep to the same bounds; the rest is of the real one."""

import ipaddress
import socket
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ariacluster_node.adapters.system import machine as module
from ariacluster_node.adapters.system.machine import LocalMachine, host_name, local_address
from ariacluster_node.ports import Machine
from tests.support.fake_machine import FakeMachine


class Times(NamedTuple):
    user: float
    idle: float
    iowait: float
    guest: float


class Address(NamedTuple):
    family: int
    address: str


class Usage(NamedTuple):
    total: int
    free: int


class Link(NamedTuple):
    isup: bool


@pytest.mark.parametrize("kind", ["fake", "real"])
async def test_vitals_are_within_bounds(kind: str, tmp_path: Path) -> None:
    machine: Machine = FakeMachine() if kind == "fake" else LocalMachine(tmp_path)
    for _ in range(2):
        now = await machine.vitals()
        assert 0 < now.disk_free <= now.disk_total
        assert 0 <= now.cpu <= 100 and 0 < now.memory < 100


async def test_the_disk_is_that_of_the_folder_made_or_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def usage(path: str) -> Usage:
        if path != str(tmp_path):
            raise FileNotFoundError(path)
        return Usage(total=100, free=40)

    monkeypatch.setattr(psutil, "disk_usage", usage)
    now = await LocalMachine(tmp_path / "not/yet").vitals()
    assert (now.disk_free, now.disk_total) == (40, 100)
    now = await LocalMachine(tmp_path.parent / "elsewhere").vitals()
    assert (now.disk_free, now.disk_total) == (0, 0)


async def test_cpu_is_the_share_since_the_last_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A guest's time is in `user` already, and waiting for the disk is idling."""
    told = iter([Times(10, 90, 0, 0), Times(40, 150, 10, 30), Times(40, 150, 10, 30), Times(140, 150, 10, 30)])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(told))
    machine = LocalMachine(tmp_path)
    assert [(await machine.vitals()).cpu for _ in range(4)] == [0.0, 30.0, 0.0, 100.0]


def test_the_local_address_is_one_of_ours() -> None:
    found = ipaddress.IPv4Address(local_address())
    assert str(found) in {a.address for group in psutil.net_if_addrs().values() for a in group}


def test_without_a_route_an_interface_that_is_up_gives_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FAR_AWAY", ("255.255.255.255", 9))  # refused without SO_BROADCAST
    v4 = socket.AF_INET
    links = {"lo": Link(True), "eth0": Link(False), "eth1": Link(True)}
    addresses = {
        "lo": [Address(v4, "127.0.0.1")],
        "eth0": [Address(v4, "10.0.0.1")],
        "eth1": [Address(socket.AF_INET6, "fe80::1"), Address(v4, "10.1.1.1")],
    }
    monkeypatch.setattr(psutil, "net_if_stats", lambda: links)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    assert local_address() == "10.1.1.1"
    del links["eth1"]
    assert local_address() == "127.0.0.1"


@pytest.mark.parametrize(
    ("of_eth1", "expected"),
    [
        (["fe80::1%eth1", "fd00::1", "10.1.1.1"], "10.1.1.1"),
        (["fe80::1%eth1", "fd00::1", "169.254.1.1"], "fd00::1"),
        (["fe80::1%eth1", "fd00::1"], "fd00::1"),
        (["fe80::1%eth1"], "fe80::1%eth1"),
        ([], "127.0.0.1"),
    ],
)
def test_without_ipv4_there_may_be_ipv6(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of_eth1: list[str], expected: str
) -> None:
    monkeypatch.setattr(module, "_towards_far_away", lambda family: None)
    monkeypatch.setattr(module, "_INTERFACES", tmp_path)
    (tmp_path / "eth1/device").mkdir(parents=True)
    addresses = {
        "br0": [Address(socket.AF_INET6, "fe80::7%br0")],
        "eth1": [Address(socket.AF_INET6 if ":" in text else socket.AF_INET, text) for text in of_eth1],
        "lo": [Address(socket.AF_INET, "127.0.0.1"), Address(socket.AF_INET6, "::1")],
    }
    if not of_eth1:
        del addresses["br0"]
    monkeypatch.setattr(psutil, "net_if_stats", lambda: dict.fromkeys(addresses, Link(True)))
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    assert local_address("::") == expected
    assert ":" not in local_address("0.0.0.0")


def test_a_network_card_comes_before_a_bridge(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_towards_far_away", lambda family: None)
    monkeypatch.setattr(module, "_INTERFACES", tmp_path)
    (tmp_path / "eth0/device").mkdir(parents=True)
    addresses = {
        "docker0": [Address(socket.AF_INET, "172.17.0.1")],
        "eth0": [Address(socket.AF_INET, "192.168.1.5")],
    }
    monkeypatch.setattr(psutil, "net_if_stats", lambda: dict.fromkeys(addresses, Link(True)))
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    assert local_address() == "192.168.1.5"


def test_the_way_to_far_away_by_ipv6_is_asked_if_there_is_none_by_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = {socket.AF_INET6: "2001:db8::5"}
    monkeypatch.setattr(module, "_towards_far_away", lambda family: ways.get(family))
    assert local_address("::") == "2001:db8::5"
    ways[socket.AF_INET] = "192.168.1.5"
    assert local_address("::") == local_address() == "192.168.1.5"


@pytest.mark.parametrize(("name", "expected"), [("nas.lan.example", "nas"), ("nas", "nas"), ("", "node")])
def test_a_node_is_called_as_its_host(monkeypatch: pytest.MonkeyPatch, name: str, expected: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert host_name() == expected
