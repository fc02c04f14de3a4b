"""The tests' own web server does what it says: else a green test of the engine says nothing."""

import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.origin import Origin, content, serving

PATH = "/bytes/3000000/x"


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as origin:
        yield origin


@pytest.fixture
async def web() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def test_content_follows_from_the_path_at_any_offset() -> None:
    whole = b"".join(content(PATH, 0, 3_000_000))
    assert len(whole) == 3_000_000
    assert b"".join(content(PATH, 1_999_999, 2_500_001)) == whole[1_999_999:2_500_001]
    assert b"".join(content("/bytes/3000000/y", 0, 3_000_000)) != whole
    pieces = {whole[start : start + 4096] for start in range(0, 2_990_000, 1 << 20)}
    assert len(pieces) == 3, "pieces of an aria2 download differ"


async def test_whole_and_counted(origin: Origin, web: aiohttp.ClientSession) -> None:
    async with web.get(origin.url(PATH)) as answer:
        body = await answer.read()
        assert answer.headers["Accept-Ranges"] == "bytes" and answer.headers["ETag"].startswith('"')
    assert body == origin.body(PATH) and hashlib.sha256(body).hexdigest() == origin.sha256(origin.url(PATH))
    async with web.head(origin.url(PATH)) as answer:
        assert answer.headers["Content-Length"] == "3000000"
    assert (origin.served[PATH], origin.requests[PATH], len(origin.seen[PATH])) == (3_000_000, 1, 1)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=10-19", 10, 20), ("bytes=2999990-", 2_999_990, 3_000_000), ("bytes=-7", 2_999_993, 3_000_000)],
)
async def test_ranges(origin: Origin, web: aiohttp.ClientSession, asked: str, start: int, stop: int) -> None:
    async with web.get(origin.url(PATH), headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/3000000"
        assert await answer.read() == origin.body(PATH)[start:stop]


async def test_ranges_that_are_not_given(origin: Origin, web: aiohttp.ClientSession) -> None:
    async with web.get(origin.url(PATH), headers={"Range": "bytes=3000000-"}) as answer:
        assert answer.status == 416
    async with web.get(origin.url(PATH, ranges=0), headers={"Range": "bytes=10-19"}) as answer:
        assert answer.status == 200 and "Accept-Ranges" not in answer.headers
    async with web.get(origin.url(PATH), headers={"Range": "bytes=10-19", "If-Range": '"old"'}) as answer:
        assert answer.status == 200


async def test_failures(origin: Origin, web: aiohttp.ClientSession) -> None:
    statuses = []
    for _ in range(3):
        async with web.get(origin.url(PATH, fail=503, times=2)) as answer:
            statuses.append(answer.status)
    assert statuses == [503, 503, 200]
    for _ in range(2):
        async with web.get(origin.url(PATH, fail=403)) as answer:
            assert answer.status == 403
    async with web.get(origin.url("/nothing")) as answer:
        assert answer.status == 404
    with pytest.raises(aiohttp.ClientPayloadError):
        async with web.get(origin.url(PATH, cut=1000)) as answer:
            await answer.read()


async def test_names_and_documents(origin: Origin, web: aiohttp.ClientSession) -> None:
    async with web.get(origin.url(PATH, disposition="a b.iso")) as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="a b.iso"'
    async with web.get(origin.put("/list.meta4", b"text", "application/metalink4+xml")) as answer:
        assert (await answer.read(), answer.content_type) == (b"text", "application/metalink4+xml")


async def test_a_throttle_holds_while_it_serves(origin: Origin, web: aiohttp.ClientSession) -> None:
    async with web.get(origin.url(PATH, rate=100_000)) as answer:
        await answer.content.readexactly(10_000)
        assert origin.served[PATH] < 1_000_000
        origin.throttle(PATH, None)
        assert len(await answer.read()) == 2_990_000


async def test_shut_it_refuses_and_opens_again_where_it_was(origin: Origin, web: aiohttp.ClientSession) -> None:
    await origin.shut()
    with pytest.raises(aiohttp.ClientConnectorError):
        await web.get(origin.url(PATH))
    await origin.open()
    async with web.get(origin.url(PATH)) as answer:
        assert answer.status == 200
