"""Apps on real loopback ports, and what the fakes that answer a node's API share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from aiohttp import web

from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire import problems
from ariacluster.wire.requests import SettingsPatch
from ariacluster.wire.resources import SettingsResource
from ariacluster_node.api.rest import MAX_MANY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(
    app: web.Application, host: str = "127.0.0.1", *, handler_cancellation: bool = False, shutdown_timeout: float = 0.1
) -> AsyncIterator[web.AppRunner]:
    """On a free port: `port_of` says which."""
    runner = web.AppRunner(
        app, access_log=None, handler_cancellation=handler_cancellation, shutdown_timeout=shutdown_timeout
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield runner
    finally:
        await runner.cleanup()


def port_of(runner: web.AppRunner) -> int:
    return int(runner.addresses[0][1])


class Api:
    """`async with` it; then `url` answers as `_routes` says. After `stop`, `start` answers on the same port again."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._runner: web.AppRunner | None = None

    def _routes(self) -> Iterable[tuple[str, str, Handler]]:
        raise NotImplementedError

    async def _first(self, request: web.Request) -> web.StreamResponse | None:
        """Sees each request before its handler: what it returns or raises is answered instead."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        app = web.Application(middlewares=[self._answer], client_max_size=MAX_MANY)
        for method, path, handler in self._routes():
            app.router.add_route(method, path, handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = port_of(self._runner)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answered = await self._first(request)
            return await handler(request) if answered is None else answered
        except AriaClusterError as error:
            body = msgspec.json.encode(problems.problem_of(error))
            return web.Response(status=error.status, body=body, content_type=problems.CONTENT_TYPE)


def answer(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """As JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, headers=headers, content_type="application/json"
    )


def named(patch: msgspec.Struct) -> dict[str, Any]:
    """What a patch names; what it leaves out stays as it is."""
    given = {name: getattr(patch, name) for name in patch.__struct_fields__}
    return {name: value for name, value in given.items() if value is not msgspec.UNSET}


def merged(now: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key: None takes one away."""
    return {key: value for key, value in (now | dict(patch)).items() if value is not None}


def configured(settings: SettingsResource, patch: SettingsPatch) -> SettingsResource:
    changes = named(patch)
    if "origin_limits" in changes:
        changes["origin_limits"] = merged(settings.origin_limits, changes["origin_limits"])
    return msgspec.structs.replace(settings, **changes)
