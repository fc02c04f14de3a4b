"""What other nodes have of a download, over their HTTP API."""

import asyncio
from collections.abc import Callable, Mapping

import aiohttp

from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.wire import partials as wire
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import peer_token
from ariacluster.wire.problems import error_of

LOOK_TIMEOUT = aiohttp.ClientTimeout(total=30.0, sock_connect=3.0)
"""Seconds. The other node reads the control files and the holes of every file before it answers."""

READ_TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=3.0, sock_read=20.0)
"""Seconds. Over a slow uplink a block takes its time; a node that is gone does not answer at all."""

MAX_PROBLEM = 64 * 1024
"""Bytes of an error that are read."""


class HttpPartials:
    """Fills `Partials`. `key` is the cluster's, None while this node has none."""

    def __init__(self, key: Callable[[], bytes | None]) -> None:
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        # What is sent is mostly not worth compressing, and its length is checked.
        self._session = aiohttp.ClientSession(headers={"Accept-Encoding": "identity"})

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def look(self, door: str, task_id: str, attempt: int) -> Partial:
        path = paths.PEER_PARTIAL.format(id=task_id)
        body, _ = await self._get(door, path, {"attempt": str(attempt)}, LOOK_TIMEOUT, wire.MAX_PARTIAL)
        try:
            return await asyncio.to_thread(wire.decode, body)
        except AriaClusterError as error:
            raise Unavailable(f"{door} answered something else: {error.detail}") from None

    async def read(self, door: str, task_id: str, attempt: int, file: PartialFile, offset: int, length: int) -> bytes:
        asked = {"attempt": str(attempt), "path": file.path, "offset": str(offset), "length": str(length)}
        path = paths.PEER_PARTIAL_DATA.format(id=task_id)
        data, digest = await self._get(door, path, asked, READ_TIMEOUT, length)
        if len(data) != length or await asyncio.to_thread(wire.block_digest, data) != digest:
            raise Unavailable(f"A block of {file.path} from {door} came damaged.")
        return data

    async def _get(
        self, door: str, path: str, query: Mapping[str, str], timeout: aiohttp.ClientTimeout, at_most: int
    ) -> tuple[bytes, str]:
        """The body, cut at one byte more than `at_most`, and its digest as the header tells it."""
        if self._session is None:
            raise Unavailable("This node is stopping.")
        key = self._key()
        headers = {} if key is None else {paths.PEER_KEY: peer_token(key)}
        try:
            async with self._session.get(
                f"http://{door}{path}", params=query, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise error_of(response.status, await _read(response, MAX_PROBLEM))
                return await _read(response, at_most + 1), response.headers.get(paths.BLOCK_DIGEST, "")
        except AriaClusterError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{door} does not answer: {str(error) or 'timed out'}.") from None


async def _read(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    """The body, or its first `at_most` bytes."""
    parts, left = [], at_most
    while left > 0 and (part := await response.content.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
