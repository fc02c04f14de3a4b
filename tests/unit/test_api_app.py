"""How errors leave the node's HTTP application that nobody foresaw."""

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from ariacluster_node.api.app import make_app
from tests.support.fake_site import FakeSite
from tests.support.serving import Handler, port_of, served


async def test_who_hung_up_is_no_fault_of_the_node() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()  # as when the other end is killed: the handler is not cancelled yet
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    with capture_logs() as logs, pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(answer)
    assert {line["log_level"] for line in logs} == {"debug"}


async def test_a_connection_that_broke_elsewhere_is_told() -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        raise ConnectionResetError("to something behind this node")

    with capture_logs() as logs:
        assert await ask(answer) == 500
    assert [(line["event"], line["log_level"]) for line in logs] == [("request failed", "error")]


async def ask(handler: Handler) -> int:
    site = FakeSite()
    [node] = await site.up("m")
    app = make_app(node.services)
    app.router.add_get("/test", handler)
    async with (
        served(app) as runner,
        aiohttp.ClientSession(f"http://127.0.0.1:{port_of(runner)}") as session,
        session.get("/test") as response,
    ):
        return response.status
