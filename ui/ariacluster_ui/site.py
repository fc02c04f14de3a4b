"""The site as a whole: what is served, what runs beside it, who is let in. The only file that knows all the others."""

import asyncio
import functools
import gc
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from nicegui import app, ui
from nicegui.server import Server
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import AriaClusterError, PayloadTooLarge

from . import assets, pages, theme, visitors
from .documents import Documents
from .guard import Door, Guard
from .live import Store
from .options import Options
from .pages.adding import Adding
from .push import Push
from .shell import Shell
from .words import t

log = structlog.get_logger()

RECONNECT = 25.0
"""Seconds that a laptop may be out of reach before its page is made anew."""

PARTING = 2.0
"""Seconds that the end waits for what tabs put off."""

GZIP_LEVEL = 5
"""Nine takes twice as long for two percent."""


class Site:
    """One cluster shown to all tabs of this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.push = Push(store)
        self.documents = Documents()
        self.broken = False
        self._running: asyncio.Task[None] | None = None

    def root(self) -> None:
        """Builds one tab."""
        client = ui.context.client
        prefix = assets.prefix(client.request.headers, client.request.scope.get("root_path", ""))
        ui.add_head_html(theme.head_html(prefix))
        ui.add_body_html(theme.body_html())
        shell = Shell(self.store, self.push.open(client))
        shell.build()
        Adding(shell, self.documents)
        with ui.element("div").classes("ac-page").props("id=ac-content"):
            pages.Pages(shell)

    async def start(self) -> None:
        self._running = asyncio.create_task(self._run())
        self._running.add_done_callback(self._look)

    def _look(self, ended: asyncio.Task[None]) -> None:
        """A page that is told nothing any more is worse than none: whoever started us starts us again."""
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.error("the web app has to stop", exc_info=error)
            self.broken = True
            app.shutdown()

    async def stop(self) -> None:
        if self._running is not None:
            try:
                async with asyncio.timeout(PARTING):
                    await self.push.leave()
            except TimeoutError:
                log.warning("the node did not hear all that was to be removed")
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.run())
            group.create_task(self.push.run())
            group.create_task(visitors.forget())

    def routes(self) -> None:
        """What is no page."""

        @app.get("/healthz")
        def healthz() -> Response:
            return PlainTextResponse("ok\n")

        @app.get("/ui/boot")
        def boot() -> Response:
            return Response(self.push.boot(), media_type="application/json", headers={"Cache-Control": "no-store"})

        @app.get(theme.WORDS_URL)
        def words() -> Response:
            kept = {"Cache-Control": f"public, max-age={assets.YEAR}, immutable"}
            return Response(theme.words_js(), media_type="text/javascript", headers=kept)

        @app.post("/ui/document")
        async def document(request: Request) -> Response:
            try:
                token, kept = await self.documents.keep(await _body(request))
            except AriaClusterError as error:
                return JSONResponse({"detail": error.detail}, error.status)
            return JSONResponse({"token": token, "kind": kept.kind, "name": kept.name, "size": kept.size})

        @app.get("/manifest.webmanifest")
        def manifest(request: Request) -> Response:
            prefix = assets.prefix(request.headers, request.scope.get("root_path", ""))
            return Response(theme.manifest(prefix), media_type="application/manifest+json")


async def _body(request: Request) -> bytes:
    """At most so much of it is ever held."""
    parts, left = [], MAX_DOCUMENT
    async for part in request.stream():
        left -= len(part)
        if left < 0:
            raise PayloadTooLarge(f"It is larger than {MAX_DOCUMENT // 2**20} MiB, the most that a node takes.")
        parts.append(part)
    return b"".join(parts)


def prepare(store: Store, *, door: Door) -> Site:
    """Everything but the server; `root` is what `ui.run` shall be given."""
    site = Site(store)
    assets.register()
    site.routes()
    app.config.quasar_config["loadingBar"] = {"skipHijack": True}  # a bar without a name, at each of our own questions
    app.add_middleware(Guard, door=door)
    app.on_startup(site.start)
    app.on_shutdown(site.stop)
    return site


def serve(told: Options, taken: socket.socket) -> None:
    """Until SIGTERM."""
    store = Store(told.urls)

    def names() -> Iterator[str]:
        for node in store.nodes.values():
            yield from (node.name, node.address)

    site = prepare(store, door=Door(told.hosts, names))
    # ui.run takes an address, which would be bound to one family of addresses only.
    Server.run = functools.partialmethod(_run_on, Server.run, taken)  # type: ignore[assignment,method-assign]
    gc.freeze()
    ui.run(
        site.root,
        host=told.host,
        port=taken.getsockname()[1],
        title=t("title"),
        favicon=assets.STATIC / "icon.svg",
        reload=False,
        show=False,
        tailwind=False,
        dark=None,
        language="en-US",
        reconnect_timeout=RECONNECT,
        binding_refresh_interval=None,
        gzip_middleware_factory=_gzip,
        show_welcome_message=False,
        timeout_graceful_shutdown=3,
        server_header=False,
    )
    if site.broken:
        sys.exit(1)


def _run_on(server: Any, run: Callable[..., None], taken: socket.socket, sockets: Any = None) -> None:
    run(server, sockets=[taken])


def _gzip(app: Any) -> GZipMiddleware:
    return GZipMiddleware(app, minimum_size=500, compresslevel=GZIP_LEVEL)
