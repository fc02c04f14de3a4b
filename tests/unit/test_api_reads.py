"""What a node answers over HTTP, on fakes: how fresh is what a read tells and a write goes by, and taking a member off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from ariacluster.domain.commands import Command, Configure, Register, Submit, Tune
from ariacluster.domain.errors import UnknownOutcome
from ariacluster.domain.member import Member, Report, Tuning
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.wire.routes import STALE
from ariacluster_node.api.app import make_app
from ariacluster_node.services import replica as replica_room
from ariacluster_node.services.reports import FRESH
from tests.support import serving
from tests.support.fake_site import SPEC, FakeSite, SiteNode

A = "a" * 16


class Answer(NamedTuple):
    status: int
    body: Any
    stale: str | None


class Door:
    """One node's API on a loopback port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    async def __call__(self, method: str, path: str, body: Any = None) -> Answer:
        async with self._session.request(method, self._url + path, json=body) as response:
            return Answer(response.status, await response.json(content_type=None), response.headers.get(STALE))


@asynccontextmanager
async def served(node: SiteNode) -> AsyncIterator[Door]:
    async with serving.served(make_app(node.services)) as runner, aiohttp.ClientSession() as session:
        yield Door(session, serving.port_of(runner))


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    monkeypatch.setattr(replica_room.Replica.fresh, "__kwdefaults__", {"timeout": 0.05})
    site = FakeSite()
    await site.up("mn")
    await site.say(Submit(A, SPEC))
    return site


READS = ["/status", "/tasks", f"/tasks/{A}", "/nodes", "/workers", "/nodes/n", "/settings", "/history"]


@pytest.mark.parametrize("path", READS)
async def test_a_read_says_whether_it_may_be_old(site: FakeSite, path: str) -> None:
    node = site.nodes["n"]
    async with served(node) as ask:
        assert (await ask("GET", path))[::2] == (200, "false")
        site.consensus.cut(node.me.id)
        assert (await ask("GET", path))[::2] == (200, "true"), "what it has is answered all the same"


@pytest.mark.parametrize("path", READS)
async def test_a_read_waits_for_what_was_answered_before(
    site: FakeSite, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_room.Replica.caught_up, "__kwdefaults__", {"timeout": 0.05})
    node, asked = site.nodes["n"], []
    barrier = node.consensus.barrier

    async def counted(*, timeout: float) -> None:
        asked.append(timeout)
        await barrier(timeout=timeout)

    async def nobody(*, timeout: float) -> None:
        asked.append(timeout)
        raise UnknownOutcome("")

    async with served(node) as ask:
        monkeypatch.setattr(node.consensus, "barrier", counted)
        assert (await ask("GET", path))[::2] == (200, "false")
        assert asked == [0.05]
        assert (await ask("GET", f"{path}?fresh=false"))[::2] == (200, "false")
        assert len(asked) == 1, "who does not want to wait does not"
        monkeypatch.setattr(node.consensus, "barrier", nobody)
        assert (await ask("GET", path))[::2] == (200, "true"), "nobody vouched in time"
        assert len(asked) == 2


@pytest.mark.parametrize("path", READS)
async def test_a_read_may_ask_for_the_latest(site: FakeSite, path: str) -> None:
    node = site.nodes["n"]
    async with served(node) as ask:
        assert (await ask("GET", f"{path}?fresh=true"))[::2] == (200, "false")
        site.consensus.depose()
        refused = await ask("GET", f"{path}?fresh=true")
        assert (refused.status, refused.body["code"]) == (503, "no_leader")
        site.consensus.cut(node.me.id)
        refused = await ask("GET", f"{path}?fresh=true")
        assert (refused.status, refused.body["code"]) == (503, "no_quorum")
        assert (await ask("GET", f"{path}?fresh=false")).status == 200
        refused = await ask("GET", f"{path}?fresh=yes")
        assert (refused.status, refused.body["field"]) == (400, "fresh")


B = "b" * 16
Z = Register(Member(id="z" * 16, name="z", address="127.0.0.1", port=8000, raft="127.0.0.1:8001"))

LATE: list[tuple[Command, str, str, Any]] = [
    (Submit(B, SPEC), "PATCH", f"/tasks/{B}", {"priority": "high"}),
    (Submit(B, SPEC), "POST", f"/tasks/{B}/pause", None),
    (Submit(B, SPEC), "POST", f"/tasks/{B}/move", {"node": "m"}),
    (Submit(B, SPEC), "POST", f"/tasks/{B}/relink", {"url": "http://origin/other.bin"}),
    (Submit(B, SPEC), "DELETE", f"/tasks/{B}", None),
    (Z, "PATCH", "/nodes/z", {"slots": 2}),
    (Z, "POST", "/nodes/z/drain", None),
    (Z, "POST", "/nodes/z/undrain", None),
    (Z, "DELETE", "/nodes/z", None),
]


@pytest.fixture
async def behind(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> SiteNode:
    """A node that gets what was committed meanwhile when it asks for it, and not before."""
    node = site.nodes["n"]
    barrier = node.consensus.barrier

    async def asked(*, timeout: float) -> None:
        site.consensus.stuck.discard(node.me.id)
        site.consensus.heal(node.me.id)
        await barrier(timeout=timeout)

    monkeypatch.setattr(node.consensus, "barrier", asked)
    site.heard("m", "n")
    site.consensus.stuck.add(node.me.id)
    return node


@pytest.mark.parametrize(
    ("before", "method", "path", "body"), LATE, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_write_goes_by_what_was_answered_before(
    site: FakeSite, behind: SiteNode, before: Command, method: str, path: str, body: Any
) -> None:
    """At whichever node."""
    await site.leader().replica.propose([before])
    async with served(behind) as ask:
        answer = await ask(method, path, body)
        assert answer.status == 200, answer.body


async def test_what_a_write_does_not_name_stays_as_it_was_answered(site: FakeSite, behind: SiteNode) -> None:
    m = site.nodes["m"]
    async with served(behind) as ask:
        await m.replica.propose([Configure(Policy(strategy=Strategy.RANDOM))])
        assert (await ask("PATCH", "/settings", {"max_attempts": 7})).body["strategy"] == "random"
        site.consensus.stuck.add(behind.me.id)
        await m.replica.propose([Tune(m.me.id, Tuning(slots=3))])
        assert (await ask("PATCH", "/nodes/m", {"download_limit": 1_000_000})).status == 200
    assert m.replica.table.members[m.me.id].tuning == Tuning(slots=3, download_limit=1_000_000)


async def test_roles_are_told_by_id(site: FakeSite) -> None:
    learner = SiteNode(site, "z")
    await learner.join_log()
    await learner.cluster.register()
    await site.settled()
    async with served(site.nodes["n"]) as ask:
        roles = {node["name"]: node["role"] for node in (await ask("GET", "/nodes")).body}
        assert roles == {"m": "leader", "n": "voter", "z": "learner"}
        cluster = (await ask("GET", "/status")).body["cluster"]
        assert (cluster["leader"]["name"], cluster["voters"], cluster["members"]) == ("m", 2, 3)


async def test_a_member_is_taken_off_through_any_node(site: FakeSite) -> None:
    leader, follower = site.nodes["m"], site.nodes["n"]
    async with served(follower) as ask:
        assert (await ask("DELETE", "/nodes/x")).body["code"] == "not_found"
        site.clock.advance(FRESH)
        leader.roster.hear(Report(node=leader.me.id))
        refused = await ask("DELETE", "/nodes/m")
        assert (refused.status, refused.body["code"]) == (409, "conflict")
        refused = await ask("DELETE", "/nodes/m?force=perhaps")
        assert (refused.status, refused.body["field"]) == (400, "force")
        assert leader.me.id in follower.replica.table.members
        done = await ask("DELETE", "/nodes/m?force=true")
        assert done.status == 200
        assert leader.me.id in done.body["message"]
        assert list(follower.replica.table.members) == [follower.me.id]
        assert (await ask("DELETE", "/workers/n?force=true")).body["code"] == "conflict"


async def test_the_revision_grows_with_every_change(site: FakeSite) -> None:
    async with served(site.nodes["n"]) as ask:
        before = (await ask("GET", "/status")).body["revision"]
        assert (await ask("GET", "/status")).body["revision"] == before
        await site.say(Submit("b" * 16, SPEC))
        assert (await ask("GET", "/status")).body["revision"] > before
