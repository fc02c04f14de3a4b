"""Who may ask: a request must be meant for this node, and must not be another site's word in a visitor's browser.

A page of any site may make its visitor's browser send requests to this network. What it cannot do is choose the `Host` that
names this node (DNS rebinding: its own name, which it has just moved to an address of ours), hide its `Origin`, or send
JSON without asking first.
"""

import ipaddress
import socket
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from aiohttp import web

from ariacluster.domain.errors import Forbidden, InvalidInput, UnsupportedMediaType
from ariacluster_node.services.replica import Replica

PRIVATE = (".local", ".localhost", ".lan", ".home", ".internal", ".home.arpa")
"""Ends of names that nobody can have on the Internet."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer that does not say otherwise itself."""

HARMLESS = frozenset({"GET", "HEAD"})


class Guard:
    """`allowed`: further names of this node, as people configured them."""

    def __init__(self, replica: Replica, allowed: Iterable[str] = ()) -> None:
        self._replica = replica
        own = socket.gethostname().lower()
        self._names = {own, *(_bare(name) for name in allowed)}

    def check(self, request: web.Request) -> None:
        """`Forbidden` for what another site's page may have sent; `UnsupportedMediaType` for a body that has to be unpacked."""
        host = self._host(request)
        if origins := request.headers.getall("Origin", []):
            if host is None or len(origins) > 1 or not _same(origins[0], host):
                raise Forbidden("A page of another site may not ask this node.", field="Origin")
        elif request.method not in HARMLESS and request.headers.get("Sec-Fetch-Site", "none") not in (
            "none",
            "same-origin",
        ):
            raise Forbidden("A page of another site may not change anything here.", field="Sec-Fetch-Site")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("Send the body as it is, without Content-Encoding.", field="Content-Encoding")

    def _host(self, request: web.Request) -> str | None:
        """The `Host` of the request, if it has one, which every browser's has."""
        hosts = request.headers.getall("Host", [])
        if not hosts:
            return None
        if len(hosts) > 1:
            raise InvalidInput("Say one Host.", field="Host")
        if not self._ours(hosts[0]):
            raise Forbidden(
                f"This node does not go by the name {_bare(hosts[0])[:80]!r}. If it should, start it with --allow-host NAME.",
                field="Host",
            )
        return hosts[0]

    def _ours(self, host: str) -> bool:
        name = _bare(host)
        if not name:
            return False
        # A name without a dot is one of this network: nobody on the Internet has it.
        if "." not in name or name in self._names or name.endswith(PRIVATE) or _is_address(name):
            return True
        return name in self._members()

    def _members(self) -> Collection[str]:
        members = self._replica.table.members.values()
        return {member.name.lower() for member in members} | {member.address.lower() for member in members}


def _bare(host: str) -> str:
    """The name in a `Host`, without its port and the last dot; empty if it is none."""
    try:
        parts = urlsplit(f"//{host.strip()}")
        _ = parts.port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return ""
    return (parts.hostname or "").rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _same(origin: str, host: str) -> bool:
    """Does a page of `origin` come from `host`? Behind a proxy the scheme may be another one."""
    try:
        parts = urlsplit(origin)
        mine = urlsplit(f"//{host}")
        port = {"http": 80, "https": 443}.get(parts.scheme, 0)
        return (
            port > 0
            and parts.hostname is not None
            and parts.hostname == mine.hostname
            and (parts.port or port) == (mine.port or port)
        )
    except ValueError:
        return False
