"""The tests' own web server, on a host of a lab: it runs in the test and only its socket is on that host."""

import socket

from aiohttp import web

from tests.support.origin import Origin

from .host import Host

_PORT = 8800
_SEND_BUFFER = 32 * 1024  # what it holds of an answer that is cut short counts as served, but was never received


class LanOrigin(Origin):
    """Made by `Lab.origin`. `served` counts the body bytes by path; `url("/bytes/SIZE/NAME", rate=N)` and the like."""

    def __init__(self, host: Host, listener: socket.socket) -> None:
        super().__init__()
        self.host = host
        self._listener = listener

    def url(self, path: str, **options: int | float | str) -> str:
        """As the other hosts reach it."""
        address = f"[{self.host.address}]" if ":" in self.host.address else self.host.address
        return super().url(path, **options).replace("127.0.0.1", address, 1)

    async def shut(self) -> None:
        """Also of connections whose other end is gone: they would never drain."""
        if self._runner is not None and self._runner.server is not None:
            for connection in self._runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await super().shut()

    async def open(self, port: int = 0) -> None:
        """Listen, once: after `shut` it is gone."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._listener.bind((self.host.address, port or _PORT))
        self._port = self._listener.getsockname()[1]
        await web.SockSite(runner, self._listener).start()
        self._runner = runner
