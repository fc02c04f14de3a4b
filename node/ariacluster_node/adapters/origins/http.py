"""Asking the servers behind the links over HTTP: how large a file is, and by what one knows it again. No body is read."""

import asyncio

import aiohttp
import structlog
from yarl import URL

from ariacluster.domain.task import TaskSpec
from ariacluster_node.ports import Clock, Probe

from . import answer, question
from .names import Names

log = structlog.get_logger()

ANSWER_TIMEOUT = 5.0
"""Seconds for all that one question takes: waiting for its turn, redirects, a second try with GET."""

CONNECT_TIMEOUT = 3.0
"""Seconds."""

MAX_REDIRECTS = 5

AT_ONCE = 16
AT_ONCE_PER_HOST = 4
"""Questions under way: a thousand links to one server must not look like an attack."""

MAX_HEADER_BYTES = 8190
"""Of one header of an answer; aiohttp bounds their number."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

TRY_GET = frozenset({403, 404, 405, 501})
"""What servers answer to a HEAD that they would have answered otherwise to a GET."""


class HttpOrigins:
    """Fills `Origins`, between `start` and `stop`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=AT_ONCE, limit_per_host=AT_ONCE_PER_HOST, resolver=Names(), keepalive_timeout=5.0
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),  # what one task was given is not for another
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def stop(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def asks(self, spec: TaskSpec) -> bool:
        try:
            return question.link_of(spec) is not None
        except ValueError:  # no URL to this library, whatever aria2 thinks of it
            return False

    async def probe(self, spec: TaskSpec) -> Probe | None:
        if self._session is None or not self.asks(spec) or (link := question.link_of(spec)) is None:
            return None
        url = question.parse(link)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                probe = await self._ask(self._session, "HEAD", spec, url)
                if probe.status in TRY_GET:
                    probe = await self._ask(self._session, "GET", spec, url)
                return probe
        except Exception as error:
            # Whatever a stranger's server can make a library raise. Its text may hold the link, which may hold secrets.
            log.debug("an origin did not answer", host=url.host, reason=type(error).__name__)
            return None

    async def _ask(self, session: aiohttp.ClientSession, method: str, spec: TaskSpec, home: URL) -> Probe:
        """Follow the redirects by hand: each server is sent only what is meant for it."""
        url, probe = home, Probe()
        for _ in range(MAX_REDIRECTS + 1):
            headers = question.headers_of(spec, home, url)
            if method == "GET":
                headers.append(("Range", "bytes=0-0"))
            async with session.request(
                method,
                url.with_user(None),  # it is in the headers
                headers=headers,
                allow_redirects=False,
                ssl=spec.options.get("check-certificate") != "false",
            ) as response:
                if method == "GET":
                    response.close()  # and with it the connection, whatever is still under way
                location = response.headers.get("Location") if response.status in REDIRECTS else None
                if location is None:
                    return answer.read(response.status, response.headers, self._clock.now())
            probe = Probe(status=response.status)
            url = url.join(question.parse(location))
            if url.scheme not in question.SCHEMES or not url.host or question.is_document(url.raw_path):
                break
        return probe
