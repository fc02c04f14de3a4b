"""What nodes ask of each other. Reports need the cluster key; knocking does not, for who knocks has none yet."""

import asyncio
import hmac

import msgspec
import structlog
from aiohttp import WSMsgType, web

from ariacluster.domain.errors import AriaClusterError, Forbidden, InvalidInput, NotReady
from ariacluster.domain.formation import Applicant, Heard
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import MAX_REPORT, STREAM_REFUSED, decode_report, encode, peer_token
from ariacluster_node.services.reports import Line

from .answers import SERVICES, answer, body_of, problem

log = structlog.get_logger()

routes = web.RouteTableDef()

HEARTBEAT = 3.0
"""Seconds of silence after which a node is pinged; half of it later without an answer its stream is lost."""

FAREWELL = 0.5
"""Seconds for a node to take note that its stream ends."""


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


@routes.get(paths.PEER_REPORTS)
async def report(request: web.Request) -> web.StreamResponse:
    """A node's stream: its reports come up, and the overview goes down while somebody watches there."""
    try:
        require_member(request)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_REPORT, timeout=FAREWELL, compress=False)
        if not socket.can_prepare(request):
            raise InvalidInput("Reports come over a stream: open a WebSocket here.")
        with request.app[SERVICES].reports.listen() as line:
            await socket.prepare(request)
            await _converse(socket, line)
        return socket
    except AriaClusterError as error:
        refusal = problem(error)
        refusal.headers[paths.PROBLEM_CODE] = error.code
        return refusal


async def _converse(socket: web.WebSocketResponse, line: Line) -> None:
    """Until either end has enough. What goes down waits for a slow reader on its own, so that its reports are still heard."""
    try:
        async with asyncio.TaskGroup() as group:
            down = group.create_task(_tell(socket, line))
            async for message in socket:
                if message.type is WSMsgType.ERROR:  # too large or no WebSocket: told already
                    break
                if message.type is not WSMsgType.BINARY:
                    raise InvalidInput("Reports are binary.")
                line.hear(decode_report(message.data))
            down.cancel()
    except* AriaClusterError as errors:
        for error in errors.exceptions[:1]:
            assert isinstance(error, AriaClusterError)
            log.info("a node's stream is ended", reason=error.detail)
            await socket.close(code=STREAM_REFUSED, message=error.code.encode())


async def _tell(socket: web.WebSocketResponse, line: Line) -> None:
    while True:
        frame = await line.next()
        try:
            await socket.send_bytes(encode(frame))
        except OSError:  # the reading half notices, too
            return


def by_member(request: web.Request) -> bool:
    """Does a member ask on somebody's behalf? `Forbidden` for who pretends to be one."""
    if paths.PEER_KEY not in request.headers:
        return False
    require_member(request)
    return True


def require_member(request: web.Request) -> None:
    membership = request.app[SERVICES].cluster.membership
    if membership is None:
        raise NotReady("This node belongs to no cluster yet.")
    expected = peer_token(bytes.fromhex(membership.key))
    if not hmac.compare_digest(request.headers.get(paths.PEER_KEY, "").encode(), expected.encode()):
        raise Forbidden("Only members of this cluster may say that.")
