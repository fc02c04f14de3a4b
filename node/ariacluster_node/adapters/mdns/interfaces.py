"""Which addresses this machine has, which of them are announced, and which of another's is the one to take."""

import ipaddress
import socket
from collections.abc import Iterable

import psutil

Interface = ipaddress.IPv4Interface


def present() -> list[Interface]:
    """The IPv4 addresses of all interfaces that are up, with their networks. Blocking, for a moment."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = {
        ipaddress.IPv4Interface(f"{address.address}/{address.netmask or '255.255.255.255'}")
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
        for address in addresses
        if address.family == socket.AF_INET
    }
    return sorted(found)


def usable(bind: str, here: Iterable[Interface]) -> list[Interface]:
    """Where to speak mDNS: the interface of the bind address, or every one for `0.0.0.0` and `::`. Empty if there is none,
    as for other IPv6 addresses. `ValueError` if `bind` is no address.

    Loopback counts only if it is asked for, or is all there is: announced beside others, it would lead others to
    themselves.
    """
    wanted = ipaddress.ip_address("127.0.0.1" if bind == "localhost" else bind)
    if not wanted.is_unspecified:
        return [interface for interface in here if interface.ip == wanted]
    outward = [interface for interface in here if not interface.is_loopback]
    return outward or list(here)


def reachable(theirs: Iterable[str], mine: Iterable[Interface]) -> str | None:
    """The address at which this machine reaches another one that announced `theirs`: on a network that both are on, if
    possible. None if there is none, or if one of the two keeps to its own loopback and the other does not.

    Addresses that are ours come last: a bridge of containers has the same one on every machine.
    """
    mine = list(mine)
    loopback = all(interface.is_loopback for interface in mine)
    own = {interface.ip for interface in mine}
    best: tuple[int, str] | None = None
    for text in theirs:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        if address.is_unspecified or address.is_multicast or address.is_loopback != loopback:
            continue
        shared = any(address in interface.network for interface in mine)
        rank = 2 if address in own else 0 if shared else 1
        if best is None or rank < best[0]:
            best = rank, text
    return best[1] if best else None
