"""Who may ask the web app, over HTTP and over a WebSocket."""

from collections.abc import Sequence
from typing import Any

import pytest

from ariacluster_ui.guard import Door, Guard

DOOR = Door(["nas.example.org"])


@pytest.mark.parametrize(
    "host",
    ["localhost:8080", "127.0.0.1", "[::1]:8080", "10.0.0.7:80", "[fe80::1%25eth0]", "nas", "a.local", "NAS.example.org:80"],
)  # fmt: skip
def test_names_of_this_network_are_known(host: str) -> None:
    assert DOOR.knows(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a@b", "nas/x", "", "[::1", "x y"])
def test_names_that_a_stranger_may_own_are_not(host: str) -> None:
    assert not DOOR.knows(host)


@pytest.mark.parametrize(
    ("origin", "host", "forwarded", "admitted"),
    [
        ("http://nas:8080", "nas:8080", "", True),
        ("http://NAS:8080", "nas:8080", "", True),
        ("http://nas", "nas:80", "", True),
        ("http://evil.example", "nas:8080", "", False),
        ("http://nas:9999", "nas:8080", "", False),
        ("null", "nas:8080", "", False),
        ("https://nas.example.org", "127.0.0.1:8080", "nas.example.org", True),
        ("https://nas.example.org", "127.0.0.1:8080", "", False),
    ],
)
def test_only_pages_of_ours_may_speak(origin: str, host: str, forwarded: str, admitted: bool) -> None:
    headers = {"host": host, "origin": origin}
    if forwarded:
        headers["x-forwarded-host"] = forwarded
    assert (DOOR.admits(headers) is None) == admitted


def test_members_are_known_by_their_names() -> None:
    assert Door(members=lambda: ["Attic.example.net"]).knows("attic.example.net:8080")


async def ask(kind: str, host: str, path: str = "/", origin: str = "", hosts: Sequence[str] = ()) -> list[Any]:
    """What is sent to somebody who asks, by a guard before an app that answers everything."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", one.encode()) for one in [host, *hosts]] + ([(b"origin", origin.encode())] if origin else [])
    await Guard(app, DOOR)({"type": kind, "path": path, "headers": headers}, receive, send)
    return sent


async def test_a_request_under_a_strange_name_is_told_what_to_do() -> None:
    start, body = await ask("http", "evil.example")
    assert start["status"] == 403
    assert b"--allow-host" in body["body"]


async def test_a_websocket_of_another_page_is_closed_before_it_is_open() -> None:
    [message] = await ask("websocket", "nas:8080", "/_nicegui_ws/socket.io/", "http://evil.example")
    assert message == {"type": "websocket.close", "code": 1008}
    [message] = await ask("websocket", "nas:8080", "/_nicegui_ws/socket.io/", "http://nas:8080")
    assert message["type"] == "websocket.accept"


async def test_two_hosts_are_one_too_many() -> None:
    start, _ = await ask("http", "nas", hosts=["evil.example"])
    assert start["status"] == 403


async def test_probes_may_come_under_any_name() -> None:
    [start] = await ask("http", "10.0.0.1.probe.example", "/healthz")
    assert start["status"] == 200


async def test_what_is_answered_may_not_be_framed() -> None:
    [start] = await ask("http", "nas:8080")
    assert b"frame-ancestors 'none'" in dict(start["headers"])[b"content-security-policy"]
