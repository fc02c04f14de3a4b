"""What happens in the cluster, as it happens: `GET /events` of whichever node answers, through lost connections."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from ariacluster import __version__
from ariacluster.wire import routes
from ariacluster.wire.events import TOPICS, Bye, Frame, Hello, History, Watch

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds before the second and any later try to reach a node; doubled when all of them were tried, up to half of it
less by chance."""

CONNECT_TIMEOUT = 5.0
"""Seconds until a node has answered: it may first catch up with what the reader knows."""

HEARTBEAT = 6.0
"""Seconds of silence after which the node is asked whether it is there; half of it later the connection is lost."""

MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one frame: 1,000 watched tasks with long stories are far below."""


class Lost(NamedTuple):
    """The connection is lost, or none could be had; the stream goes on by itself. Told once, until there is one again."""

    reason: str


class EventStream:
    """An async context manager, and an async iterator that never ends by itself. `urls`: nodes of one cluster (from `locate`);
    when one is lost the next is tried. `since`: go on after this number; without it, with what comes.

    Every `Hello` after the first one says with `resumed` whether all that was missed follows. If not, or after a `Lost` for
    what has no numbers, read anew what you show: a node tells everything first, and changes from then on.
    """

    def __init__(
        self, urls: Sequence[str], *, topics: Iterable[str] = TOPICS, since: int | None = None, top: int = 0
    ) -> None:
        self._urls = list(urls)
        self._topics = ",".join(topics)
        self._watch: list[str] = []
        self._top = top
        self._at = 0
        self._tries = 0
        self._lost = False
        self._met = float("inf")
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
        self._saying = asyncio.Lock()
        self.since = since
        """The number of the last event that was told."""

    @property
    def url(self) -> str:
        """The node that is listened to, or will be tried next."""
        return self._urls[self._at % len(self._urls)]

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers={"User-Agent": f"ariacluster/{__version__}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._hang_up()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame | Lost:
        while True:
            try:
                if self._socket is None:
                    await self._connect()
                if (frame := await self._receive()) is not None:
                    return frame
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as trouble:
                await self._hang_up()
                self._at += 1
                if _now() - self._met > LONGEST_PAUSE:  # it was no connection that is ended as soon as it is there
                    self._tries = 0
                self._met = float("inf")
                if not self._lost:
                    self._lost = True
                    return Lost(_why(trouble))

    async def watch(self, ids: Iterable[str], *, top: int | None = None) -> None:
        """Follow these tasks from now on, in place of those before; and so many of the fastest, if that is said."""
        self._watch = list(ids)
        self._top = self._top if top is None else top
        if self._socket is not None:
            await self._say(self._socket)

    async def _connect(self) -> None:
        if self._session is None:
            raise RuntimeError("EventStream is an async context manager: use it with `async with`")
        if self._tries:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._tries // len(self._urls), 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        self._tries += 1
        query = {"topics": self._topics}
        if self._top:
            query["top"] = str(self._top)
        if self.since is not None:
            query["since"] = str(self.since)
        async with asyncio.timeout(CONNECT_TIMEOUT):
            socket = await self._session.ws_connect(
                URL(f"{self.url}{routes.EVENTS}?{urlencode(query)}", encoded=True),
                heartbeat=HEARTBEAT,
                max_msg_size=MAX_FRAME,
                timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
            )
        self._socket = socket
        if self._watch:
            await self._say(socket)

    async def _say(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async with self._saying:  # what is said last counts, so it must arrive last
                await socket.send_str(msgspec.json.encode(Watch(watch=self._watch, top=self._top)).decode())
        except (aiohttp.ClientError, OSError):
            return  # lost: the reading half notices, and it is said again

    async def _receive(self) -> Frame | None:
        """The next frame that is new; None for one that is not. An error once the connection is lost."""
        assert self._socket is not None
        message = await self._socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError("The node closed the connection.")
        try:
            frame = self._decoder.decode(message.data)
        except msgspec.ValidationError:
            return None  # of a newer version, which tells more than this one knows
        match frame:
            case Hello():
                self._lost, self._met = False, _now()
                if not frame.resumed:
                    self.since = frame.seq
            case History():
                if self.since is not None and frame.entry.seq <= self.since:
                    return None
                self.since = frame.entry.seq
            case Bye():
                raise ConnectionError(frame.reason)
        return frame

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _why(trouble: Exception) -> str:
    """A sentence for a person."""
    match trouble:
        case ConnectionError() if trouble.args and isinstance(trouble.args[0], str):
            return trouble.args[0]
        case aiohttp.WSServerHandshakeError():
            return f"The node tells no events (status {trouble.status})."
        case TimeoutError():
            return "The node does not answer in time."
        case aiohttp.InvalidURL():
            return "The address of the node is none."
        case aiohttp.ClientConnectorError():
            return "The node cannot be reached."
    return "The connection to the node broke."
