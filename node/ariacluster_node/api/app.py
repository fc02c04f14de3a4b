"""The node's HTTP application: its rooms, and one way for every error to leave."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from ariacluster.domain.errors import AriaClusterError, MethodNotAllowed, NotFound, PayloadTooLarge
from ariacluster_node.services import caller

from . import cluster, health, history, peers, rest, settings
from .answers import SERVICES, Services, problem

log = structlog.get_logger()

MAX_BODY = 1024 * 1024
"""Bytes of a request body; a task with 64 mirrors stays far below."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(services: Services) -> web.Application:
    """The application; run it with `web.AppRunner(app, handler_cancellation=True)`."""
    app = web.Application(middlewares=[callers, problems], client_max_size=MAX_BODY)
    app[SERVICES] = services
    for room in (rest, settings, cluster, history, health, peers):
        app.add_routes(room.routes)
    return app


@web.middleware
async def callers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is proposed on the way bears whose word it was."""
    caller.WHO.set((request.remote or "").removeprefix("::ffff:")[: caller.MAX_CHARS])
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
    except Exception:
        log.exception("request failed", method=request.method, path=request.path)
        return problem(AriaClusterError("The node met a fault of its own; its log has the details."))
