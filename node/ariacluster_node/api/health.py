"""For load balancers and supervisors: is the process alive, can it take work."""

from aiohttp import web

from ariacluster.domain.errors import NoLeader, NotReady
from ariacluster.wire import routes as paths

from .answers import SERVICES, answer, known

routes = web.RouteTableDef()


@routes.get(paths.LIVEZ)
async def livez(_request: web.Request) -> web.Response:
    return answer({"status": "alive"})


@routes.get(paths.READYZ)
async def readyz(request: web.Request) -> web.Response:
    """200 while a write would succeed: in a cluster, caught up, with a leader. With `no_leader`, without one too: reads and
    running downloads need none."""
    known("no_leader", of=request)
    status = request.app[SERVICES].replica.status
    if status is None:
        raise NotReady("This node is still looking for its cluster.")
    if status.leader is None and "no_leader" not in request.query:
        raise NoLeader("The cluster has no leader right now.")
    if not status.ready:
        raise NotReady("This node is still catching up with the log.")
    return answer({"status": "ready"})
