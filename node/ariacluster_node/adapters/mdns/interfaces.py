"""Which addresses this machine has, which of them are announced, and which of another's is the one to take."""

import contextlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

_SYSTEM = Path("/sys/class/net")
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")
"""What Linux tells of interfaces and IPv6 addresses; missing elsewhere."""

_TEMPORARY, _FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_PASSING = _TEMPORARY | _FAILED | _DEPRECATED | _TENTATIVE
"""Flags of addresses that nobody should be told (linux/if_addr.h): they change daily, or are not or no more to be used."""

_MOST = 20
"""Addresses that are announced: they fit into one packet, and Linux lets a socket join as many groups."""


class Interface(NamedTuple):
    """An address of an interface, with its network and without its scope.

    `number` is the interface's. `handle` is how zeroconf is told of it: by the address, or by the number where
    another interface has the same address (a bridge and its ports share a link-local one).
    """

    name: str
    number: int
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface
    handle: str | int

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return self.address.ip


def present() -> list[Interface]:
    """The addresses of all interfaces that are up, steadiest interface first; blocking, for a moment.

    Not told: `::1`, which takes no multicast; IPv6 addresses that pass; link-local ones that mislead: an entry is heard
    on every link, but such an address leads somewhere only on its own.
    """
    passing = _passing()
    links = psutil.net_if_stats()
    raw = [
        (name, interface)
        for name, addresses in psutil.net_if_addrs().items()
        if name in links and links[name].isup
        for address in addresses
        if (interface := _parsed(address.family, address.address, address.netmask)) is not None
        and (name, interface.ip) not in passing
        and (interface.version == 4 or not interface.is_loopback)
    ]
    bearers = Counter(interface.ip for _, interface in raw)
    settled = {name for name, interface in raw if not _is_link_local_v6(interface)}
    found = []
    for name, interface in raw:
        if _is_link_local_v6(interface) and not _leads_here(name, links[name].flags, name in settled):
            continue
        with contextlib.suppress(OSError):  # gone since
            number = socket.if_nametoindex(name)
            handle = number if interface.version == 6 and bearers[interface.ip] > 1 else str(interface.ip)
            found.append(Interface(name, number, interface, handle))
    return sorted(set(found), key=lambda i: (_is_link_local_v6(i.address), i.number, i.address.version, int(i.ip)))


def _parsed(family: int, address: str, mask: str | None) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        if family == socket.AF_INET:
            return ipaddress.IPv4Interface(f"{address}/{mask or 32}")
        if family == socket.AF_INET6:
            bits = int(ipaddress.IPv6Address(mask.partition("%")[0])).bit_count() if mask else 128
            return ipaddress.IPv6Interface(f"{address.partition('%')[0]}/{bits}")
    except ValueError:
        pass
    return None


def _passing() -> set[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    """Interface and address, of those IPv6 addresses that are not to be told (proc_net_if_inet6, kernel source)."""
    found: set[tuple[str, ipaddress.IPv4Address | ipaddress.IPv6Address]] = set()
    with contextlib.suppress(OSError, ValueError):
        for line in _IPV6_ADDRESSES.read_text().splitlines():
            address, _, _, _, flags, name = line.split()
            if int(flags, 16) & _PASSING:
                found.add((name, ipaddress.IPv6Address(int(address, 16))))
    return found


def _is_link_local_v6(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> bool:
    return interface.version == 6 and interface.is_link_local


def _leads_here(name: str, flags: str, has_others: bool) -> bool:
    """Is a link-local address of this interface worth telling? Of a network card it is, and of whatever has no other.

    The ports of a bridge, tunnels and Apple's links to other gadgets have one that no node is behind.
    """
    if (_SYSTEM / name / "brport").exists() or "pointopoint" in flags or name.startswith(("awdl", "llw")):
        return False
    return not has_others or (_SYSTEM / name / "device").exists()


def usable(bind: str, here: Iterable[Interface]) -> list[Interface]:
    """What to announce, and where to speak mDNS: the bind address; every one for `::`, every IPv4 one for `0.0.0.0`.
    Empty if there is none. `ValueError` if `bind` is no address.

    Loopback counts only if it is asked for, or is all there is: announced beside others, it would lead others to
    themselves.
    """
    text, _, scope = ("127.0.0.1" if bind == "localhost" else bind).partition("%")
    wanted = ipaddress.ip_address(text)
    if not wanted.is_unspecified:
        return [i for i in here if i.ip == wanted and scope in ("", i.name, str(i.number))]
    fitting = [i for i in here if i.address.version <= wanted.version]
    outward = [i for i in fitting if not i.ip.is_loopback]
    return (outward or fitting)[:_MOST]


def voices(here: Iterable[Interface]) -> list[str | int]:
    """How zeroconf is told to speak there: on every IPv4 address, and once on every link with IPv6, by the link-local
    address if that is announced, for it tells the others which link they heard us on."""
    here = list(here)
    links: dict[int, Interface] = {}
    for i in sorted((i for i in here if i.address.version == 6), key=lambda i: not i.ip.is_link_local):
        links.setdefault(i.number, i)
    return [i.handle for i in here if i.address.version == 4] + [i.handle for i in links.values()]


def reachable(theirs: Iterable[str], here: Iterable[Interface]) -> str | None:
    """The address at which this machine reaches another one that announced `theirs`: on a network that both are on, if
    possible; IPv4, then IPv6, then link-local with the name of our interface (`fe80::1%eth0`). None if there is none, or
    if one of the two keeps to its own loopback and the other does not.

    `theirs` may bear the number of the interface that they were heard on. Of several link-local ones only one leads there
    and nothing says which: the first by its digits is taken. Addresses that are ours come last: a bridge of containers has
    the same one on every machine.
    """
    here = list(here)
    loopback = all(i.ip.is_loopback for i in here)
    ranked = [
        (rank, int(ipaddress.ip_address(address.partition("%")[0])), address)
        for text in theirs
        if (found := _ranked(text, here, loopback)) is not None
        for rank, address in (found,)
    ]
    return min(ranked)[2] if ranked else None


def _ranked(text: str, here: list[Interface], loopback: bool) -> tuple[int, str] | None:
    """How good an address is, 0 being the best, and how we write it."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if address.is_unspecified or address.is_multicast or address.is_loopback != loopback:
        return None
    own = any(address == i.ip for i in here)
    known = any(address.version == i.address.version for i in here)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return None
        if address.is_link_local:
            return _ranked_by_link(address, text.partition("%")[2], here, own)
    shared = any(address in i.address.network for i in here)
    if address.is_link_local and not shared:  # IPv4's, RFC 3927: no router passes it on
        return None
    if own:
        rank = 8
    elif shared:
        rank = 0 if address.version == 4 else 1
    else:
        rank = (3 if address.version == 4 else 4) if known else 6
    return rank, str(address)


def _ranked_by_link(
    address: ipaddress.IPv6Address, scope: str, here: list[Interface], own: bool
) -> tuple[int, str] | None:
    """A link-local address means nothing without a link: the one that it was heard on, or the only one that there is."""
    names = {str(i.number): i.name for i in here} | {i.name: i.name for i in here}
    links = {i.name for i in here if i.address.version == 6}
    name = names.get(scope) if scope else next(iter(links)) if len(links) == 1 else None
    if name is None:
        return None
    return 9 if own else 2 if scope else 5, f"{address}%{name}"
