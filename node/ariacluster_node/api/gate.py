"""How many may come in at a time: whoever opens connections and says nothing, or asks and does not listen, holds nobody up."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MAX_GUESTS = 1_500
"""Open connections. Files and the other sockets of the node need their share of what a process may have open."""

MAX_SILENT = 256
"""Of those, such as have not asked anything yet; the oldest makes room. An honest one asks within milliseconds."""

ASK_WITHIN = 10.0
"""Seconds from the connection to the end of the first request's headers."""

LISTEN_WITHIN = 30.0
"""Seconds for which an answer may get stuck on its way."""

IDLE_FOR = 60.0
"""Seconds for which a connection is kept open for another request."""

SWEEP = 2.0
"""Seconds between two looks at them."""

BACKLOG = 512


class Guest(RequestHandler):
    """One connection."""

    __slots__ = ("came_at", "gate", "stuck_at", "stuck_since")

    def __init__(self, gate: "Gate", server: web.Server) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, **server._kwargs)
        self.gate = gate
        self.came_at = self.stuck_since = loop.time()
        self.stuck_at = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.gate.came(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._request_count:
            self.gate.asked(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.gate.left(self)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """It was answered, and has not asked anything since."""
        return self._request_count > 0 and self._waiter is not None and not self._waiter.done()

    def is_stuck(self, now: float) -> bool:
        """Nothing of what it was told has gone out for long."""
        size = self.transport.get_write_buffer_size() if isinstance(self.transport, asyncio.WriteTransport) else 0
        if not size or size != self.stuck_at:
            self.stuck_at, self.stuck_since = size, now
        return now - self.stuck_since > LISTEN_WITHIN

    def turn_out(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()


class Gate:
    """Lets connections in to `server`."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._most = min(MAX_GUESTS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._guests: dict[Guest, None] = {}
        self._silent: dict[Guest, None] = {}

    def __call__(self) -> Guest:
        return Guest(self, self._server)

    @property
    def guests(self) -> int:
        return len(self._guests)

    def came(self, guest: Guest) -> None:
        self._guests[guest] = self._silent[guest] = None
        if len(self._silent) > MAX_SILENT:
            self._turn_out(next(iter(self._silent)))
        if len(self._guests) > self._most:
            self._turn_out(next((other for other in self._guests if other.idle), guest))

    def asked(self, guest: Guest) -> None:
        self._silent.pop(guest, None)

    def left(self, guest: Guest) -> None:
        self._silent.pop(guest, None)
        self._guests.pop(guest, None)

    async def sweep(self) -> None:
        """Turn out who says nothing and who does not listen, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            now = asyncio.get_running_loop().time()
            late = [guest for guest in self._silent if now - guest.came_at > ASK_WITHIN]
            for guest in [*late, *(guest for guest in self._guests if guest.is_stuck(now))]:
                self._turn_out(guest)

    def _turn_out(self, guest: Guest) -> None:
        self.left(guest)
        guest.turn_out()


@contextlib.asynccontextmanager
async def opened(application: web.Application, taken: socket.socket) -> AsyncIterator[Gate]:
    """The application answers at the listening socket `taken` while the block runs. At its end readers of streams are told
    so, and what is being answered has two seconds."""
    runner = web.AppRunner(
        application,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=2.0,
        keepalive_timeout=IDLE_FOR,
        auto_decompress=False,  # a kilobyte may unpack to a gigabyte, and nobody needs to pack
    )
    await runner.setup()
    try:
        assert runner.server is not None
        gate = Gate(runner.server)
        server = await asyncio.get_running_loop().create_server(gate, sock=taken, backlog=BACKLOG)
        sweeping = asyncio.create_task(gate.sweep())
        try:
            yield gate
        finally:
            sweeping.cancel()
            server.close()
    finally:
        await runner.cleanup()
