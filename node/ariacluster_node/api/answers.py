"""How handlers answer: values and problems as JSON, bodies read strictly, and the services they work with."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
from aiohttp import web

from ariacluster.domain.errors import AriaClusterError, InvalidInput, PayloadTooLarge, TooSlow, UnsupportedMediaType
from ariacluster.wire import routes as paths
from ariacluster.wire.problems import CONTENT_TYPE, problem_of
from ariacluster_node.services.bulk import Bulk
from ariacluster_node.services.cluster import Cluster
from ariacluster_node.services.history import Histories
from ariacluster_node.services.listing import Listing
from ariacluster_node.services.members import Members
from ariacluster_node.services.moving import Moving
from ariacluster_node.services.overview import Overviews
from ariacluster_node.services.policy import Policies
from ariacluster_node.services.relaying import Relaying
from ariacluster_node.services.replica import Replica
from ariacluster_node.services.reports import Reports
from ariacluster_node.services.submitting import Submitting
from ariacluster_node.services.tasks import Tasks

T = TypeVar("T")

MAX_BODY = 1024 * 1024
"""Bytes of a request body; a task with 64 mirrors stays far below."""

BODY_WITHIN = 60.0
"""Seconds for a body to arrive: a large one takes half of that over a poor wireless link."""


@dataclass(frozen=True)
class Services:
    """What the handlers work with."""

    tasks: Tasks
    members: Members
    overviews: Overviews
    replica: Replica
    cluster: Cluster
    moving: Moving
    reports: Reports
    policies: Policies
    histories: Histories
    listing: Listing
    submitting: Submitting
    bulk: Bulk
    relaying: Relaying
    doubtful: bool = False
    """Nobody vouched in time for what is read now."""


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)


def problem(error: AriaClusterError) -> web.Response:
    headers = {"Retry-After": "1"} if error.status == 503 else None
    body = msgspec.json.encode(problem_of(error))
    return web.Response(body=body, status=error.status, content_type=CONTENT_TYPE, headers=headers)


def answer(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """`value` as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )


async def look(request: web.Request) -> Services:
    """Before a read: what the others report is no older than usual, and the table has all that was answered to anybody
    before. If nobody can vouch for that soon, the answer is marked; with `fresh=true` it is refused, and with `fresh=false` not
    waited for."""
    services = request.app[SERVICES]
    fresh = flag(request, "fresh", default=None)
    if fresh:
        await services.replica.fresh()
    elif fresh is None and not await services.replica.caught_up():
        services = replace(services, doubtful=True)
    await services.reports.freshen()
    return services


async def abreast(request: web.Request) -> Services:
    """Before a write that goes by what is there, as one about a task that somebody has just submitted at another node: the
    table is as new as for a read, or the write is refused."""
    services = request.app[SERVICES]
    await services.replica.abreast()
    return services


def read(services: Services, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    """What was read from this node's copy, and whether it may be old."""
    stale = services.doubtful or services.replica.stale
    return answer(value, headers={**(headers or {}), paths.STALE: "true" if stale else "false"})


def paged(request: web.Request, total: int, cursor: str | None) -> dict[str, str]:
    """Headers of a page: how many there are in all, and where it goes on (RFC 8288)."""
    headers = {"X-Total-Count": str(total)}
    if cursor is not None:
        onward = request.rel_url.without_query_params("offset").update_query(cursor=cursor)
        headers["Link"] = f'<{onward}>; rel="next"'
    return headers


def known(*names: str, of: web.Request) -> None:
    """Query parameters that are spelt wrongly would be heard as no wish at all: they are refused."""
    for name in of.query:
        if name not in names:
            raise InvalidInput(f"There is no such parameter; there are {', '.join(names)}.", field=name)


def flag(request: web.Request, name: str, *, default: bool | None = False) -> bool | None:
    """A query parameter that is true or false; `default` if it is not there."""
    text = request.query.get(name)
    if text is None:
        return default
    if text not in ("true", "false"):
        raise InvalidInput("Give true or false.", field=name)
    return text == "true"


def words(text: str | None) -> list[str]:
    """What commas part."""
    return [word for word in (text or "").split(",") if word]


def number(request: web.Request, name: str, *, default: int, least: int, most: int) -> int:
    """A query parameter that is a whole number; `default` if it is not there."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise InvalidInput(f"Give a whole number from {least} to {most}.", field=name)
    return int(text)


async def body_of(request: web.Request, shape: type[T], *, most: int = MAX_BODY) -> T:
    """The JSON body as `shape`, of at most so many bytes; an error names the field. Only `application/json` is read: a page of
    another site can send no such body without asking first."""
    if request.content_type != "application/json":
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    try:
        return msgspec.json.decode(await _bytes_of(request, most), type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except RecursionError:
        raise InvalidInput("The body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The body is not JSON: {error}.") from None


async def _bytes_of(request: web.Request, most: int) -> bytes:
    too_large = PayloadTooLarge(f"A request may have {most:,} bytes here.")
    if (request.content_length or 0) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for data in request.content.iter_any():
                body += data
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise TooSlow(f"The body of a request must be here within {BODY_WITHIN:.0f} seconds.") from None
    return bytes(body)


def _invalid(text: str) -> InvalidInput:
    """msgspec tells the place at the end: "Expected `int`, got `str` - at `$.priority`"."""
    what, _, where = text.partition(" - at `$")
    field = where.strip("`").lstrip(".") or None
    unknown = "unknown field `"
    if unknown in what:
        name = what.split(unknown)[1].strip("`")
        return InvalidInput(f"There is no field {name!r} here.", field=".".join(filter(None, (field, name))))
    return InvalidInput(f"{what}.", field=field)
