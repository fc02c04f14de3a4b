"""Documents of other nodes, over their HTTP API."""

import aiohttp

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import Unavailable
from ariacluster.wire import routes as paths

from .session import PeerSession

TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=2.0)
"""Seconds: 15 MiB over a slow Wi-Fi."""


class HttpDocuments:
    """Fills `DocumentPeers`."""

    def __init__(self, session: PeerSession) -> None:
        self._session = session

    async def push(self, door: str, digest: str, data: bytes) -> None:
        """See the port."""
        await self._ask("PUT", door, digest, data)

    async def fetch(self, door: str, digest: str) -> bytes:
        """See the port."""
        return await self._ask("GET", door, digest)

    async def _ask(self, method: str, door: str, digest: str, data: bytes | None = None) -> bytes:
        path = paths.PEER_DOCUMENT.format(digest=digest)
        body, _ = await self._session.ask(method, door, path, data=data, timeout=TIMEOUT, at_most=MAX_DOCUMENT)
        if len(body) > MAX_DOCUMENT:
            raise Unavailable(f"{door} sent more than a document may have.")
        return body
