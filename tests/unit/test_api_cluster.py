"""What a node answers about the cluster as a whole, and to others that it meets, on fakes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from aiohttp import web

from ariacluster.domain.commands import Submit
from ariacluster.domain.formation import Heard
from ariacluster_node.api.app import make_app
from ariacluster_node.services import moving as moving_room
from tests.support.fake_site import SPEC, WELCOME, FakeSite, SiteNode, until

OTHER = "d" * 16


class Answer(NamedTuple):
    status: int
    body: Any


class Door:
    """One node's API on a loopback port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    async def __call__(self, method: str, path: str, body: object = None, *, json: bool = True) -> Answer:
        data = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json" if json else "text/plain"} if data else {}
        async with self._session.request(method, self._url + path, data=data, headers=headers) as response:
            return Answer(response.status, await response.json(content_type=None))


@asynccontextmanager
async def served(node: SiteNode, *, on: str = "127.0.0.1") -> AsyncIterator[Door]:
    family = socket.AF_INET6 if ":" in on else socket.AF_INET
    taken = socket.create_server((on, 0), family=family, dualstack_ipv6=family is socket.AF_INET6)
    runner = web.AppRunner(make_app(node.services), access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, taken).start()
        async with aiohttp.ClientSession() as session:
            yield Door(session, taken.getsockname()[1])
    finally:
        await runner.cleanup()


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    monkeypatch.setattr(moving_room, "LOOK_PERIOD", 0.002)
    monkeypatch.setattr(moving_room, "ARRIVED_S", 0.05)
    site = FakeSite(multicast=True)
    for node in await site.up("mno"):
        assert node.discovery
        await node.discovery.start(node.cluster.announcement())
    await site.say(Submit("a" * 16, SPEC))
    return site


async def another(site: FakeSite, name: str, cluster_id: str = OTHER) -> SiteNode:
    """A node of another cluster is heard; it lets in whoever knocks."""
    node = SiteNode(site, name, membership=msgspec.structs.replace(WELCOME, cluster_id=cluster_id))
    node.replica.attach(node.consensus)
    node.consensus._ready = True
    site.consensus._nodes[node.me.id] = node.consensus
    assert node.discovery
    await node.discovery.start(node.cluster.announcement())
    return node


async def test_the_cluster_is_told_as_this_node_sees_it(site: FakeSite) -> None:
    async with served(site.nodes["n"]) as ask:
        told = (await ask("GET", "/cluster")).body
        assert (told["id"], told["name"], told["mode"]) == (WELCOME.cluster_id, "default", "open")
        assert (told["voters"], told["members"], told["has_quorum"]) == (3, 3, True)
        assert told["leader"] == {"id": "m" * 8, "name": "m"}
        assert (told["missing"], told["others"]) == ([], [])
        await another(site, "z")
        await another(site, "y")
        site.consensus.cut("o" * 8)
        told = (await ask("GET", "/cluster")).body
        assert told["missing"] == [{"id": "o" * 8, "name": "o"}]
        assert told["others"] == [{"id": OTHER, "members": 2, "nodes": ["y", "z"]}]
        assert told["has_quorum"]
        site.consensus.cut("m" * 8)
        told = (await ask("GET", "/cluster")).body
        assert (told["leader"], told["has_quorum"], len(told["missing"])) == (None, False, 2)
        status = (await ask("GET", "/status")).body
        assert status["cluster"] == told
        assert "`ariacluster cluster recover`" in status["problems"][0]
        assert any(OTHER in problem for problem in status["problems"])


async def test_a_node_without_a_cluster_says_so(site: FakeSite) -> None:
    fresh = SiteNode(site, "f", membership=None)
    async with served(fresh) as ask:
        told = await ask("GET", "/cluster")
        assert (told.status, told.body["id"], told.body["members"], told.body["has_quorum"]) == (200, "", 0, False)
        assert (await ask("GET", "/cluster/recover")).body["code"] == "not_ready"
        assert (await ask("POST", "/cluster/recover", {"confirm": ""})).body["code"] == "not_ready"
        assert (await ask("POST", "/cluster/merge", {})).body["code"] == "not_ready"


async def test_merging_begins_and_may_take_long(site: FakeSite) -> None:
    node = site.nodes["n"]
    departure = asyncio.create_task(node.moving.departure())
    await another(site, "z")
    async with served(node) as ask:
        slow = await ask("POST", "/cluster/merge", {"into": OTHER[:2]})
    assert (slow.status, slow.body["code"]) == (503, "not_ready")
    assert (await asyncio.wait_for(departure, 5)).cluster_id == OTHER


async def test_a_merge_that_cannot_be_names_what_is_wrong(site: FakeSite) -> None:
    node = site.nodes["n"]
    departure = asyncio.create_task(node.moving.departure())
    async with served(node) as ask:
        none = await ask("POST", "/cluster/merge", {})
        assert (none.status, none.body["code"], none.body["field"]) == (404, "not_found", "into")
        await another(site, "z")
        await another(site, "y", "d" * 8)
        many = await ask("POST", "/cluster/merge", {"into": "d"})
        assert (many.status, many.body["code"], many.body["field"]) == (409, "conflict", "into")
        wrong = await ask("POST", "/cluster/merge", {"onto": OTHER})
        assert (wrong.status, wrong.body["field"]) == (400, "onto")
        wrong = await ask("POST", "/cluster/merge", {"into": 7})
        assert (wrong.status, wrong.body["field"]) == (400, "into")
        assert (await ask("POST", "/cluster/merge", {}, json=False)).status == 415, "no page of another site says that"
    assert node.replica.table.successor is None
    departure.cancel()


async def test_recovering_is_explained_and_wants_to_hear_the_right_word(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = site.nodes["n"]
    done: list[str] = []

    async def recover() -> None:
        done.append("yes")

    monkeypatch.setattr(node.moving, "recover", recover)
    for name in "mo":
        site.consensus.cut(name * 8)
    async with served(node) as ask:
        plan = (await ask("GET", "/cluster/recover")).body
        assert plan["confirm"] == WELCOME.cluster_id
        assert [who["name"] for who in plan["missing"]] == ["m", "o"]
        assert "1 tasks" in plan["consequences"][0] and "m and o" in plan["consequences"][1]
        for said, field in (({"confirm": "yes"}, "confirm"), ({"confirm": WELCOME.cluster_id, "now": True}, "now"),
                            ({}, None), ({"confirm": ""}, "confirm")):  # fmt: skip
            refused = await ask("POST", "/cluster/recover", said)
            assert (refused.status, refused.body["code"], refused.body.get("field")) == (400, "invalid_input", field)
        assert (await ask("POST", "/cluster/recover", plan, json=False)).status == 415
        assert done == []
        told = await ask("POST", "/cluster/recover", {"confirm": plan["confirm"]})
        assert (told.status, told.body["id"], done) == (200, WELCOME.cluster_id, ["yes"])


async def test_a_cluster_that_has_its_majority_is_not_recovered(site: FakeSite) -> None:
    node = site.nodes["n"]
    departure = asyncio.create_task(node.moving.departure())
    await until(lambda: node.moving._bound is not None)
    async with served(node) as ask:
        refused = await ask("POST", "/cluster/recover", {"confirm": WELCOME.cluster_id})
        assert (refused.status, refused.body["code"]) == (409, "conflict")
    departure.cancel()


STRANGER = Heard(node_id="x", node_name="x", cluster_name="default", address="203.0.113.9", port=8123, boot="b")


@pytest.mark.parametrize("on", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_where_a_node_is_that_is_met_is_seen_and_not_believed(site: FakeSite, on: str) -> None:
    if ":" in on and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    node = site.nodes["n"]
    async with served(node, on=on) as ask:
        told = await ask("POST", "/peers/meet", STRANGER)
        again = await ask("POST", "/peers/meet", STRANGER)
    assert [heard.door for heard in node.lan.heard() if heard.node_id == "x"] == ["127.0.0.1:8123"]
    assert node.lan.told_of("x") == ["127.0.0.1:8123"]
    first, *known = msgspec.convert(told.body, list[Heard])
    assert first == node.cluster.announcement(), "itself first"
    assert {heard.node_id for heard in known} == {"m" * 8, "o" * 8}
    assert "x" in {heard["node_id"] for heard in again.body}, "then whom it knows"
    assert WELCOME.key not in msgspec.json.encode(told.body).decode()


async def test_who_is_met_must_say_who_it_is(site: FakeSite) -> None:
    async with served(site.nodes["n"]) as ask:
        refused = await ask("POST", "/peers/meet", {"node_id": "x"})
        assert (refused.status, refused.body["code"]) == (400, "invalid_input")
    assert site.nodes["n"].lan.told_of("x") == []


async def test_how_a_node_joins_is_told(site: FakeSite) -> None:
    async with served(site.nodes["n"]) as ask:
        told = await ask("POST", "/cluster/join")
        assert (told.status, told.body["code"], "--join HOST" in told.body["detail"]) == (409, "conflict", True)
