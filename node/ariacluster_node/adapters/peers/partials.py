"""What other nodes have of a download, over their HTTP API."""

import asyncio

import aiohttp

from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.wire import partials as wire
from ariacluster.wire import routes as paths

from .session import PeerSession

LOOK_TIMEOUT = aiohttp.ClientTimeout(total=30.0, sock_connect=3.0)
"""Seconds. The other node reads the control files and the holes of every file before it answers."""

READ_TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=3.0, sock_read=20.0)
"""Seconds. Over a slow uplink a block takes its time; a node that is gone does not answer at all."""


class HttpPartials:
    """Fills `Partials`."""

    def __init__(self, session: PeerSession) -> None:
        self._session = session

    async def look(self, door: str, task_id: str, attempt: int) -> Partial:
        asked = {"attempt": str(attempt)}
        path = paths.PEER_PARTIAL.format(id=task_id)
        body, _ = await self._session.ask(
            "GET", door, path, query=asked, timeout=LOOK_TIMEOUT, at_most=wire.MAX_PARTIAL
        )
        try:
            return await asyncio.to_thread(wire.decode, body)
        except AriaClusterError as error:
            raise Unavailable(f"{door} answered something else: {error.detail}") from None

    async def read(self, door: str, task_id: str, attempt: int, file: PartialFile, offset: int, length: int) -> bytes:
        asked = {"attempt": str(attempt), "path": file.path, "offset": str(offset), "length": str(length)}
        path = paths.PEER_PARTIAL_DATA.format(id=task_id)
        data, headers = await self._session.ask("GET", door, path, query=asked, timeout=READ_TIMEOUT, at_most=length)
        digest = headers.get(paths.BLOCK_DIGEST, "")
        if len(data) != length or await asyncio.to_thread(wire.block_digest, data) != digest:
            raise Unavailable(f"A block of {file.path} from {door} came damaged.")
        return data
