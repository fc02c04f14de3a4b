"""Asking other nodes for bytes, over their HTTP API."""

import io
from collections.abc import Callable, Mapping

import aiohttp

from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import peer_token
from ariacluster.wire.problems import error_of

MAX_PROBLEM = 64 * 1024
"""Bytes of an error that are read."""


class PeerSession:
    """`key` is the cluster's, None while this node has none."""

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

    async def ask(
        self,
        method: str,
        door: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        at_most: int,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        """The body, cut at one byte more than `at_most`, and the headers. An error of the other node is raised as what it is,
        `Unavailable` if it does not answer."""
        if self._session is None:
            raise Unavailable("This node is stopping.")
        key = self._key()
        headers = {} if key is None else {paths.PEER_KEY: peer_token(key)}
        url = f"http://{door}{path}"
        body = None if data is None else io.BytesIO(data)  # goes in parts: the loop is not held up by a large one
        try:
            async with self._session.request(
                method, url, params=query, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise error_of(response.status, await _read(response, MAX_PROBLEM))
                return await _read(response, at_most + 1), response.headers
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
