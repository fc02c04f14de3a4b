"""Which address is announced, and which is taken."""

import ipaddress
import socket
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ariacluster_node.adapters.mdns import interfaces as module
from ariacluster_node.adapters.mdns.interfaces import Interface, present, reachable, usable, voices


def interface(name: str, number: int, address: str, handle: int | None = None) -> Interface:
    parsed = ipaddress.ip_interface(address)
    return Interface(name, number, parsed, handle or str(parsed.ip))


LO = interface("lo", 1, "127.0.0.1/8")
LAN, LAN6, LINK = (interface("eth0", 2, a) for a in ("192.168.1.5/24", "fd01::5/64", "fe80::5/64"))
DOCKER = interface("docker0", 3, "172.17.0.1/16")
WIFI = interface("wlan0", 4, "fe80::6/64")


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("0.0.0.0", [LAN, DOCKER]),
        ("::", [LAN, LAN6, DOCKER, LINK]),
        ("192.168.1.5", [LAN]),
        ("fd01::5", [LAN6]),
        ("fe80::5%eth0", [LINK]),
        ("fe80::5%wlan0", []),
        ("127.0.0.1", [LO]),
        ("localhost", [LO]),
        ("192.168.1.6", []),
        ("::1", []),
    ],
)
def test_the_bind_address_says_where_to_speak(bind: str, expected: list[Interface]) -> None:
    assert usable(bind, [LO, LAN, LAN6, DOCKER, LINK]) == expected


def test_a_machine_without_a_network_speaks_to_itself() -> None:
    assert usable("0.0.0.0", [LO]) == usable("::", [LO]) == [LO]


def test_a_name_is_no_bind_address() -> None:
    with pytest.raises(ValueError):
        usable("nas.example", [LO])


def test_hundreds_of_addresses_are_too_many() -> None:
    many = [LAN] + [interface(f"br{n}", 10 + n, f"10.{n}.0.1/24") for n in range(200)]
    assert usable("::", many) == many[:20]


def test_one_voice_for_each_ipv4_address_and_one_for_each_link_with_ipv6() -> None:
    twice = interface("br1", 7, "fe80::7/64", 7)
    assert voices([LAN, LAN6, DOCKER, LINK, WIFI, twice]) == ["192.168.1.5", "172.17.0.1", "fe80::5", "fe80::6", 7]
    assert voices([LAN6]) == ["fd01::5"]
    assert voices([]) == []


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (["10.9.9.9", "192.168.1.7"], "192.168.1.7"),  # the shared network first
        (["172.17.0.1", "192.168.1.7"], "192.168.1.7"),  # every machine with Docker has 172.17.0.1
        (["172.17.0.1", "10.9.9.9"], "10.9.9.9"),
        (["10.9.9.9", "10.8.8.8"], "10.8.8.8"),  # whatever their order: it changes from packet to packet
        (["10.8.8.8", "10.9.9.9"], "10.8.8.8"),
        (["192.168.1.5"], "192.168.1.5"),  # another node of this machine
        (["fe80::7%2", "fd01::7", "192.168.1.7"], "192.168.1.7"),
        (["fe80::7%2", "10.9.9.9", "fd01::7"], "fd01::7"),
        (["2001:db8::7", "10.9.9.9", "fe80::7%2"], "fe80::7%eth0"),
        (["2001:db8::7", "10.9.9.9"], "10.9.9.9"),
        (["172.17.0.1", "2001:db8::7"], "2001:db8::7"),
        (["fe80::7%4"], "fe80::7%wlan0"),
        (["fe80::7%9", "fe80::8"], None),  # on no link of ours, or nobody knows on which
        (["fe80::5%2", "fd01::5"], "fd01::5"),
        (["127.0.0.1"], None),
        (["::1"], None),
        (["0.0.0.0", "::", "224.0.0.251", "ff02::fb", "nonsense", "::ffff:10.0.0.1", "169.254.3.3"], None),
        ([], None),
    ],
)
def test_the_nearest_address_is_taken(theirs: list[str], expected: str | None) -> None:
    assert reachable(theirs, [LAN, LAN6, DOCKER, LINK, WIFI]) == expected


def test_where_there_is_one_link_a_link_local_address_is_on_it() -> None:
    assert reachable(["fe80::7"], [LAN, LINK]) == "fe80::7%eth0"


def test_an_address_of_a_family_that_is_not_here_comes_after_those_that_are() -> None:
    assert reachable(["10.9.9.9", "2001:db8::7"], [LAN6]) == "2001:db8::7"


def test_loopback_hears_only_loopback() -> None:
    assert reachable(["127.0.0.1"], [LO]) == "127.0.0.1"
    assert reachable(["192.168.1.7"], [LO]) is None


def test_this_machine_has_its_loopback() -> None:
    assert "127.0.0.1" in {str(i.ip) for i in present()}


class Address(NamedTuple):
    family: int
    address: str
    netmask: str | None


class Link(NamedTuple):
    isup: bool
    flags: str


V4, V6 = socket.AF_INET, socket.AF_INET6
HALF = "ffff:ffff:ffff:ffff::"


def test_what_passes_and_what_misleads_is_not_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {
        "lo": [Address(V4, "127.0.0.1", "255.0.0.0"), Address(V6, "::1", None)],
        "eth0": [
            Address(V6, "fe80::5%eth0", HALF),
            Address(V6, "fd01::dead", HALF),  # temporary
            Address(V6, "fd01::beef", HALF),  # not sure yet that it is free
            Address(V6, "fd01::5", HALF),
            Address(V4, "192.168.1.5", "255.255.255.0"),
        ],
        "docker0": [Address(V4, "172.17.0.1", "255.255.0.0"), Address(V6, "fe80::d0%docker0", HALF)],
        "veth1": [Address(V6, "fe80::ee%veth1", HALF)],  # a port of docker0
        "tun0": [Address(V6, "fe80::77%tun0", HALF)],
        "cut0": [Address(V4, "10.0.0.1", "255.0.0.0")],
        "lan1": [Address(V6, "fe80::1%lan1", HALF)],  # nothing but this, so it is told
        "lan2": [Address(V6, "fe80::1%lan2", HALF)],
    }
    flags = "up,broadcast,running,multicast"
    links = {name: Link(name != "cut0", "up,pointopoint" if name == "tun0" else flags) for name in told}
    for folder in ("eth0/device", "veth1/brport"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "if_inet6").write_text(
        "fd01000000000000000000000000dead 02 40 00 01     eth0\n"
        "fd01000000000000000000000000beef 02 40 00 40     eth0\n"
        "fd010000000000000000000000000005 02 40 00 80     eth0\n"
    )
    monkeypatch.setattr(module, "_SYSTEM", tmp_path)
    monkeypatch.setattr(module, "_IPV6_ADDRESSES", tmp_path / "if_inet6")
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: told)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: links)
    monkeypatch.setattr(socket, "if_nametoindex", lambda name: list(told).index(name) + 1)
    assert [(i.name, str(i.address), i.handle) for i in present()] == [
        ("lo", "127.0.0.1/8", "127.0.0.1"),
        ("eth0", "192.168.1.5/24", "192.168.1.5"),
        ("eth0", "fd01::5/64", "fd01::5"),
        ("docker0", "172.17.0.1/16", "172.17.0.1"),
        ("eth0", "fe80::5/64", "fe80::5"),
        ("lan1", "fe80::1/64", 7),
        ("lan2", "fe80::1/64", 8),
    ]
