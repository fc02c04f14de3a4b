"""The wire of the links: TCP on an asyncio loop. The only room with sockets."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import structlog

from .link import Stream, StreamHandler

DIAL_TIMEOUT_S = 3.0
"""For all addresses of a name together."""

USER_TIMEOUT_MS = 5000
"""Sent and not acknowledged for so long (RFC 5482): the kernel gives the connection up."""

ACCEPT_AGAIN_S = 0.2
"""After a refusal by the kernel: too many open files, most likely, which passes when some are closed."""

log = structlog.get_logger()


class Acceptor(Protocol):
    def accepted(self, stream: Stream, host: str) -> StreamHandler: ...


class Sockets:
    """Fills `Wire`. Lives on one loop: `attach`, `start`, then `dial`, and `close` in the end.

    What a handler or `on_work` raises closes that connection and goes to the loop's exception handler.
    """

    def __init__(self, on_work: Callable[[], None]) -> None:
        """`on_work` is called each time after something was handed to the links."""
        self.on_work = on_work
        self._acceptor: Acceptor
        self._loop: asyncio.AbstractEventLoop
        self._listening: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[_Connection, asyncio.Future[None]] = {}
        self._is_closed = False

    def attach(self, links: Acceptor) -> None:
        self._acceptor = links

    async def start(self, sock: socket.socket | None) -> None:
        """`sock` listens already and is closed with this; None: nobody can dial this node."""
        self._loop = asyncio.get_running_loop()
        if sock is not None:
            sock.setblocking(False)
            self._listening = sock
            self._begin(self._accept(sock))

    def dial(self, address: str, handler: StreamHandler) -> None:
        if not self._is_closed:
            self._begin(self._connect(address, handler))

    async def close(self) -> None:
        """Abort everything; no socket is open and nothing runs any more when it returns."""
        self._is_closed = True
        if self._listening is not None:
            # Nobody more is taken in. Whoever was a moment ago is met before the task is cancelled: that would lose the socket.
            self._loop.remove_reader(self._listening)
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        for connection in list(self._open):
            connection.close()
        await asyncio.gather(*self._open.values())

    # ── accepting ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _accept(self, listening: socket.socket) -> None:
        # Not asyncio's own server: its answer to a lack of files is an error each second, and this is no error of ours.
        has_warned = False
        while True:
            try:
                sock, peer = await self._loop.sock_accept(listening)
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue  # whoever dialed has hung up again
                if not has_warned:
                    has_warned = True
                    log.warning("cannot accept connections", reason=error.strerror, retry_in=ACCEPT_AGAIN_S)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            if self._is_closed:
                sock.close()
                return
            try:
                _tune(sock)
            except OSError:  # hung up again
                sock.close()
            else:
                await self._adopt(sock, _Connection(self, host=_host(peer)))

    # ── dialing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _connect(self, address: str, handler: StreamHandler) -> None:
        connection = _Connection(self, handler=handler)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                sock = await self._reach(address)
        except (OSError, ValueError):  # TimeoutError is the one, UnicodeError of what cannot be a name is the other
            connection.guarded(handler.failed)
        else:
            await self._adopt(sock, connection)

    async def _reach(self, address: str) -> socket.socket:
        """The first address that answers. OSError if none does, ValueError if it is none."""
        host, port = _split(address)
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, target in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                _tune(sock)
                async with asyncio.timeout(DIAL_TIMEOUT_S / len(found)):
                    await self._loop.sock_connect(sock, target)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise failure

    # ── both ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _adopt(self, sock: socket.socket, connection: "_Connection") -> None:
        """From here on asyncio closes the socket, whatever happens."""
        await self._loop.create_connection(lambda: connection, sock=sock)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "the sockets failed", "exception": error, "task": task})


class _Connection(asyncio.Protocol):
    """Fills `Stream`, and passes on what asyncio says."""

    def __init__(self, sockets: Sockets, *, handler: StreamHandler | None = None, host: str = "") -> None:
        self._sockets = sockets
        self._handler = handler
        self._host = host
        self._transport: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._sockets._open[self] = self._sockets._loop.create_future()
        if self._sockets._is_closed:
            self.close()
        elif self._handler is None:
            self._handler = self._sockets._acceptor.accepted(self, self._host)
            self.guarded(lambda: None)
        else:
            self.guarded(self._handler.opened, self)

    def data_received(self, data: bytes) -> None:
        assert self._handler is not None
        self.guarded(self._handler.received, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._handler is not None:
            self.guarded(self._handler.lost)
        gone = self._sockets._open.pop(self)
        gone.set_result(None)

    def guarded(self, tell: Callable[..., None], *args: object) -> None:
        """asyncio passes over an OSError of a protocol without a word, and it may come from the disk."""
        try:
            tell(*args)
            self._sockets.on_work()
        except Exception as error:
            self.close()
            self._sockets._loop.call_exception_handler(
                {"message": "what the links told their owner failed", "exception": error, "protocol": self}
            )


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 5),
        ("TCP_KEEPINTVL", 2),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS),
    ):
        if hasattr(socket, name):  # not everywhere
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _split(address: str) -> tuple[str, int]:
    """Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise ValueError(f"{address} is not host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _host(peer: tuple[Any, ...]) -> str:
    """The IP address, as text; of an IPv4 connection to an IPv6 socket the IPv4 one; of a link-local one with its scope."""
    host = str(peer[0])
    if "." in host:
        return host.removeprefix("::ffff:")
    return f"{host}%{peer[3]}" if len(peer) == 4 and peer[3] and "%" not in host else host
