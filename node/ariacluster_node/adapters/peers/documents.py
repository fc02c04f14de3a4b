"""Documents of other nodes, over their HTTP API."""

from collections.abc import Callable

import aiohttp

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import peer_token
from ariacluster.wire.problems import error_of

TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=2.0)
"""Seconds: 16 MB over a slow Wi-Fi."""

MAX_PROBLEM = 64 * 1024


class HttpDocuments:
    """Fills `DocumentPeers`. `key` is the cluster's, None while this node has none."""

    def __init__(self, key: Callable[[], bytes | None]) -> None:
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(headers={"Accept-Encoding": "identity"})

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def push(self, door: str, digest: str, data: bytes) -> None:
        """See the port."""
        await self._ask("PUT", door, digest, data)

    async def fetch(self, door: str, digest: str) -> bytes:
        """See the port."""
        return await self._ask("GET", door, digest, None)

    async def _ask(self, method: str, door: str, digest: str, data: bytes | None) -> bytes:
        if self._session is None:
            raise Unavailable("This node is stopping.")
        key = self._key()
        headers = {} if key is None else {paths.PEER_KEY: peer_token(key)}
        url = f"http://{door}{paths.PEER_DOCUMENT.format(digest=digest)}"
        try:
            async with self._session.request(
                method, url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise error_of(response.status, await response.content.read(MAX_PROBLEM))
                parts, left = [], MAX_DOCUMENT + 1
                while left > 0 and (part := await response.content.read(left)):
                    parts.append(part)
                    left -= len(part)
                if not left:
                    raise Unavailable(f"{door} sent more than a document may have.")
                return b"".join(parts)
        except AriaClusterError:
            raise
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(f"{door} does not answer: {str(error) or 'timed out'}.") from None
