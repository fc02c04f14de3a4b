"""Who may ask: a request must be meant for this node, and must not be another site's word in a visitor's browser (see
`wire.hosts`). What no page can send without asking first is JSON.
"""

import socket
from collections.abc import Iterable

from aiohttp import web

from ariacluster.domain.errors import Forbidden, InvalidInput, UnsupportedMediaType
from ariacluster.wire import hosts
from ariacluster_node.services.replica import Replica

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
        self._names = {own, *(hosts.bare(name) for name in allowed)}

    def check(self, request: web.Request) -> None:
        """`Forbidden` for what another site's page may have sent; `UnsupportedMediaType` for a body that has to be unpacked."""
        host = self._host(request)
        if origins := request.headers.getall("Origin", []):
            if host is None or len(origins) > 1 or not hosts.same(origins[0], host):
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
        said = request.headers.getall("Host", [])
        if not said:
            return None
        if len(said) > 1:
            raise InvalidInput("Say one Host.", field="Host")
        if not hosts.is_ours(said[0], self._names) and not hosts.is_ours(said[0], self._members()):
            name = hosts.bare(said[0])[:80]
            raise Forbidden(
                f"This node does not go by the name {name!r}. If it should, start it with --allow-host NAME.",
                field="Host",
            )
        return said[0]

    def _members(self) -> set[str]:
        members = self._replica.table.members.values()
        return {member.name.lower() for member in members} | {member.address.lower() for member in members}
