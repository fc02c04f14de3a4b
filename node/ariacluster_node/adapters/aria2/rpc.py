"""Speak JSON-RPC with one aria2c over one WebSocket. Source: aria2 manual, "RPC INTERFACE"."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec
import structlog

from ariacluster.domain.errors import Unavailable

log = structlog.get_logger()

CALL_S = 10.0
"""aria2 answers in milliseconds; one that takes this long hangs."""

_LOOPBACKS = ("127.0.0.1", "[::1]")

_CLOSE_S = 0.5
"""A hanging engine takes no part in a closing handshake."""

DOWN = "The aria2 of this node is not running right now; it is being restarted. Try again in a few seconds."


class Refused(Exception):
    """aria2's answer was an error. `code` is nearly always 1: the text is what tells."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Call(msgspec.Struct, frozen=True):
    """One inner call of a multicall; the secret is added when it is sent."""

    method: str
    params: tuple[Any, ...] = ()


class _Error(msgspec.Struct):
    code: int
    message: str


class _Message(msgspec.Struct):
    """An answer (it has an id) or a notification (it has a method)."""

    id: int | None = None
    result: Any = None
    error: _Error | None = None
    method: str = ""
    params: list[dict[str, str]] = []


class Rpc:
    """An open connection. It never opens again: `closed` is set when it is of no more use."""

    def __init__(self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse, secret: str) -> None:
        self.closed = asyncio.Event()
        self.on_event: Callable[[str, str], None] = lambda method, gid: None
        """Called with a notification's method (`aria2.onDownloadStart` …) and its GID."""
        self._session = session
        self._socket = socket
        self._token = f"token:{secret}"
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, secret: str) -> "Rpc":
        """Connect to loopback `port` and show the secret. `Unavailable` if nobody listens there yet.

        Raises `Refused` if whoever listens does not take the secret: it is not our engine.
        """
        session = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(CALL_S):
                socket = await _connect(session, port)
        except (aiohttp.ClientError, OSError, TimeoutError):
            await session.close()
            raise Unavailable(DOWN) from None
        except BaseException:
            await session.close()
            raise
        rpc = cls(session, socket, secret)
        try:
            # Some builds send events only to a connection that has shown the secret once.
            await rpc.call("aria2.getVersion")
        except BaseException:
            await rpc.close()
            raise
        return rpc

    async def call(self, method: str, *params: Any, timeout: float = CALL_S) -> Any:
        """The result, or `Refused`; `Unavailable` if the connection ends first or `timeout` seconds pass."""
        return await self._send(method, [self._token, *params], timeout)

    async def multicall(self, calls: Sequence[Call], *, timeout: float = CALL_S) -> list[Any]:
        """One result per call, in order, from one moment of the engine; a call that failed gives a `Refused`."""
        inner = [{"methodName": call.method, "params": [self._token, *call.params]} for call in calls]
        answers = await self._send("system.multicall", [inner], timeout)
        return [
            answer[0] if isinstance(answer, list) else Refused(int(answer["code"]), answer["message"])
            for answer in answers
        ]

    async def close(self) -> None:
        """Close the connection; calls under way raise `Unavailable`. Idempotent."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._end()
        await self._socket.close()
        await self._session.close()

    async def _send(self, method: str, params: list[Any], timeout: float) -> Any:
        if self.closed.is_set():
            raise Unavailable(DOWN)
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            async with asyncio.timeout(timeout):
                await self._socket.send_str(msgspec.json.encode(request).decode())
                return await answer
        except TimeoutError:
            raise Unavailable(f"The aria2 of this node did not answer within {timeout:g} s. Try again soon.") from None
        except (aiohttp.ClientError, ConnectionError):
            raise Unavailable(DOWN) from None
        finally:
            self._waiting.pop(number, None)

    async def _read(self) -> None:
        decoder = msgspec.json.Decoder(_Message)
        try:
            async for frame in self._socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._take(decoder.decode(frame.data))
        except (aiohttp.ClientError, ConnectionError, msgspec.MsgspecError) as error:
            log.warning("engine's connection broke", error=type(error).__name__)
        finally:
            self._end()

    def _take(self, message: _Message) -> None:
        if message.id is None:
            for event in message.params:
                self.on_event(message.method, event.get("gid", ""))
            return
        answer = self._waiting.get(message.id)
        if answer is None or answer.done():  # it came after the caller had given up
            return
        if message.error is not None:
            answer.set_exception(Refused(message.error.code, message.error.message))
        else:
            answer.set_result(message.result)

    def _end(self) -> None:
        self.closed.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unavailable(DOWN))


async def _connect(session: aiohttp.ClientSession, port: int) -> aiohttp.ClientWebSocketResponse:
    """On a machine without any IPv4 address but loopback's, some builds listen on IPv6's loopback alone."""
    for host in _LOOPBACKS:
        try:
            return await session.ws_connect(
                f"ws://{host}:{port}/jsonrpc",
                max_msg_size=0,  # it is our own engine, and a list of ten thousand downloads has megabytes
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
            )
        except (aiohttp.ClientError, OSError):
            if host == _LOOPBACKS[-1]:
                raise
    raise AssertionError  # there is at least one loopback
