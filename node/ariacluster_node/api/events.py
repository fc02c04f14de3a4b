"""`GET /events`: what happens, as it happens; server-sent events, or a WebSocket if that is what is asked for."""

import asyncio
import contextlib
from collections.abc import Iterable

import msgspec
from aiohttp import WSMsgType, web

from ariacluster.domain.errors import AriaClusterError, InvalidInput
from ariacluster.wire import routes as paths
from ariacluster.wire.events import MAX_TOP, TOPICS, Watch
from ariacluster_node.services.event_hub import EventHub
from ariacluster_node.services.subscription import Subscription

from .answers import known, look, number, words

routes = web.RouteTableDef()

HUB: web.AppKey[EventHub] = web.AppKey("event_hub", EventHub)

HEARTBEAT = 10.0
"""Seconds of silence after which a reader is told that the node is still there."""

STALLED = 10.0
"""Seconds that a reader may leave the network full; then it is too slow, or gone without a word."""

FAREWELL = 0.5
"""Seconds for a reader to take note that its subscription ends."""

MAX_SAID = 64 * 1024
"""Bytes that a reader may say at once: 1,000 ids have 19,000."""

SUBSCRIPTION_ENDED = 4000
"""The close code (RFC 6455, section 7.4.2) after `Bye`; the reason is its code."""

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back until it has a buffer full of them
}


def open_to(app: web.Application, hub: EventHub) -> None:
    """Let `app` tell what `hub` has to tell; all readers are sent away when the application shuts down."""

    async def close(_: web.Application) -> None:
        hub.close()

    app[HUB] = hub
    app.add_routes(routes)
    app.on_shutdown.append(close)


@routes.get(paths.EVENTS)
async def events(request: web.Request) -> web.StreamResponse:
    known("topics", "watch", "top", "since", of=request)
    topics = _topics(request.query.get("topics"))
    watch = _ids(words(request.query.get("watch")))
    top = number(request, "top", default=0, least=0, most=MAX_TOP)
    since = _since(request)
    await look(request)  # the first frame is to have what is known, not what was known when somebody looked last
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_SAID, timeout=FAREWELL, compress=False)
    async with request.app[HUB].subscribe(topics, since=since, watch=watch, top=top) as reader:
        return await (_converse if socket.can_prepare(request) else _stream)(request, socket, reader)


async def _stream(request: web.Request, _: web.WebSocketResponse, reader: Subscription) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    try:
        with contextlib.suppress(EOFError):
            while True:
                frames = await reader.next(HEARTBEAT)
                async with asyncio.timeout(STALLED):
                    await response.write(b"".join(frame.sse for frame in frames) or b":\n\n")
        async with asyncio.timeout(FAREWELL):
            await response.write_eof()
    except (TimeoutError, ConnectionError):
        _hang_up(request)
    return response


async def _converse(request: web.Request, socket: web.WebSocketResponse, reader: Subscription) -> web.StreamResponse:
    await socket.prepare(request)
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell(request, socket, reader))
        await _listen(request.app[HUB], socket, reader)
        if not reader.ended:
            telling.cancel()
    return socket


async def _tell(request: web.Request, socket: web.WebSocketResponse, reader: Subscription) -> None:
    try:
        with contextlib.suppress(EOFError):
            while True:
                for frame in await reader.next(HEARTBEAT):
                    async with asyncio.timeout(STALLED):
                        await socket.send_str(frame.json.decode())
        async with asyncio.timeout(2 * FAREWELL):
            await socket.close(code=SUBSCRIPTION_ENDED, message=reader.why.encode())
    except (TimeoutError, ConnectionError):
        _hang_up(request)


async def _listen(hub: EventHub, socket: web.WebSocketResponse, reader: Subscription) -> None:
    async for message in socket:
        if message.type is WSMsgType.ERROR:  # too large or no WebSocket: told already
            return
        try:
            if message.type is not WSMsgType.TEXT:
                raise InvalidInput("Say what to watch as JSON.")
            said = _watch(message.data)
            hub.follow(reader, _ids(said.watch), said.top)
        except AriaClusterError as error:
            reader.end(error.code, error.detail)


def _watch(text: str) -> Watch:
    try:
        said = msgspec.json.decode(text, type=Watch)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidInput(f"What you said cannot be read: {error}.") from None
    if not 0 <= said.top <= MAX_TOP:
        raise InvalidInput(f"Give a whole number from 0 to {MAX_TOP}.", field="top")
    return said


def _hang_up(request: web.Request) -> None:
    """Whoever does not read would not hear a farewell either."""
    if request.transport is not None:
        request.transport.abort()


def _topics(text: str | None) -> list[str]:
    asked = TOPICS if text is None else words(text)
    for topic in asked:
        if topic not in TOPICS:
            raise InvalidInput(f"There is no topic {topic!r}; there are {', '.join(TOPICS)}.", field="topics")
    return list(asked)


def _ids(asked: Iterable[str]) -> list[str]:
    ids = [one.lower() for one in asked]
    if len(ids) > paths.MAX_WATCHED:
        raise InvalidInput(f"At most {paths.MAX_WATCHED} tasks can be watched at a time.", field="watch")
    return ids


def _since(request: web.Request) -> int | None:
    """`Last-Event-ID` is what a browser sends by itself when it comes back, so it is the newer of the two."""
    if "Last-Event-ID" not in request.headers and "since" not in request.query:
        return None
    text = request.headers.get("Last-Event-ID") or request.query.get("since", "")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput("Give the number of an event.", field="since")
    return int(text)
