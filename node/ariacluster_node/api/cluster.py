"""The cluster as a whole: who belongs to it, and what people do with it."""

from aiohttp import web

from ariacluster.domain.errors import Conflict, InvalidInput
from ariacluster.wire import routes as paths
from ariacluster.wire.requests import MergeRequest, RecoverRequest, TransferRequest

from .answers import SERVICES, answer, body_of
from .peers import by_member

routes = web.RouteTableDef()


@routes.get(paths.CLUSTER)
async def show(request: web.Request) -> web.Response:
    return answer(request.app[SERVICES].overviews.cluster())


@routes.post(paths.CLUSTER_JOIN)
async def join(_: web.Request) -> web.Response:
    """A node that runs has a cluster; what a person means who asks for this is told."""
    raise Conflict(
        "A node joins when it starts: `ariacluster up --join HOST` names any member. One that belongs to another cluster goes "
        f"over with its tasks by POST {paths.CLUSTER_MERGE}."
    )


@routes.post(paths.CLUSTER_TRANSFER)
async def transfer(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    asked = await body_of(request, TransferRequest)
    await services.relaying.transfer(asked.node, relayed=by_member(request))
    return answer(services.overviews.cluster())


@routes.post(paths.CLUSTER_MERGE)
async def merge(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    await services.moving.merge((await body_of(request, MergeRequest)).into)
    return answer(services.overviews.cluster())


@routes.get(paths.CLUSTER_RECOVER)
async def recovery(request: web.Request) -> web.Response:
    return answer(request.app[SERVICES].overviews.recovery())


@routes.post(paths.CLUSTER_RECOVER)
async def recover(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    said = await body_of(request, RecoverRequest)
    plan = services.overviews.recovery()
    if said.confirm != plan.confirm:
        raise InvalidInput(
            f"Say {plan.confirm!r}, the id of the cluster that is given up, once you have read what "
            f"GET {paths.CLUSTER_RECOVER} says about it.",
            field="confirm",
        )
    await services.moving.recover()
    return answer(services.overviews.cluster())
