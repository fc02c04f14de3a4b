"""Tasks, nodes and the status of the cluster."""

from aiohttp import web

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.task import TaskState
from ariacluster.wire import routes as paths
from ariacluster.wire.resources import DrainRequest, MoveRequest, NodePatch, RelinkRequest, TaskCreate

from .answers import SERVICES, answer, body_of, flag, look, number, read, words

routes = web.RouteTableDef()

MAX_KEY_CHARS = 255


@routes.get(paths.STATUS)
async def status(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.overviews.status())


@routes.post(paths.TASKS)
async def submit(request: web.Request) -> web.Response:
    key = request.headers.get(paths.IDEMPOTENCY_KEY)
    if key is not None and not 1 <= len(key) <= MAX_KEY_CHARS:
        raise InvalidInput(f"It may have 1 to {MAX_KEY_CHARS} characters.", field=paths.IDEMPOTENCY_KEY)
    task = await request.app[SERVICES].tasks.submit(await body_of(request, TaskCreate), key)
    return answer(task, status=201, headers={"Location": paths.TASK.format(id=task.id)})


@routes.get(paths.TASKS)
async def list_tasks(request: web.Request) -> web.Response:
    query = request.query
    for name in query:
        if name not in ("ids", "state", "node", "limit", "cursor", "fresh"):
            raise InvalidInput("There is no such filter; use ids, state, node, limit or cursor.", field=name)
    services = await look(request)
    node = services.overviews.node(query["node"]).id if "node" in query else None
    tasks, total, following = services.tasks.page(
        ids=words(query.get("ids")),
        states=[_state(word) for word in words(query.get("state"))],
        node=node,
        after=number(request, "cursor", default=0, least=0, most=2**62),
        limit=number(request, "limit", default=paths.DEFAULT_LIMIT, least=1, most=paths.MAX_LIMIT),
    )
    headers = {"X-Total-Count": str(total)}
    if following is not None:
        onward = request.rel_url.update_query(cursor=str(following))
        headers["Link"] = f'<{onward}>; rel="next"'
    return read(services, tasks, headers)


@routes.get(paths.TASK)
async def show(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.tasks.show(request.match_info["id"]))


@routes.delete(paths.TASK)
async def remove(request: web.Request) -> web.Response:
    task_id = await request.app[SERVICES].tasks.remove(request.match_info["id"])
    return answer({"message": f"Task {task_id} deleted"})


# Before the verbs that need no more than to be said: the first route that fits is taken.
@routes.post(paths.TASK_MOVE)
async def move(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    asked = await body_of(request, MoveRequest)
    await services.reports.freshen()
    return answer(await services.tasks.move(request.match_info["id"], services.members.named(asked.node)))


@routes.post(paths.TASK_RELINK)
async def relink(request: web.Request) -> web.Response:
    asked = await body_of(request, RelinkRequest)
    return answer(await request.app[SERVICES].tasks.relink(request.match_info["id"], asked))


@routes.post(paths.TASK_VERB)
async def say(request: web.Request) -> web.Response:
    task = await request.app[SERVICES].tasks.say(request.match_info["verb"], request.match_info["id"])
    return answer(task)


@routes.get(paths.NODES)
@routes.get(paths.WORKERS)
async def nodes(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.overviews.nodes())


@routes.get(paths.NODE)
@routes.get(paths.WORKER)
async def node(request: web.Request) -> web.Response:
    services = await look(request)
    return read(services, services.overviews.node(request.match_info["id"]))


@routes.patch(paths.NODE)
async def tune(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    patch = await body_of(request, NodePatch)
    member = await services.members.tune(request.match_info["id"], patch)
    return answer(services.overviews.node(member.id))


@routes.post(paths.NODE_DRAIN)
async def drain(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    asked = await body_of(request, DrainRequest) if request.can_read_body else DrainRequest()
    member = await services.members.drain(request.match_info["id"], asked.finish_within)
    await services.reports.freshen()
    return answer(services.overviews.node(member.id))


@routes.post(paths.NODE_UNDRAIN)
async def undrain(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    member = await services.members.undrain(request.match_info["id"])
    await services.reports.freshen()
    return answer(services.overviews.node(member.id))


@routes.delete(paths.NODE)
@routes.delete(paths.WORKER)
async def take_off(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    force = flag(request, "force")
    await services.reports.freshen()
    member = await services.members.take_off(request.match_info["id"], force=force)
    return answer({"message": f"Node {member.name} ({member.id}) is off the cluster"})


def _state(word: str) -> TaskState:
    try:
        return TaskState(word)
    except ValueError:
        known = ", ".join(state.value for state in TaskState)
        raise InvalidInput(f"A task is never {word!r}; states are {known}.", field="state") from None
