"""Who may ask: `Host` and `Origin` of every request and every WebSocket are looked at before anything else is.

NiceGUI looks at neither, so that any page in a browser of the LAN could speak to it (cross-site WebSockets, DNS rebinding).
A login, once clusters can be locked, belongs into `Door.admits`: every way in leads through it.
"""

import socket
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ariacluster.wire import hosts

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", b"frame-ancestors 'none'; object-src 'none'; base-uri 'none'"),
)
"""A stricter policy would keep NiceGUI from working: it evaluates code that it is sent."""

OPEN = ("/healthz",)
"""Asked for by probes under any name; it tells nothing."""


class Door:
    """`hosts`: further names under which one may come; `members`: the names and addresses of the cluster's nodes."""

    def __init__(self, hosts: Iterable[str] = (), members: Callable[[], Iterable[str]] = tuple) -> None:
        self._hosts = frozenset(name.lower().rstrip(".") for name in [socket.gethostname(), *hosts])
        self._members = members

    def knows(self, host: str) -> bool:
        """Whether a `Host` (or the host of an origin) is one that only this network can mean."""
        return hosts.is_ours(host, self._hosts) or hosts.is_ours(host, {name.lower() for name in self._members()})

    def same(self, origin: str, *places: str) -> bool:
        """Whether a page of `origin` is one of ours: it was fetched from the very place that it now speaks to."""
        return any(hosts.same(origin, place) for place in places if place)

    def admits(self, headers: MutableMapping[str, str]) -> str | None:
        """None, or why not, as a sentence for the person who is kept out."""
        host = headers.get("host", "")
        if not self.knows(host):
            return (
                f"The web app does not answer to the name {host[:80]!r}. Use its IP address, or start it with "
                "--allow-host NAME."
            )
        origin = headers.get("origin")
        # A page cannot set X-Forwarded-Host without being allowed to by us first: only a proxy of ours speaks it.
        if origin and not self.same(origin, host, headers.get("x-forwarded-host", "")):
            return "Another page may not speak to the web app."
        return None


class Guard:
    """The door as ASGI middleware, for HTTP and WebSocket."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        said = [name.lower() for name, _ in scope["headers"]]
        why = None if scope["path"] in OPEN else self._door.admits(headers)
        if max(said.count(b"host"), said.count(b"origin")) > 1:
            why = "Say one Host, and one Origin."
        if why is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _refuse(send, why)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS]
        await send(message)

    return sending


async def _refuse(send: Send, why: str) -> None:
    headers: list[Any] = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})
