"""Half-done downloads for the nodes that go on with them. Members only."""

import asyncio

from aiohttp import web

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire import partials as wire
from ariacluster.wire import routes as paths
from ariacluster_node.services.handover import Handover

from .peers import require_member

routes = web.RouteTableDef()

HANDOVER: web.AppKey[Handover] = web.AppKey("handover", Handover)

SEND_TIMEOUT = 60.0
"""Seconds that one block may take on its way: it is in memory for so long."""


def open_to(app: web.Application, handover: Handover) -> None:
    """Let `app` serve what `handover` answers."""
    app[HANDOVER] = handover
    app.add_routes(routes)


@routes.get(paths.PEER_PARTIAL)
async def look(request: web.Request) -> web.Response:
    require_member(request)
    partial = await request.app[HANDOVER].look(request.match_info["id"], _number(request, "attempt"))
    return web.Response(body=wire.encode(partial), content_type="application/msgpack")


@routes.get(paths.PEER_PARTIAL_DATA)
async def read(request: web.Request) -> web.StreamResponse:
    require_member(request)
    handover = request.app[HANDOVER]
    async with handover.readers:
        data = await handover.read(
            request.match_info["id"],
            _number(request, "attempt"),
            request.query.get("path", ""),
            _number(request, "offset"),
            _number(request, "length"),
        )
        response = web.StreamResponse(headers={paths.BLOCK_DIGEST: await asyncio.to_thread(wire.block_digest, data)})
        response.content_type = "application/octet-stream"
        response.content_length = len(data)
        await response.prepare(request)
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await response.write(data)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # half a block is no answer, and must not wait for its end
    return response


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInput(f"Say {name} as a whole number.", field=name)
    return int(text)
