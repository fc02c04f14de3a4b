"""Which address is announced, and which is taken."""

from ipaddress import IPv4Interface

import pytest

from ariacluster_node.adapters.mdns.interfaces import present, reachable, usable

LO, LAN, DOCKER = (IPv4Interface(a) for a in ("127.0.0.1/8", "192.168.1.5/24", "172.17.0.1/16"))


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("0.0.0.0", [LAN, DOCKER]),
        ("::", [LAN, DOCKER]),
        ("192.168.1.5", [LAN]),
        ("127.0.0.1", [LO]),
        ("localhost", [LO]),
        ("192.168.1.6", []),
        ("::1", []),
    ],
)
def test_the_bind_address_says_where_to_speak(bind: str, expected: list[IPv4Interface]) -> None:
    assert usable(bind, [LO, LAN, DOCKER]) == expected


def test_a_machine_without_a_network_speaks_to_itself() -> None:
    assert usable("0.0.0.0", [LO]) == [LO]


def test_a_name_is_no_bind_address() -> None:
    with pytest.raises(ValueError):
        usable("nas.example", [LO])


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (["10.9.9.9", "192.168.1.7"], "192.168.1.7"),  # the shared network first
        (["172.17.0.1", "192.168.1.7"], "192.168.1.7"),  # every machine with Docker has 172.17.0.1
        (["172.17.0.1", "10.9.9.9"], "10.9.9.9"),
        (["10.9.9.9", "10.8.8.8"], "10.9.9.9"),
        (["192.168.1.5"], "192.168.1.5"),  # another node of this machine
        (["127.0.0.1"], None),
        (["0.0.0.0", "224.0.0.251", "nonsense", "fe80::1"], None),
        ([], None),
    ],
)
def test_the_nearest_address_is_taken(theirs: list[str], expected: str | None) -> None:
    assert reachable(theirs, [LAN, DOCKER]) == expected


def test_loopback_hears_only_loopback() -> None:
    assert reachable(["127.0.0.1"], [LO]) == "127.0.0.1"
    assert reachable(["192.168.1.7"], [LO]) is None


def test_this_machine_has_its_loopback() -> None:
    assert LO in present()
