"""A web server of the tests' own: bytes that follow from the path, faults on request, and a count of what it served.

`/bytes/SIZE/NAME` serves SIZE bytes. What the query may add to it:

    rate=N          bytes per second and connection (`Origin.throttle` overrides it while it serves)
    ranges=0        no Accept-Ranges, Range ignored
    fail=S&times=K  status S for the first K requests, for all without `times`
    delay=S         seconds before the answer
    cut=N           close the connection after N bytes of each answer
    disposition=F   Content-Disposition: attachment with that file name

Other paths serve what `put` was given, or 404. Counts and content go by the path alone, so a query can change between
two downloads of one file.
"""

import asyncio
import hashlib
import random
import re
import socket
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode, urlsplit

from aiohttp import web

# Prime, so that no part repeats at a distance that is a multiple of a piece: a misplaced piece changes the sum.
_PERIOD = 1_048_583
_BLOCK = random.Random(2).randbytes(_PERIOD)
_TWICE = memoryview(_BLOCK + _BLOCK)

_CHUNK = 64 * 1024
_TICK_S = 0.02  # a throttled answer is written in slices of this length

# What the kernel may hold of an answer that was cut short was counted, but never received; keep that little.
_SEND_BUFFER = 32 * 1024


def content(path: str, start: int, stop: int) -> Iterator[memoryview]:
    """The bytes [start, stop) of `/bytes/…`, in chunks."""
    shift = zlib.crc32(path.encode())
    while start < stop:
        at = (shift + start) % _PERIOD
        take = min(_CHUNK, stop - start)
        yield _TWICE[at : at + take]
        start += take


class Origin:
    """Made by `serving`. `served`, `requests` (by path) and `seen` (request headers by path) may be cleared at will; HEAD
    counts in none of them."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        """Body bytes written by path, without what a HEAD asked for."""
        self.requests: Counter[str] = Counter()
        self.seen: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
        self._port = 0
        self._documents: dict[str, tuple[bytes, str]] = {}
        self._rates: dict[str, int | None] = {}
        self._failed: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None

    def url(self, path: str, **options: int | float | str) -> str:
        """The address of `path`, with the options of the module's text as its query."""
        query = f"?{urlencode(options)}" if options else ""
        return f"http://127.0.0.1:{self._port}{path}{query}"

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> str:
        """Serve `body` at `path`; its address."""
        self._documents[path] = (body, content_type)
        return self.url(path)

    def throttle(self, path: str, rate: int | None) -> None:
        """From now on, also for running answers: `rate` bytes per second and connection; None for no limit."""
        self._rates[urlsplit(path).path] = rate

    def body(self, path: str) -> bytes:
        """All bytes of `path`, a path or an address."""
        path = urlsplit(path).path
        if path in self._documents:
            return self._documents[path][0]
        return b"".join(content(path, 0, _size(path)))

    def sha256(self, path: str) -> str:
        """Of all bytes of `path`, a path or an address; hex. About 0.5 s for 200 MB."""
        path = urlsplit(path).path
        digest = hashlib.sha256()
        chunks = [self._documents[path][0]] if path in self._documents else content(path, 0, _size(path))
        for chunk in chunks:
            digest.update(chunk)
        return digest.hexdigest()

    async def open(self, port: int = 0) -> None:
        """Listen: on a free port, and after `shut` on the same one again."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        listener.bind(("127.0.0.1", port or self._port))
        self._port = listener.getsockname()[1]
        await web.SockSite(runner, listener).start()
        self._runner = runner

    async def shut(self) -> None:
        """Cut every connection; from now on they are refused. Idempotent."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def note(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """A request begins. Those that only ask (HEAD) are not counted."""
        if method != "HEAD":
            self.requests[path] += 1
            self.seen[path].append(headers)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, request.query
        self.note(request.method, path, request.headers)
        if "delay" in query:
            await asyncio.sleep(float(query["delay"]))
        if "fail" in query:
            self._failed[request.path_qs] += 1
            if self._failed[request.path_qs] <= int(query.get("times", 2**62)):
                return web.Response(status=int(query["fail"]), text="as asked")
        try:
            size = len(self._documents[path][0]) if path in self._documents else _size(path)
        except ValueError:
            return web.Response(status=404, text="no such path")
        return await self._send(request, size)

    async def _send(self, request: web.Request, size: int) -> web.StreamResponse:
        path, query = request.path, request.query
        told = self._documents[path][0] if path in self._documents else path.encode()
        etag = f'"{zlib.crc32(told):08x}-{size}"'
        response = web.StreamResponse(headers={"ETag": etag})
        start, stop = 0, size
        if query.get("ranges") != "0":
            response.headers["Accept-Ranges"] = "bytes"
            if request.headers.get("If-Range", etag) == etag and (asked := _range(request, size)):
                start, stop = asked
                if start >= size:
                    return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
                response.set_status(206)
                response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response.content_length = stop - start
        response.content_type = self._documents[path][1] if path in self._documents else "application/octet-stream"
        if "disposition" in query:
            response.headers["Content-Disposition"] = f'attachment; filename="{query["disposition"]}"'
        await response.prepare(request)
        if request.method != "HEAD":
            await self._write(request, response, start, stop)
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, start: int, stop: int) -> None:
        path, query = request.path, request.query
        cut = start + int(query["cut"]) if "cut" in query else stop
        try:
            while start < min(stop, cut):
                rate = self._rates.get(path, int(query["rate"]) if "rate" in query else None)
                take = min(stop, cut) - start
                if rate is not None:
                    take = min(take, max(1, int(rate * _TICK_S)))
                for chunk in self._part(path, start, start + min(take, _CHUNK)):
                    await response.write(chunk)
                    self.served[path] += len(chunk)
                    start += len(chunk)
                if rate is not None:
                    await asyncio.sleep(_TICK_S)
        except ConnectionError:  # the client has enough
            return
        if start < stop and request.transport is not None:
            request.transport.abort()

    def _part(self, path: str, start: int, stop: int) -> Iterator[memoryview]:
        if path in self._documents:
            yield memoryview(self._documents[path][0])[start:stop]
        else:
            yield from content(path, start, stop)


@asynccontextmanager
async def serving() -> AsyncIterator[Origin]:
    """An origin that listens on loopback until the block ends."""
    origin = Origin()
    await origin.open()
    try:
        yield origin
    finally:
        await origin.shut()


def _size(path: str) -> int:
    found = re.fullmatch(r"/bytes/(\d+)/.+", path)
    if not found:
        raise ValueError(f"{path} is not /bytes/SIZE/NAME and was not put")
    return int(found[1])


def _range(request: web.Request, size: int) -> tuple[int, int] | None:
    """The one range asked for (RFC 9110, section 14), as [start, stop); None for none, or for several."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
