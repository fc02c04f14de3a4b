"""Other nodes, over their HTTP API: knocking, reporting."""

import aiohttp
import msgspec

from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import Overview, ReportFrame, peer_token
from ariacluster.wire.problems import error_of

KNOCK_TIMEOUT = 3.0
MEET_TIMEOUT = 1.0
REPORT_TIMEOUT = 2.0
"""Seconds. A report is worth nothing once the next one is due."""

MAX_MET = 1000
"""Nodes that are taken from one answer."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read: an overview of 64 busy nodes is far below."""


class HttpPeers:
    """Fills `Doors` and `Reporting`. Use as an async context manager; `key` is set once this node has a cluster."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession()

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        body = await self._post(
            door, paths.PEER_KNOCK, msgspec.json.encode(applicant), "application/json", KNOCK_TIMEOUT
        )
        try:
            return msgspec.json.decode(body, type=Membership)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"What answers at {door} is no node of this version: {error}.") from None

    async def meet(self, door: str, mine: Heard) -> list[Heard]:
        body = await self._post(door, paths.PEER_MEET, msgspec.json.encode(mine), "application/json", MEET_TIMEOUT)
        try:
            itself, *others = msgspec.json.decode(body, type=list[Heard])
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(f"What answers at {door} is no node of this version: {error}.") from None
        host, _, port = door.rpartition(":")
        # Where it answers is where it is, whatever it believes.
        return [msgspec.structs.replace(itself, address=host.strip("[]"), port=int(port)), *others[:MAX_MET]]

    async def report(self, leader: str, frame: ReportFrame) -> Overview | None:
        data = msgspec.msgpack.encode(frame)
        body = await self._post(leader, paths.PEER_REPORTS, data, "application/msgpack", REPORT_TIMEOUT)
        try:
            return msgspec.msgpack.decode(body, type=Overview | None)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"The leader at {leader} answered something unreadable: {error}.") from None

    async def _post(self, address: str, path: str, data: bytes, content_type: str, timeout: float) -> bytes:
        if self._session is None:
            raise Unavailable("This node is stopping.")
        headers = {"Content-Type": content_type}
        if self.key is not None:
            headers[paths.PEER_KEY] = peer_token(self.key)
        try:
            async with self._session.post(
                f"http://{address}{path}", data=data, headers=headers, timeout=aiohttp.ClientTimeout(timeout)
            ) as response:
                body = await response.content.read(MAX_ANSWER) if response.status >= 400 else await response.read()
                if response.status != 200:
                    raise error_of(response.status, body)
                return body
        except AriaClusterError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{address} does not answer: {str(error) or 'timed out'}.") from None
