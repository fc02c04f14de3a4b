"""The questions as they travel, and the answers that the wild gives: against a server that sends exactly what it is told."""

import asyncio
import base64
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import pytest
import structlog
from multidict import CIMultiDict

from ariacluster.domain.task import TaskSpec
from ariacluster_node.adapters.origins import answer, http, names
from ariacluster_node.adapters.origins.http import HttpOrigins
from ariacluster_node.ports import Probe
from tests.support.fake_clock import FakeClock

ETAG = 'etag:"1"'
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
NOW = 1_445_412_480_000
"""The same moment, in ms."""


class Asked(NamedTuple):
    method: str
    path: str
    headers: CIMultiDict[str]


class Server:
    """`answers` by method and path; a path that ends with * stands for all that begin so. What is not there hangs.

    `asked` in order; `most`: how many connections with a question were open at once.
    """

    def __init__(self) -> None:
        self.answers: dict[str, bytes | Callable[[Asked], bytes]] = {}
        self.asked: list[Asked] = []
        self.open = self.most = 0
        self.left = asyncio.Event()
        """Set when the other side has closed a connection."""
        self.port = 0

    def url(self, path: str, *, host: str = "127.0.0.1", login: str = "") -> str:
        return f"http://{login}{host}:{self.port}{path}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = request.decode().strip().split("\r\n")
                method, path, _ = first.split(" ")
                asked = Asked(method, path, parsed(lines))
                self.asked.append(asked)
                self.open += 1
                self.most = max(self.most, self.open)
                try:
                    found = next((a for k, a in self.answers.items() if _fits(k, f"{method} {path}")), None)
                    if found is not None:
                        writer.write(found(asked) if callable(found) else found)
                        await writer.drain()
                    else:
                        await reader.read()
                finally:
                    self.open -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


def parsed(lines: Sequence[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, _, value in (line.partition(": ") for line in lines))


def _fits(key: str, request: str) -> bool:
    return request.startswith(key[:-1]) if key.endswith("*") else request == key


def says(status: int, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} X", *headers, "", ""]).encode() + body


SIZED = says(200, "Content-Length: 1000", 'ETag: "1"')


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    talks = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        await server.talk(reader, writer)

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    for task in talks:
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)


@pytest.fixture
async def origins(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpOrigins]:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 2.0)
    origins = HttpOrigins(FakeClock())
    await origins.start()
    yield origins
    await origins.stop()


def spec(url: str, *headers: str, **options: str) -> TaskSpec:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    return TaskSpec(urls=(url,), headers=headers, options=named)


# -- the question -----------------------------------------------------------------------------------------------


async def test_it_comes_as_aria2_would(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD *"] = SIZED
    path = "/a%2Fb/%7e[1]?sig=a%2bb+c"
    url = server.url(path)
    await origins.probe(spec(url))
    await origins.probe(
        spec(
            url,
            "Cookie: a=b",
            "X-Own:1",
            "User-Agent: own",
            "Range: bytes=5-",
            "If-None-Match: *",
            "Content-Length: 9",
            user_agent="option",
            referer="*",
            header="X-Two: 2",
            http_user="ada",
            http_passwd="lovelace",
        )
    )
    plain, full = server.asked
    assert (plain.method, plain.path) == ("HEAD", path), "the link as it is written"
    assert plain.headers["User-Agent"] == "aria2/1.37.0"
    assert plain.headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Referer", "Cookie"} & plain.headers.keys()
    assert full.headers.getall("User-Agent") == ["own"], "a header before an option"
    assert (full.headers["Cookie"], full.headers["X-Own"], full.headers["X-Two"]) == ("a=b", "1", "2")
    assert full.headers["Referer"] == url
    assert full.headers["Authorization"] == "Basic " + base64.b64encode(b"ada:lovelace").decode()
    assert not {"Range", "If-None-Match", "Content-Length"} & full.headers.keys()


async def test_the_login_of_a_link_comes_before_that_of_the_options(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD *"] = SIZED
    await origins.probe(
        spec(server.url("/x", login="bob:p%40ss@"), http_user="ada", http_passwd="lovelace", referer="*")
    )
    await origins.probe(spec(server.url("/x", login="bob:p@"), "Authorization: Bearer t"))
    assert server.asked[0].headers["Authorization"] == "Basic " + base64.b64encode(b"bob:p@ss").decode()
    assert server.asked[0].headers["Referer"] == server.url("/x")
    assert server.asked[1].headers.getall("Authorization") == ["Bearer t"]


@pytest.mark.parametrize("refused", [403, 404, 405, 501])
async def test_where_head_is_refused_a_get_for_one_byte_is_tried(
    server: Server, origins: HttpOrigins, refused: int
) -> None:
    server.answers["HEAD /x"] = says(refused, "Content-Length: 7")
    server.answers["GET /x"] = says(206, "Content-Range: bytes 0-0/1000", "Content-Length: 1", 'ETag: "1"', body=b"x")
    assert await origins.probe(spec(server.url("/x"))) == Probe(status=206, size=1000, validator=ETAG)
    assert server.asked[1].headers["Range"] == "bytes=0-0"


async def test_a_body_is_not_waited_for(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD /x"] = says(405, "Content-Length: 0")
    server.answers["GET /x"] = says(200, f"Content-Length: {10**12}", body=b"x" * 1000)
    assert await origins.probe(spec(server.url("/x"))) == Probe(status=200, size=10**12)
    async with asyncio.timeout(5):
        await server.left.wait()


async def test_what_get_says_of_what_is_missing_counts(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD /x"] = says(404, "Content-Length: 7")
    server.answers["GET /x"] = says(429, "Retry-After: 3", "Content-Length: 0")
    assert await origins.probe(spec(server.url("/x"))) == Probe(status=429, retry_after=3000)
    server.answers["GET /x"] = says(416, "Content-Range: bytes */0", "Content-Length: 0")
    assert await origins.probe(spec(server.url("/x"))) == Probe(status=416)


async def test_redirects_are_followed(server: Server, origins: HttpOrigins) -> None:
    for step, code in enumerate((301, 302, 303, 307, 308)):
        server.answers[f"HEAD /{step}"] = says(code, f"Location: {step + 1}", "Content-Length: 0")
    server.answers["HEAD /5"] = SIZED
    assert await origins.probe(spec(server.url("/0"))) == Probe(status=200, size=1000, validator=ETAG)
    server.answers["HEAD /round"] = says(302, "Location: /round", "Content-Length: 0")
    server.asked.clear()
    assert await origins.probe(spec(server.url("/round"))) == Probe(status=302)
    assert len(server.asked) == 6


@pytest.mark.parametrize("target", ["ftp://origin/x", "/other.torrent", "file:///etc/passwd", "//["])
async def test_some_redirects_lead_nowhere(server: Server, origins: HttpOrigins, target: str) -> None:
    server.answers["HEAD /x"] = says(302, f"Location: {target}", "Content-Length: 0")
    assert await origins.probe(spec(server.url("/x"))) in (None, Probe(status=302))
    assert len(server.asked) == 1


async def test_another_server_is_sent_no_secrets(server: Server, origins: HttpOrigins) -> None:
    elsewhere = server.url("/there", host="localhost")
    server.answers["HEAD /x"] = says(302, f"Location: {elsewhere}", "Content-Length: 0")
    server.answers["HEAD /there"] = SIZED
    asked = spec(server.url("/x", login="bob:secret@"), "Cookie: a=secret", "X-Own: 1", http_user="ada")
    assert await origins.probe(asked) == Probe(status=200, size=1000, validator=ETAG)
    home, there = server.asked
    assert {"Authorization", "Cookie"} <= home.headers.keys()
    assert not {"Authorization", "Cookie"} & there.headers.keys()
    assert there.headers["X-Own"] == "1"
    assert there.headers["Host"] == f"localhost:{server.port}"


async def test_a_cookie_is_not_for_the_next_task(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD *"] = says(200, "Content-Length: 1", "Set-Cookie: session=1; Path=/")
    for _ in range(2):
        await origins.probe(spec(server.url("/x", host="localhost")))
    assert "Cookie" not in server.asked[1].headers


async def test_certificates_are_checked_unless_the_task_says_otherwise(
    origins: HttpOrigins, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    assert origins._session is not None

    def request(*_: object, **options: object) -> None:
        seen.append(options["ssl"])
        raise ssl.SSLError("no")

    monkeypatch.setattr(origins._session, "request", request)
    assert await origins.probe(spec("https://origin/x")) is None
    assert await origins.probe(spec("https://origin/x", check_certificate="false")) is None
    assert seen == [True, False]


# -- the answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "size", "validator"),
    [
        (["Content-Length: 5", 'ETag: "a"', f"Last-Modified: {DATE}"], 5, 'etag:"a"'),
        (["Content-Length: 5", 'ETag: W/"a"', f"Last-Modified: {DATE}"], 5, f"date:{DATE}"),
        (["Content-Length: 5", 'ETag: W/"a"'], 5, ""),
        (["Content-Length: 5", "ETag: a"], 5, ""),
        (["Content-Length: 5", f'ETag: "{"a" * 500}"', f"Last-Modified: {DATE}"], 5, f"date:{DATE}"),
        (["Content-Length: 5", 'ETag: "\xe4"', "Last-Modified: yesterday"], 5, ""),
        (["Content-Length: 5", "Content-Encoding: gzip", 'ETag: "a"'], 0, 'etag:"a"'),
        (["Content-Length: 5", "Content-Encoding: identity"], 5, ""),
        ([f"Content-Length: {10**19 - 1}"], 0, ""),
        (["Transfer-Encoding: chunked", 'ETag: "a"'], 0, 'etag:"a"'),
        (["Content-Length: 5", "Content-Type: application/x-bittorrent; x=y", 'ETag: "a"'], 0, ""),
        (["Content-Length: 5", 'Content-Disposition: attachment; filename="A.Torrent"'], 0, ""),
    ],
)
async def test_size_and_validator(
    server: Server, origins: HttpOrigins, headers: list[str], size: int, validator: str
) -> None:
    server.answers["HEAD /x"] = says(200, *headers)
    assert await origins.probe(spec(server.url("/x"))) == Probe(status=200, size=size, validator=validator)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        (["Retry-After: 120"], 120_000),
        (["Retry-After: 0"], 0),
        (["Retry-After: -5"], 0),
        (["Retry-After: soon"], 0),
        (["Retry-After: " + "9" * 6000], 86_400_000),
        ([f"Date: {DATE}", "Retry-After: Wed, 21 Oct 2015 07:29:30 GMT"], 90_000),
        ([f"Date: {DATE}", "Retry-After: Wed, 21 Oct 2015 07:27:00 GMT"], 0),
        ([f"Date: {DATE}", "Retry-After: Fri, 21 Oct 2044 07:27:00 GMT"], 86_400_000),
        (["Date: Wed, 21 Oct 2015 09:00:00 GMT", "Retry-After: Wed, 21 Oct 2015 09:00:05 GMT"], 5_000),
        (["Retry-After: Wed, 21 Oct 2015 07:28:07 GMT"], 7_000),
        ([], 0),
    ],
)
def test_for_how_long_to_leave_it_alone(headers: list[str], wait: int) -> None:
    assert answer.read(429, parsed(headers), NOW) == Probe(status=429, retry_after=wait)


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        says(200, "X: " + "a" * 20_000),
        says(200, *(f"X-{n}: a" for n in range(2_000))),
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"\0" * 100 + b"\r\n\r\n",
        b"",
    ],
    ids=["ssh", "long", "many", "length", "zeros", "nothing"],
)
async def test_garbage_says_nothing(
    server: Server, origins: HttpOrigins, monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 0.3)
    server.answers["HEAD *"] = garbage
    with structlog.testing.capture_logs() as logs:
        assert await origins.probe(spec(server.url("/x?token=secret", login="bob:secret@"), "Cookie: secret")) is None
    assert "secret" not in str(logs)
    assert len(logs) == 1


async def test_what_is_no_url_to_the_library_is_not_asked(origins: HttpOrigins) -> None:
    for odd in ("http://[::1%25eth0", "http://a:99999/", "http://ex ample/", "http://\u00ad/"):
        assert await origins.probe(spec(odd)) is None


async def test_after_its_stop_it_asks_nobody(server: Server, origins: HttpOrigins) -> None:
    server.answers["HEAD *"] = SIZED
    await origins.stop()
    assert await origins.probe(spec(server.url("/x"))) is None
    assert server.asked == []


async def test_a_server_is_asked_few_questions_at_a_time(
    server: Server, origins: HttpOrigins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 0.5)
    probes = [origins.probe(spec(server.url(f"/{n}"))) for n in range(12)]
    assert set(await asyncio.gather(*probes)) == {None}
    assert server.most == http.AT_ONCE_PER_HOST
    server.answers["HEAD *"] = SIZED
    found = Counter(await asyncio.gather(*(origins.probe(spec(server.url(f"/{n}"))) for n in range(50))))
    assert found == {Probe(status=200, size=1000, validator=ETAG): 50}, "who waits for its turn has it in the end"


async def test_all_servers_together_are_asked_few_questions_at_a_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 0.5)
    monkeypatch.setattr(http, "AT_ONCE", 3)
    origins = HttpOrigins(FakeClock())
    await origins.start()
    hosts = ("127.0.0.1", "localhost") * 4
    await asyncio.gather(*(origins.probe(spec(server.url("/", host=host))) for host in hosts))
    await origins.stop()
    assert server.most == 3


# -- names ------------------------------------------------------------------------------------------------------


async def test_a_silent_name_server_holds_up_nobody_else(
    server: Server, origins: HttpOrigins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 0.5)
    speaks, look_up = threading.Event(), socket.getaddrinfo
    threads: list[threading.Thread] = []

    def silent(*args: Any, **options: Any) -> Any:
        if args[0] != "slow.example":
            return look_up(*args, **options)
        threads.append(threading.current_thread())
        speaks.wait(10)
        raise socket.gaierror("not known")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    server.answers["HEAD *"] = SIZED
    lost = [origins.probe(spec(f"http://slow.example:{port}/")) for port in range(1, 5)]
    *none, found = await asyncio.gather(*lost, origins.probe(spec(server.url("/", host="localhost"))))
    assert none == [None] * 4
    assert found is not None and found.size == 1000
    assert all(thread.daemon for thread in threads), "and none holds up the end of the program"
    await asyncio.gather(*(origins.probe(spec(f"http://slow.example:{port}/")) for port in range(5, 21)))
    assert len(threads) == names.AT_ONCE, "a look-up that nobody waits for keeps its place"
    speaks.set()
    for thread in threads:
        await asyncio.to_thread(thread.join, 5)


async def test_a_name_that_is_none_says_nothing(origins: HttpOrigins) -> None:
    for name in ("nothing.invalid", "a" * 64 + ".example", "a..b"):
        assert await origins.probe(spec(f"http://{name}/")) is None
