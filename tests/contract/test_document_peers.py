"""What every way of documents between nodes keeps to: the fake, and HTTP on loopback."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.errors import Forbidden, InvalidInput, NotFound, PayloadTooLarge, Unavailable
from ariacluster_node.adapters.peers.documents import HttpDocuments
from ariacluster_node.adapters.peers.session import PeerSession
from ariacluster_node.api import documents as documents_room
from ariacluster_node.api.app import make_app
from ariacluster_node.ports import DocumentPeers
from tests.support.fake_site import WELCOME, FakeSite, SiteNode
from tests.support.serving import port_of, served

DATA = b"a document"
LARGEST = bytes(MAX_DOCUMENT)


class Way:
    """To node `a`, which is heard at `door`. `key` is what the asking node knows of the cluster."""

    def __init__(self, node: SiteNode) -> None:
        self.node = node
        self.key: bytes | None = bytes.fromhex(WELCOME.key)
        self.door = node.door
        self.peers: DocumentPeers


@pytest.fixture(params=["fake", "http"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    site = FakeSite()
    [node] = await site.up("a")
    way = Way(node)
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            way.peers = site.documents
        else:
            app = make_app(node.services)
            documents_room.open_to(app, node.documents, "word")
            way.door = door_of(await stack.enter_async_context(served(app)))
            session = PeerSession(lambda: way.key)
            await session.start()
            stack.push_async_callback(session.stop)
            way.peers = HttpDocuments(session)
        yield way


def door_of(runner: web.AppRunner) -> str:
    return f"127.0.0.1:{port_of(runner)}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [DATA, LARGEST], ids=["small", "largest"])
async def test_what_was_pushed_can_be_fetched(way: Way, data: bytes) -> None:
    with pytest.raises(NotFound):
        await way.peers.fetch(way.door, digest(data))
    await way.peers.push(way.door, digest(data), data)
    assert way.node.store.kept == {digest(data): data}
    assert await way.peers.fetch(way.door, digest(data)) == data


async def test_what_is_not_what_it_is_called_is_refused(way: Way) -> None:
    with pytest.raises(InvalidInput):
        await way.peers.push(way.door, digest(DATA), DATA + b"!")


async def test_one_that_does_not_answer(way: Way) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await way.peers.push("127.0.0.1:1", digest(DATA), DATA)


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_only_members_are_answered(way: Way) -> None:
    for key in (None, b"another"):
        way.key = key
        with pytest.raises(Forbidden):
            await way.peers.push(way.door, digest(DATA), DATA)
        with pytest.raises(Forbidden):
            await way.peers.fetch(way.door, digest(DATA))


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_a_larger_one_neither_goes_nor_comes(way: Way) -> None:
    larger = LARGEST + b"!"
    with pytest.raises(PayloadTooLarge, match="15,728,640 bytes"):
        await way.peers.push(way.door, digest(larger), larger)

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=larger)

    app = web.Application()
    app.router.add_get("/{tail:.*}", give)
    async with served(app) as runner:
        with pytest.raises(Unavailable, match="more than a document may have"):
            await way.peers.fetch(door_of(runner), digest(larger))
