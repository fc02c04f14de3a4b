"""What all that can be asked of origins keeps to: the fake and the real one run the same bodies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
from aiohttp import web

from ariacluster.domain.task import TaskSpec
from ariacluster_node.adapters.origins import http
from ariacluster_node.adapters.origins.http import HttpOrigins
from ariacluster_node.ports import Origins, Probe
from tests.support import nginx, ports
from tests.support.fake_clock import FakeClock
from tests.support.fake_origins import FakeOrigins
from tests.support.origin import serving
from tests.support.serving import port_of, served

SIZE = 300_000
WAIT_S = 7


class Bench(Protocol):
    """Who asks, and where the origins are that answer in a known way."""

    @property
    def origins(self) -> Origins: ...

    @property
    def sized(self) -> str:
        """A file of SIZE bytes with a strong ETag."""

    @property
    def missing(self) -> str:
        """404."""

    @property
    def busy(self) -> str:
        """503, and to be left alone for WAIT_S seconds."""

    @property
    def silent(self) -> str:
        """No answer in time."""

    @property
    def nobody(self) -> str:
        """Nothing listens there."""


class Links:
    """Fills `Bench`."""

    def __init__(self, origins: Origins, *, sized: str, missing: str, busy: str, silent: str, nobody: str) -> None:
        self.origins = origins
        self.sized, self.missing, self.busy, self.silent, self.nobody = sized, missing, busy, silent, nobody


@asynccontextmanager
async def fake(_: Path) -> AsyncIterator[Bench]:
    links = {name: f"http://origin/{name}" for name in ("sized", "missing", "busy", "silent", "nobody")}
    answers = {
        links["sized"]: Probe(size=SIZE, validator='etag:"1"', status=200),
        links["missing"]: Probe(status=404),
        links["busy"]: Probe(status=503, retry_after=WAIT_S * 1000),
    }
    yield Links(FakeOrigins(dict(answers)), **links)


@asynccontextmanager
async def own(_: Path) -> AsyncIterator[Bench]:
    """The real one, before the tests' own server."""

    async def busy(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": str(WAIT_S)})

    app = web.Application()
    app.router.add_get("/busy", busy)
    origins = HttpOrigins(FakeClock())
    await origins.start()
    try:
        async with served(app) as runner, serving() as origin:
            yield Links(
                origins,
                sized=origin.url(f"/bytes/{SIZE}/x"),
                missing=origin.url("/nothing"),
                busy=f"http://127.0.0.1:{port_of(runner)}/busy",
                silent=origin.url(f"/bytes/{SIZE}/x", delay=30),
                nobody=f"http://127.0.0.1:{ports.free_port()}/x",
            )
    finally:
        await origins.stop()


@asynccontextmanager
async def before_nginx(folder: Path) -> AsyncIterator[Bench]:
    """The real one, before a real server."""
    (served := folder / "served").mkdir()
    (served / "x").write_bytes(b"\0" * SIZE)
    origins = HttpOrigins(FakeClock())
    await origins.start()
    try:
        async with nginx.origin(served, folder / "nginx") as server, serving() as other:
            yield Links(
                origins,
                sized=server.url("x"),
                missing=server.url("nothing"),
                busy=server.url("x", "busy"),
                silent=other.url("/bytes/1/x", delay=30),
                nobody=f"http://127.0.0.1:{ports.free_port()}/x",
            )
    finally:
        await origins.stop()


@pytest.fixture(params=[fake, own, pytest.param(before_nginx, marks=pytest.mark.integration)])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setattr(http, "ANSWER_TIMEOUT", 1.0)
    monkeypatch.setattr(nginx, "RETRY_AFTER_S", WAIT_S)
    async with request.param(tmp_path) as bench:
        yield bench


def spec(*urls: str, **fields: object) -> TaskSpec:
    return TaskSpec(urls=urls, **fields)  # type: ignore[arg-type]


async def test_an_origin_says_how_large_a_file_is_and_by_what_it_is_known(bench: Bench) -> None:
    first = await bench.origins.probe(spec(bench.sized))
    assert first is not None
    assert (first.status, first.size, first.retry_after) == (200, SIZE, 0)
    assert first.validator.startswith('etag:"')
    assert await bench.origins.probe(spec(bench.sized)) == first, "the same bytes, the same words"


async def test_the_first_link_that_can_be_asked_is_asked(bench: Bench) -> None:
    probe = await bench.origins.probe(spec("ftp://origin/x", bench.sized, bench.missing))
    assert probe is not None and probe.size == SIZE


async def test_what_is_not_there_has_no_size(bench: Bench) -> None:
    assert await bench.origins.probe(spec(bench.missing)) == Probe(status=404)


async def test_an_origin_says_for_how_long_it_wants_to_be_left_alone(bench: Bench) -> None:
    assert await bench.origins.probe(spec(bench.busy)) == Probe(status=503, retry_after=WAIT_S * 1000)


async def test_who_does_not_answer_says_nothing(bench: Bench) -> None:
    assert await bench.origins.probe(spec(bench.silent)) is None
    assert await bench.origins.probe(spec(bench.nobody)) is None


async def test_who_can_be_asked_is_known_beforehand(bench: Bench) -> None:
    assert bench.origins.asks(spec(bench.sized))
    assert bench.origins.asks(spec("ftp://origin/x", "https://origin/x"))
    assert bench.origins.asks(spec(bench.sized, options={"no-proxy": "other.example"}))
    for nobody in (
        spec("ftp://origin/x"),
        spec("sftp://origin/x"),
        spec("magnet:?xt=urn:btih:" + "0" * 40),
        spec(bench.sized, options={"all-proxy": "http://proxy:3128"}),
        spec(bench.sized, options={"https-proxy": ""}),
        spec("http://origin/a.torrent"),
        spec(bench.sized, "http://origin/a.META4?x=1"),
        spec(bench.sized, out="a.metalink"),
    ):
        assert not bench.origins.asks(nobody)
        assert await bench.origins.probe(nobody) is None
