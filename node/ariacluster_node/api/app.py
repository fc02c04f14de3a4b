"""The node's HTTP application: its rooms, and one way for every error to leave."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog
from aiohttp import web

from ariacluster.domain.errors import AriaClusterError, MethodNotAllowed, NotFound, PayloadTooLarge
from ariacluster.wire import routes as paths
from ariacluster_node.services import caller

from . import cluster, health, history, openapi, peers, rest, settings
from .answers import MAX_BODY, SERVICES, Services, problem
from .guard import HEADERS, Guard

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(services: Services, *, allowed_hosts: Iterable[str] = ()) -> web.Application:
    """The application, to be let in to by `gate.opened`. `allowed_hosts`: further names that it goes by."""
    guard = Guard(services.replica, allowed_hosts)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        guard.check(request)
        return await handler(request)

    app = web.Application(middlewares=[callers, problems, guarded], client_max_size=MAX_BODY)
    app[SERVICES] = services
    app.on_response_prepare.append(_protect)
    for room in (rest, settings, cluster, history, openapi, health, peers):
        app.add_routes(room.routes)
    return app


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "ariacluster"  # what it is made of, and in which version, is nobody's business


@web.middleware
async def callers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is proposed on the way bears whose word it was."""
    address = (request.remote or "").removeprefix("::ffff:")
    told = request.headers.get(paths.CLIENT, "")
    client = "".join(sign for sign in told if sign.isprintable() and sign.isascii()).strip()
    who = f"{client[: caller.MAX_CHARS - len(address) - 1]} {address}" if client else address
    caller.WHO.set(who[: caller.MAX_CHARS])
    return await handler(request)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes a problem document; what nobody foresaw is logged with its trace and told without."""
    try:
        return await handler(request)
    except AriaClusterError as error:
        return problem(error)
    except web.HTTPRequestEntityTooLarge:
        return problem(PayloadTooLarge(f"A request may have {MAX_BODY} bytes."))
    except web.HTTPNotFound:
        return problem(NotFound(f"Nothing answers at {request.path}."))
    except web.HTTPMethodNotAllowed as error:
        answer = problem(MethodNotAllowed(f"Use {', '.join(sorted(error.allowed_methods))} here."))
        answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer
    except (web.HTTPException, asyncio.CancelledError):
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and _hung_up(request):
            log.debug("nobody waits for the answer any more", method=request.method, path=request.path)
        else:
            log.exception("request failed", method=request.method, path=request.path)
        return problem(AriaClusterError("The node met a fault of its own; its log has the details."))


def _hung_up(request: web.Request) -> bool:
    """Is whoever asked gone? As a node that dies while it fetches bytes."""
    return request.transport is None or request.transport.is_closing()
