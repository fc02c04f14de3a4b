"""What nodes ask of each other. Reports need the cluster key; knocking does not, for who knocks has none yet."""

import hmac

import msgspec
from aiohttp import web

from ariacluster.domain.errors import Forbidden, InvalidInput, NotReady
from ariacluster.domain.formation import Applicant, Heard
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import ReportFrame, peer_token

from .answers import SERVICES, answer, body_of

routes = web.RouteTableDef()

_frames = msgspec.msgpack.Decoder(ReportFrame)


@routes.post(paths.PEER_KNOCK)
async def knock(request: web.Request) -> web.Response:
    """The cluster is open: who asks on this LAN is told what it takes to join."""
    return answer(await request.app[SERVICES].cluster.welcome(await body_of(request, Applicant)))


@routes.post(paths.PEER_MEET)
async def meet(request: web.Request) -> web.Response:
    """A node says who it is, and is told who is known here. Where it is is not believed, but seen."""
    other = await body_of(request, Heard)
    seen = (request.remote or other.address).removeprefix("::ffff:")  # as a socket for both families tells IPv4
    return answer(request.app[SERVICES].cluster.met(msgspec.structs.replace(other, address=seen)))


@routes.post(paths.PEER_REPORTS)
async def report(request: web.Request) -> web.Response:
    _require_member(request)
    try:
        frame = _frames.decode(await request.read())
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"This report cannot be read: {error}.") from None
    overview = request.app[SERVICES].reports.receive(frame)
    return web.Response(body=msgspec.msgpack.encode(overview), content_type="application/msgpack")


def _require_member(request: web.Request) -> None:
    membership = request.app[SERVICES].cluster.membership
    if membership is None:
        raise NotReady("This node belongs to no cluster yet.")
    expected = peer_token(bytes.fromhex(membership.key))
    if not hmac.compare_digest(request.headers.get(paths.PEER_KEY, "").encode(), expected.encode()):
        raise Forbidden("Only members of this cluster may say that.")
