"""Tasks, nodes and the status of the cluster."""

from aiohttp import web

from ariacluster.domain.document import MAX_TEXT
from ariacluster.domain.errors import InvalidInput
from ariacluster.wire import routes as paths
from ariacluster.wire.requests import (
    BatchRequest,
    BulkRequest,
    DrainRequest,
    ImportRequest,
    MoveRequest,
    NodePatch,
    RelinkRequest,
    TaskCreate,
    TaskFilter,
    TaskPatch,
)
from ariacluster.wire.resources import NodeResource

from .answers import MAX_BODY, SERVICES, abreast, answer, body_of, flag, known, look, number, paged, read, words
from .peers import by_member

routes = web.RouteTableDef()

ANY_TASK = paths.TASK.replace("{id}", "{id:(?!(?:batch|bulk|import)$)[^{}/]+}")
ANY_TASK_VERB = paths.TASK_VERB.replace("{verb}", "{verb:(?!live$)[^{}/]+}")
"""Words that stand for something else are no id and no verb: who uses another method there is told which one is right."""

MAX_KEY_CHARS = 255

MAX_SUBMIT = MAX_TEXT + MAX_BODY
"""Bytes of a body that may bear the largest torrent or Metalink beside all that else is said of a task."""

MAX_MANY = 32 * 1024 * 1024
"""Bytes of a body with thousands of tasks: 3 KB for each of them, or with one document of the largest."""


@routes.get(paths.STATUS)
async def status(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.overviews.status())


@routes.post(paths.TASKS)
async def submit(request: web.Request) -> web.Response:
    task = await request.app[SERVICES].tasks.submit(await body_of(request, TaskCreate, most=MAX_SUBMIT), _key(request))
    return answer(task, status=201, headers={"Location": paths.TASK.format(id=task.id)})


@routes.post(paths.TASKS_BATCH)
async def batch(request: web.Request) -> web.Response:
    asked = await body_of(request, BatchRequest, most=MAX_MANY)
    return answer(await request.app[SERVICES].submitting.all(asked.tasks, _key(request)))


@routes.post(paths.TASKS_IMPORT)
async def take_list(request: web.Request) -> web.Response:
    asked = await body_of(request, ImportRequest, most=MAX_MANY)
    return answer(await request.app[SERVICES].submitting.listed(asked, _key(request)))


@routes.post(paths.TASKS_BULK)
async def bulk(request: web.Request) -> web.Response:
    asked = await body_of(request, BulkRequest)
    services = await abreast(request)
    return answer(await services.bulk.say(asked))


@routes.get(paths.TASKS)
async def list_tasks(request: web.Request) -> web.Response:
    query = request.query
    known("ids", "state", "node", "tag", "q", "sort", "limit", "cursor", "offset", "fresh", of=request)
    services = await look(request)
    listing = services.listing
    wanted = listing.wanted(
        TaskFilter(
            ids=words(query.get("ids")),
            state=words(query.get("state")),
            node=query.get("node"),
            tag=words(query.get("tag")),
            q=query.get("q", ""),
        )
    )
    page = await listing.page(
        wanted,
        sort=query.get("sort", "created"),
        cursor=query.get("cursor"),
        offset=number(request, "offset", default=0, least=0, most=2**53),
        limit=number(request, "limit", default=paths.DEFAULT_LIMIT, least=1, most=paths.MAX_LIMIT),
    )
    return read(services, page.tasks, paged(request, page.total, page.cursor))


@routes.get(ANY_TASK)
async def show(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.tasks.show(request.match_info["id"]))


@routes.get(paths.TASK_LIVE)
async def live(request: web.Request) -> web.Response:
    """Asked by another member, this node does not wait for the table that the other one has just looked at."""
    relayed = by_member(request)
    services = request.app[SERVICES] if relayed else await look(request)
    return read(services, await services.relaying.live(request.match_info["id"], relayed=relayed))


@routes.patch(ANY_TASK)
async def edit(request: web.Request) -> web.Response:
    patch = await body_of(request, TaskPatch)
    services = await abreast(request)
    return answer(await services.tasks.edit(request.match_info["id"], patch))


@routes.delete(ANY_TASK)
async def remove(request: web.Request) -> web.Response:
    services = await abreast(request)
    task_id = await services.tasks.remove(request.match_info["id"])
    return answer({"message": f"Task {task_id} deleted"})


# Before the verbs that need no more than to be said: the first route that fits is taken.
@routes.post(paths.TASK_MOVE)
async def move(request: web.Request) -> web.Response:
    asked = await body_of(request, MoveRequest)
    services = await abreast(request)
    await services.reports.freshen()
    return answer(await services.tasks.move(request.match_info["id"], services.members.named(asked.node)))


@routes.post(paths.TASK_RELINK)
async def relink(request: web.Request) -> web.Response:
    asked = await body_of(request, RelinkRequest)
    services = await abreast(request)
    return answer(await services.tasks.relink(request.match_info["id"], asked))


@routes.post(ANY_TASK_VERB)
async def say(request: web.Request) -> web.Response:
    services = await abreast(request)
    return answer(await services.tasks.say(request.match_info["verb"], request.match_info["id"]))


@routes.get(paths.NODES)
@routes.get(paths.WORKERS)
async def nodes(request: web.Request) -> web.Response:
    """By name, and paged by it: ids and names of those before may change."""
    known("limit", "cursor", "offset", "fresh", of=request)
    services = await look(request)
    everybody = services.overviews.nodes()
    after = request.query.get("cursor")
    left = everybody if after is None else [node for node in everybody if _place(node) > after]
    offset = number(request, "offset", default=0, least=0, most=2**53)
    limit = number(request, "limit", default=paths.MAX_LIMIT, least=1, most=paths.MAX_LIMIT)
    page = left[offset : offset + limit]
    cursor = _place(page[-1]) if page and len(left) > offset + limit else None
    return read(services, page, paged(request, len(everybody), cursor))


@routes.get(paths.NODE)
@routes.get(paths.WORKER)
async def node(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.overviews.node(request.match_info["id"]))


@routes.patch(paths.NODE)
async def tune(request: web.Request) -> web.Response:
    patch = await body_of(request, NodePatch)
    services = await abreast(request)
    member = await services.members.tune(request.match_info["id"], patch)
    return answer(services.overviews.node(member.id))


@routes.post(paths.NODE_DRAIN)
async def drain(request: web.Request) -> web.Response:
    asked = await body_of(request, DrainRequest) if request.can_read_body else DrainRequest()
    services = await abreast(request)
    member = await services.members.drain(request.match_info["id"], asked.finish_within)
    await services.reports.freshen()
    return answer(services.overviews.node(member.id))


@routes.post(paths.NODE_UNDRAIN)
async def undrain(request: web.Request) -> web.Response:
    services = await abreast(request)
    member = await services.members.undrain(request.match_info["id"])
    await services.reports.freshen()
    return answer(services.overviews.node(member.id))


@routes.delete(paths.NODE)
@routes.delete(paths.WORKER)
async def take_off(request: web.Request) -> web.Response:
    force = bool(flag(request, "force"))
    services = await abreast(request)
    await services.reports.freshen()
    member = await services.members.take_off(request.match_info["id"], force=force)
    return answer({"message": f"Node {member.name} ({member.id}) is off the cluster"})


def _key(request: web.Request) -> str | None:
    key = request.headers.get(paths.IDEMPOTENCY_KEY)
    if key is not None and not (1 <= len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        raise InvalidInput(f"It may have 1 to {MAX_KEY_CHARS} characters of ASCII.", field=paths.IDEMPOTENCY_KEY)
    return key


def _place(node: NodeResource) -> str:
    return f"{node.name} {node.id}"
