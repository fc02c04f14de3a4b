"""The line to one node: a question is asked until there is an answer or no patience, and what goes wrong is a sentence."""

import asyncio
import io
import re
from types import TracebackType
from typing import NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import aiohttp
import msgspec
from yarl import URL

from ariacluster import __version__
from ariacluster.client.errors import NotReached
from ariacluster.client.patience import Patience
from ariacluster.domain.errors import (
    AriaClusterError,
    InvalidInput,
    MethodNotAllowed,
    NoLeader,
    NoQuorum,
    NotReady,
    Overloaded,
    UnknownOutcome,
)
from ariacluster.wire import problems, routes

T = TypeVar("T")

DEADLINE = 10.0
"""Seconds that one call may take, its repeats included."""

CONNECT_TIMEOUT = 3.0
"""Seconds for name and TCP: a LAN answers in milliseconds, a lost SYN is repeated after one second."""

REFUSALS = 3
"""Tries at an address that never answered: a node that is just starting is met, a person does not wait ten seconds to
be told that there is none."""


class Answer(NamedTuple):
    """What a node said: the body as it came, how many there are in all, and the links beside it."""

    status: int
    kind: str
    body: bytes
    total: str
    links: list[str]


class Line:
    """Asks the node at `url`. An async context manager.

    Raises the error that the node answered with, or `NotReached`. What may be repeated without harm is, on a broken
    connection and while the cluster has no leader, for `deadline` seconds in all.
    """

    def __init__(self, url: str, deadline: float, client: str = "") -> None:
        self.url = url
        self._client = client
        self.deadline = deadline
        self._session: aiohttp.ClientSession | None = None
        self._met = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            headers={
                "Accept": "application/json",
                "User-Agent": f"ariacluster/{__version__}",
                **({routes.CLIENT: self._client} if self._client else {}),
            },
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self, path: str, kind: type[T]) -> T:
        return self.decode(await self.call("GET", path), kind)

    async def send(
        self,
        method: str,
        path: str,
        order: msgspec.Struct,
        kind: type[T],
        *,
        headers: dict[str, str] | None = None,
        safe: bool = True,
    ) -> T:
        told = {"Content-Type": "application/json", **(headers or {})}
        return self.decode(await self.call(method, path, body=_body_of(order), headers=told, safe=safe), kind)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        safe: bool = True,
    ) -> Answer:
        """Ask until there is an answer or no patience. `safe`: asking twice does what asking once does."""
        patience = Patience(self.deadline)
        refused: AriaClusterError | None = None
        while True:
            error: AriaClusterError
            try:
                answer = await self._ask(method, path, query, body, headers, patience.left)
            except aiohttp.InvalidURL:
                raise self._not_reached("the address is none") from None
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as trouble:
                # Nothing was sent, so even what is not safe to repeat may be tried again.
                error = self._not_reached(_why(trouble))
                again = self._met or patience.tries < REFUSALS - 1
            except (aiohttp.ClientError, TimeoutError, OSError) as trouble:
                error = self._not_reached(_why(trouble))
                if safe and refused is not None and isinstance(trouble, TimeoutError):
                    error = refused  # it answered until the time was over, and what it said says more
                again = safe and (self._met or patience.tries < REFUSALS - 1)
            else:
                self._met = True
                if answer.status < 400:
                    return answer
                error = refused = self._refusal(answer)
                soon = isinstance(error, NoLeader | NotReady | Overloaded) and not isinstance(error, NoQuorum)
                again = soon or (safe and isinstance(error, UnknownOutcome))
            pause = patience.next_pause() if again else None
            if pause is None:
                raise error
            await asyncio.sleep(pause)

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: bytes | None,
        headers: dict[str, str] | None,
        seconds: float,
    ) -> Answer:
        if self._session is None:
            raise RuntimeError("NodeClient is an async context manager: use it with `async with`")
        async with asyncio.timeout(max(seconds, 0.1)):
            target = f"{self.url}{path}?{urlencode(query)}" if query else self.url + path
            url = URL(target, encoded=True)
            data = None if body is None else io.BytesIO(body)  # goes in parts: the loop is not held up by a large one
            async with self._session.request(
                method, url, data=data, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                head = response.headers
                links = head.getall("Link", [])
                return Answer(response.status, response.content_type, content, head.get("X-Total-Count", ""), links)

    def _refusal(self, answer: Answer) -> AriaClusterError:
        if answer.kind != problems.CONTENT_TYPE and answer.status < 500:
            return self._stranger()
        error = problems.error_of(answer.status, answer.body)
        if isinstance(error, MethodNotAllowed):  # the paths are ours
            return MethodNotAllowed(f"The node at {self.url} is of a version that cannot do this yet. Update it.")
        return error

    def decode(self, answer: Answer, kind: type[T]) -> T:
        if answer.status >= 300:
            raise self._stranger()
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._stranger() from None

    def next_page(self, answer: Answer) -> str | None:
        """Path and query of the next page. Only those: a list never sends its reader to another host."""
        for link in answer.links:
            for target, rest in re.findall(r"<([^<>]*)>([^,<]*)", link):
                if re.search(r';\s*rel="?next"?', rest):
                    base = urlsplit(self.url).path
                    parts = urlsplit(urljoin(f"http://node{base}{routes.TASKS}", target))
                    path = parts.path.removeprefix(base)
                    return f"{path}?{parts.query}" if parts.query else path
        return None

    def _not_reached(self, why: str) -> NotReached:
        return NotReached(
            f"No node answers at {self.url}: {why}. Start one with `ariacluster up`, or say with --url where one is."
        )

    def _stranger(self) -> NotReached:
        return NotReached(
            f"What answers at {self.url} is not a node of Aria Cluster, or one of another version. "
            "Say with --url where a node is."
        )


def _body_of(order: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(order)
    except UnicodeEncodeError:
        # A terminal hands over bytes that are no text as lone surrogates.
        raise InvalidInput("Something in this is no text in UTF-8; write it as %XX in a URL.") from None


def fill(path: str, ref: str) -> str:
    """`ref` in the place of `{id}`, unable to reach any other path."""
    if ref in ("", ".", ".."):
        raise InvalidInput("Give an id or a name.", field="id")
    return path.replace("{id}", quote(ref, safe="", errors="replace"))


def _why(trouble: Exception) -> str:
    """A few words for a person."""
    match trouble:
        case aiohttp.ClientConnectorDNSError():
            return "the name is not known"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "no secure connection could be made"
        case TimeoutError():
            return "it does not answer in time"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case OSError(strerror=str(text)) if text and "Connect call failed" not in text:
            return text.lower()
        case aiohttp.ClientConnectorError():
            return "the connection was refused"
    return "the connection broke"
