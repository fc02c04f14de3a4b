"""Asking a node at its door, whatever its version is: only what every version says is read."""

import asyncio
import contextlib
import errno
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp
import msgspec

from ariacluster.domain.errors import Unavailable
from ariacluster.wire import routes
from ariacluster.wire.resources import NamedId

TIMEOUT = 2.0
"""Seconds: a LAN answers in milliseconds, and a lost SYN is repeated after one second."""

REFUSED = "refuses the connection"
"""How the sentence ends where the machine is there, and nobody listens."""

_MAX_ANSWER = 4 * 1024 * 1024
_TICK = 1.0
"""Seconds: the Date header counts no smaller ones (RFC 9110 section 5.6.7)."""


class ClusterSaid(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    name: str = ""
    leader: NamedId | None = None
    voters: int = 0
    members: int = 0
    has_quorum: bool = False
    missing: list[NamedId] = []


class StatusSaid(msgspec.Struct, frozen=True, kw_only=True):
    """As much of `StatusResource` as is needed here."""

    node: NamedId
    cluster: ClusterSaid
    version: str = ""
    problems: list[str] = []


class MemberSaid(msgspec.Struct, frozen=True, kw_only=True):
    """As much of `NodeResource` as is needed here."""

    id: str
    name: str
    address: str
    port: int
    status: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`ahead`: seconds by which its clock is before ours, known to half a second and half the way; None: not told."""

    status: StatusSaid
    ahead: float | None = None


class Doors:
    """One after another or at once; use as an async context manager."""

    async def __aenter__(self) -> "Doors":
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def status(self, door: str) -> Answer:
        """`Unavailable` with the end of the sentence "NAME …" if no node answers."""
        before = time.time()
        body, date = await self._get(door, routes.STATUS)
        ahead = clock_ahead(date, before, time.time())
        try:
            return Answer(status=msgspec.json.decode(body, type=StatusSaid), ahead=ahead)
        except (msgspec.MsgspecError, ValueError):
            raise Unavailable("answers, but not as a node does") from None

    async def members(self, door: str) -> list[MemberSaid]:
        body, _ = await self._get(door, routes.NODES)
        try:
            return msgspec.json.decode(body, type=list[MemberSaid])
        except (msgspec.MsgspecError, ValueError):
            raise Unavailable("answers, but not as a node does") from None

    async def _get(self, door: str, path: str) -> tuple[bytes, str]:
        try:
            async with self._session.get(f"http://{door}{path}", allow_redirects=False) as response:
                body = await response.content.read(_MAX_ANSWER)
                if response.status != 200:
                    raise Unavailable(f"answers with status {response.status}, as no node does that works")
                return body, response.headers.get("Date", "")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(why(error)) from None


async def connects(address: str) -> str:
    """Empty if a connection to `host:port` can be made, else the end of the sentence "NAME …"."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (TimeoutError, OSError, ValueError) as error:
        return why(error)
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            await writer.wait_closed()
    return ""


def why(error: Exception) -> str:
    """Why there is no answer, as the end of the sentence "NAME …"."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return "does not answer in time"
    if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
        return REFUSED
    return f"cannot be reached ({getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__})"


def clock_ahead(date: str, before: float, after: float) -> float | None:
    """Seconds by which the clock that wrote `date` (a Date header) is before ours, which read `before` and `after`; None if
    that is no date. The header is cut to whole seconds."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    theirs = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() + _TICK / 2
    return theirs - (before + after) / 2
