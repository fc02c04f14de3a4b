"""Other nodes, over their HTTP API: knocking, reporting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from ariacluster.domain.errors import AriaClusterError, InvalidInput, PayloadTooLarge, Unavailable, by_code
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import (
    MAX_OVERVIEW,
    MAX_REPORT,
    STREAM_REFUSED,
    OverviewFrame,
    ReportFrame,
    decode_overview,
    encode,
    peer_token,
)
from ariacluster.wire.problems import error_of
from ariacluster.wire.requests import TransferRequest
from ariacluster.wire.resources import LiveResource

KNOCK_TIMEOUT = 3.0
MEET_TIMEOUT = 1.0
STREAM_TIMEOUT = 2.0
RELAY_TIMEOUT = 2.0
TRANSFER_TIMEOUT = 8.0
"""Seconds."""

HEARTBEAT = 3.0
"""Seconds of silence after which the leader is pinged; half of it later without an answer the stream is lost."""

FAREWELL = aiohttp.ClientWSTimeout(ws_close=0.5)
"""Seconds for the leader to take note that the stream ends."""

MAX_MET = 1000
"""Nodes that are taken from one answer."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read."""


class HttpPeers:
    """Fills `Doors`, `Reporting` and `Relay`. Use as an async context manager; `key` is set once this node has a cluster."""

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

    async def live(self, door: str, task_id: str) -> LiveResource:
        body = await self._ask("GET", door, paths.TASK_LIVE.format(id=task_id), timeout=RELAY_TIMEOUT)
        try:
            return msgspec.json.decode(body, type=LiveResource)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"What answers at {door} is no node of this version: {error}.") from None

    async def transfer(self, door: str, node: str) -> None:
        body = msgspec.json.encode(TransferRequest(node=node))
        await self._ask("POST", door, paths.CLUSTER_TRANSFER, body, "application/json", timeout=TRANSFER_TIMEOUT)

    @asynccontextmanager
    async def stream(self, leader: str) -> AsyncIterator["HttpStream"]:
        if self._session is None:
            raise Unavailable("This node is stopping.")
        try:
            async with asyncio.timeout(STREAM_TIMEOUT):
                socket = await self._session.ws_connect(
                    f"http://{leader}{paths.PEER_REPORTS}",
                    headers=self._credentials(),
                    heartbeat=HEARTBEAT,
                    max_msg_size=MAX_OVERVIEW,
                    timeout=FAREWELL,
                )
        except aiohttp.WSServerHandshakeError as error:
            code = error.headers.get(paths.PROBLEM_CODE) if error.headers else None
            refusal = by_code(code) if code else Unavailable
            raise refusal(f"{leader} takes no reports of this node (status {error.status}).") from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{leader} does not answer: {str(error) or 'timed out'}.") from None
        try:
            yield HttpStream(socket, leader)
        finally:
            await socket.close()

    def _credentials(self) -> dict[str, str]:
        return {} if self.key is None else {paths.PEER_KEY: peer_token(self.key)}

    async def _post(self, address: str, path: str, data: bytes, content_type: str, timeout: float) -> bytes:
        return await self._ask("POST", address, path, data, content_type, timeout=timeout)

    async def _ask(
        self, method: str, address: str, path: str, data: bytes | None = None, content_type: str = "", *, timeout: float
    ) -> bytes:
        if self._session is None:
            raise Unavailable("This node is stopping.")
        headers = self._credentials() | ({"Content-Type": content_type} if content_type else {})
        try:
            async with self._session.request(
                method, f"http://{address}{path}", data=data, headers=headers, timeout=aiohttp.ClientTimeout(timeout)
            ) as response:
                body = await response.content.read(MAX_ANSWER) if response.status >= 400 else await response.read()
                if response.status != 200:
                    raise error_of(response.status, body)
                return body
        except AriaClusterError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{address} does not answer: {str(error) or 'timed out'}.") from None


class HttpStream:
    """Fills `ReportStream` over a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, leader: str) -> None:
        self._socket = socket
        self._leader = leader

    async def send(self, frame: ReportFrame) -> None:
        data = encode(frame)
        if len(data) > MAX_REPORT:
            raise PayloadTooLarge(f"A report may have {MAX_REPORT} bytes, and this one has {len(data)}.")
        try:
            await self._socket.send_bytes(data)
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"The stream to {self._leader} has ended: {error}.") from None

    async def receive(self) -> OverviewFrame:
        message = await self._socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            try:
                return decode_overview(message.data)
            except InvalidInput as error:
                raise Unavailable(f"The leader at {self._leader} said something unreadable: {error.detail}") from None
        if message.type is aiohttp.WSMsgType.CLOSE and message.data == STREAM_REFUSED and message.extra:
            raise by_code(message.extra)(f"{self._leader} ended the stream ({message.extra}).")
        raise Unavailable(f"The stream to {self._leader} has ended ({message.type.name.lower()}).")
