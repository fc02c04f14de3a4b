"""Names that only this network can mean, and pages that are one's own.

A page of any site may make its visitor's browser send requests to this network. What it cannot do is choose the `Host` of a
node (DNS rebinding: it has its own name, which it moved to an address of ours), or hide its `Origin`.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

PRIVATE = (".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa")
"""Ends of names that nobody can have in the public DNS."""


def bare(host: str) -> str:
    """The name in a `Host`, without its port and the last dot; empty if it is none."""
    try:
        parts = urlsplit(f"//{host.strip()}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None or set(host.strip()) & set("\\ "):
        return ""
    return (parts.hostname or "").rstrip(".").lower()


def is_private(name: str) -> bool:
    """Can nobody on the Internet have that name (from `bare`)? One without a dot is of this network."""
    return bool(name) and ("." not in name or name.endswith(PRIVATE) or _is_address(name))


def is_ours(host: str, names: Collection[str]) -> bool:
    """Is a `Host` one that only this network can mean, or one of these names, in lower case?"""
    name = bare(host)
    return is_private(name) or (bool(name) and name in names)


def same(origin: str, host: str) -> bool:
    """Does a page of `origin` come from `host`? Behind a proxy the scheme may be another one."""
    try:
        parts, mine = urlsplit(origin), urlsplit(f"//{host}")
        port = {"http": 80, "https": 443}.get(parts.scheme, 0)
        return (
            port > 0
            and parts.hostname is not None
            and parts.hostname == mine.hostname
            and (parts.port or port) == (mine.port or port)
        )
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
