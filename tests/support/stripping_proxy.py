"""A reverse proxy that serves something below a path of its own, as nginx with a `location /aria/` does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

HOP = {"host", "connection", "content-length", "transfer-encoding", "content-encoding", "accept-encoding", "upgrade"}


@asynccontextmanager
async def stripping_proxy(target: str, path: str, port: int) -> AsyncIterator[str]:
    """The URL at which `target` is to be had; `path` like `/aria`."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            rest = request.path_qs.removeprefix(path)
            headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
            headers |= {"X-Forwarded-Prefix": path, "X-Forwarded-Host": request.host}
            if request.headers.get("Upgrade", "").lower() == "websocket":
                kept = {name: value for name, value in headers.items() if not name.lower().startswith("sec-websocket")}
                return await _both_ways(session, request, target + rest, kept)
            async with session.request(
                request.method, target + rest, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                told = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
                return web.Response(status=answer.status, body=await answer.read(), headers=told)

        app = web.Application()
        app.router.add_route("*", path + "{rest:.*}", pass_on)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}{path}"
        finally:
            await runner.cleanup()


async def _both_ways(
    session: aiohttp.ClientSession, request: web.Request, target: str, headers: dict[str, str]
) -> web.WebSocketResponse:
    front = web.WebSocketResponse()
    await front.prepare(request)
    async with session.ws_connect(target, headers=headers) as back:

        async def carry(source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
                        sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:  # fmt: skip
            async for message in source:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await sink.send_str(message.data)
                elif message.type is aiohttp.WSMsgType.BINARY:
                    await sink.send_bytes(message.data)
            await sink.close()

        await asyncio.gather(carry(front, back), carry(back, front), return_exceptions=True)
    return front
