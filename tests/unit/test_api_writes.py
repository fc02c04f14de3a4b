"""What a node answers over HTTP to orders about tasks, nodes and settings, on fakes."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
import msgspec
import pytest

from ariacluster.domain.commands import Assign, Fail, Pause, Register, Start, Submit
from ariacluster.domain.document import MAX_DOCUMENT
from ariacluster.domain.member import Member
from ariacluster.domain.task import FailureKind
from ariacluster_node.api.app import make_app
from ariacluster_node.api.rest import MAX_SUBMIT
from tests.support import serving
from tests.support.fake_site import SPEC, FakeSite, SiteNode
from tests.support.torrent import bencode, padded

A, B = "a" * 16, "b" * 16
JSON = {"Content-Type": "application/json"}
TORRENT = bencode({"info": {"name": "set", "piece length": 4, "pieces": b"x" * 20, "length": 3}})
METALINK = b'<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="a"><url>http://o/x</url></file></metalink>'


class Door:
    """One node's API on a loopback port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{port}"

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = None if body is None else BytesIO(msgspec.json.encode(body))
        async with self._session.request(method, self._url + path, data=data, headers=JSON) as response:
            return response.status, await response.json(content_type=None)

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str | None, str]:
        """Status, field and sentence of a problem document."""
        status, told = await self(method, path, body)
        return status, told.get("field"), told["detail"]


@asynccontextmanager
async def served(node: SiteNode) -> AsyncIterator[Door]:
    async with serving.served(make_app(node.services)) as runner, aiohttp.ClientSession() as session:
        yield Door(session, serving.port_of(runner))


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    site.heard("m", "n")
    await site.say(Submit(A, SPEC))
    return site


@pytest.fixture
async def ask(site: FakeSite) -> AsyncIterator[Door]:
    async with served(site.nodes["m"]) as door:
        yield door


async def test_a_task_is_moved(site: FakeSite, ask: Door) -> None:
    await site.say(Assign(A, 1, "m" * 8, ""), Start(A, 1))
    status, told = await ask("POST", f"/tasks/{A}/move", {"node": "n"})
    assert (status, told["status"], told["worker_name"], told["bytes_on"]) == (200, "queued", "n", "m")
    assert (await ask.refused("POST", f"/tasks/{A}/move", {"node": "n"}))[::2] == (409, "The task is on n already.")
    assert (await ask.refused("POST", f"/tasks/{A}/move", {"node": "x"}))[:2] == (400, "node")
    assert (await ask.refused("POST", f"/tasks/{A}/move", {}))[0] == 400
    assert (await ask.refused("POST", f"/tasks/{A}/move", {"node": "m", "now": 1}))[:2] == (400, "now")
    assert (await ask.refused("POST", f"/tasks/{B}/move", {"node": "m"}))[0] == 404
    await site.say(Pause(A))
    status, _, words = await ask.refused("POST", f"/tasks/{A}/move", {"node": "m"})
    assert (status, "resume it first" in words) == (409, True)


async def test_a_task_gets_a_new_link(site: FakeSite, ask: Door) -> None:
    await site.say(Assign(A, 1, "m" * 8, ""), Start(A, 1), Fail(A, 1, FailureKind.LINK, 22, "status=403", 0.5))
    assert (await ask("GET", f"/tasks/{A}"))[1]["needs_link"] is True
    assert (await ask.refused("POST", f"/tasks/{A}/relink", {}))[:2] == (400, "url")
    assert (await ask.refused("POST", f"/tasks/{A}/relink", {"urls": ["gopher://x"]}))[0] == 400
    status, told = await ask("POST", f"/tasks/{A}/relink", {"url": "http://new/f", "headers": ["X: y"]})
    assert (status, told["status"], told["url"], told["needs_link"]) == (200, "pending", "http://new/f", False)
    [header] = site.nodes["m"].task(A).spec.headers
    assert header.startswith("X: ~"), "it is sealed"


async def test_the_plain_verbs_are_still_there(ask: Door) -> None:
    assert (await ask("POST", f"/tasks/{A}/pause"))[1]["status"] == "paused"
    status, _, words = await ask.refused("POST", f"/tasks/{A}/explode")
    assert (status, "move, relink" in words) == (404, True)


async def test_a_node_is_drained_and_takes_tasks_again(site: FakeSite, ask: Door) -> None:
    status, told = await ask("POST", "/nodes/n/drain", {"finish_within": 60})
    assert (status, told["status"], told["tasks_left"], bool(told["drain_until"])) == (200, "draining", 0, True)
    status, told = await ask("POST", "/nodes/n/drain")
    assert (status, told["status"]) == (200, "draining"), "a body may be left out"
    status, told = await ask("POST", "/nodes/n/undrain")
    assert (status, told["status"], told["drain_until"]) == (200, "online", None)
    for wrong in (-1, "soon", 10**12):
        assert (await ask.refused("POST", "/nodes/n/drain", {"finish_within": wrong}))[:2] == (400, "finish_within")
    assert (await ask.refused("POST", "/nodes/x/drain", {}))[0] == 404
    await site.say(Register(Member(id="w" * 8, name="w", address="w", port=1, raft="w:2", slots=0, witness=True)))
    assert (await ask.refused("POST", "/nodes/w/drain", {}))[0] == 409


async def test_slots_and_limits_are_set(ask: Door) -> None:
    status, told = await ask("PATCH", "/nodes/n", {"slots": 8, "download_limit": 5})
    assert (status, told["total_slots"], told["download_limit"], told["upload_limit"]) == (200, 8, 5, 0)
    assert (await ask("PATCH", "/nodes/n", {"slots": None}))[1]["total_slots"] == 2, "its own settings"
    assert (await ask("GET", "/nodes/n"))[1]["download_limit"] == 5
    for body, field in (({"slots": 0}, "slots"), ({"upload_limit": -1}, "upload_limit"), ({"name": "x"}, "name")):
        assert (await ask.refused("PATCH", "/nodes/n", body))[:2] == (400, field)
    assert (await ask.refused("PATCH", "/nodes/n", {"download_limit": None}))[:2] == (400, "download_limit")


async def test_settings_are_read_and_changed(ask: Door) -> None:
    status, before = await ask("GET", "/settings")
    assert (status, before["strategy"], before["origin_limits"]) == (200, "least_loaded", {})
    status, after = await ask("PATCH", "/settings", {"strategy": "random", "origin_limits": {"a.example": 2}})
    assert (status, after) == (200, before | {"strategy": "random", "origin_limits": {"a.example": 2}})
    assert (await ask("PATCH", "/settings", {"origin_limits": {"a.example": None}}))[1]["origin_limits"] == {}
    status, field, words = await ask.refused("PATCH", "/settings", {"strategy": "best"})
    assert (status, field, "round_robin" in words) == (400, "strategy", True)
    for body, name in (({"min_free": -1}, "min_free"), ({"colour": 1}, "colour"), ({"origin_connections": "x"}, None)):
        status, field, _ = await ask.refused("PATCH", "/settings", body)
        assert (status, field) == (400, name or "origin_connections")
    assert (await ask("GET", "/settings"))[1]["strategy"] == "random"


@pytest.mark.parametrize("when", ["2026-01-02T03:04:05", "tomorrow", 5])
async def test_a_time_without_its_offset_is_none(ask: Door, when: object) -> None:
    answer = await ask.refused("POST", "/tasks", {"url": "http://o/f", "not_before": when})
    assert answer[:2] == (400, "not_before")


async def test_a_time_is_told_as_it_was_given(ask: Door) -> None:
    body = {"url": "http://o/f", "not_before": "2030-01-02T03:04:05+01:00"}
    status, told = await ask("POST", "/tasks", body)
    assert (status, told["not_before"]) == (201, "2030-01-02T02:04:05Z")


async def test_many_are_taken_or_refused_each_for_itself(site: FakeSite, ask: Door) -> None:
    tasks = [{"url": "http://o/1"}, {"url": "gopher://o/2"}, {"url": "http://o/1"}]
    status, told = await ask("POST", "/tasks/batch", {"tasks": tasks})
    assert (status, told["accepted"], told["refused"]) == (200, 1, 2)
    assert [item.get("problem", {}).get("code") for item in told["results"]] == [None, "invalid_input", "duplicate"]
    assert told["results"][0]["id"] in site.nodes["m"].replica.table.tasks
    assert (await ask.refused("POST", "/tasks/batch", {"tasks": [{"url": "http://o/1", "x": 1}]}))[0] == 400
    assert (await ask.refused("POST", "/tasks/batch", {"tasks": [{}] * 10_001}))[:2] == (400, "tasks")


async def test_a_list_is_taken(ask: Door) -> None:
    text = "http://o/a\n  out=name\n# no more\nhttp://o/b\nnonsense\n"
    status, told = await ask("POST", "/tasks/import", {"text": text, "defaults": {"priority": "low"}})
    assert (status, told["accepted"], told["refused"]) == (200, 2, 1)
    assert [item["line"] for item in told["results"]] == [1, 4, 5]
    status, task = await ask("GET", f"/tasks/{told['results'][0]['id']}")
    assert (task["out"], task["priority"]) == ("name", "low")


@pytest.mark.parametrize("kind", ["torrent", "metalink"])
async def test_a_document_of_the_largest_is_taken_by_every_way(ask: Door, kind: str) -> None:
    largest = padded(TORRENT, MAX_DOCUMENT) if kind == "torrent" else METALINK.ljust(MAX_DOCUMENT)
    asked = {kind: b64encode(largest).decode(), "headers": ["X: " + "x" * 800], "force": True}
    status, told = await ask("POST", "/tasks", asked)
    assert (status, told.get("document")) == (201, kind), told
    status, told = await ask("POST", "/tasks/batch", {"tasks": [asked]})
    assert (status, told["accepted"]) == (200, 1)


@pytest.mark.parametrize("more", [1, 2, 3])
@pytest.mark.parametrize("kind", ["torrent", "metalink"])
async def test_a_larger_one_is_refused_by_every_way(site: FakeSite, ask: Door, kind: str, more: int) -> None:
    size = MAX_DOCUMENT + more
    asked = {kind: b64encode(padded(TORRENT, size) if kind == "torrent" else METALINK.ljust(size)).decode()}
    sentence = "A document may have 15,728,640 bytes."
    assert await ask.refused("POST", "/tasks", asked) == (413, kind, sentence)
    _, told = await ask("POST", "/tasks/batch", {"tasks": [asked]})
    problem = told["results"][0]["problem"]
    assert (problem["status"], problem["field"], problem["detail"]) == (413, kind, sentence)
    assert not any(node.store.kept for node in site.nodes.values())


async def test_what_is_said_beside_a_document_is_bounded(ask: Door) -> None:
    status, _, sentence = await ask.refused("POST", "/tasks", {"torrent": "A" * MAX_SUBMIT})
    assert (status, sentence) == (413, f"A request may have {MAX_SUBMIT:,} bytes here.")


async def test_one_word_to_all_that_fit(site: FakeSite, ask: Door) -> None:
    await site.say(Submit(B, msgspec.structs.replace(SPEC, urls=("http://o/other",))), Pause(B))
    status, told = await ask("POST", "/tasks/bulk", {"verb": "pause", "matching": {"state": ["pending", "paused"]}})
    assert (status, told["done"], told["done_count"], told["refused_count"]) == (200, [A], 1, 1)
    assert told["refused"][0]["problem"]["code"] == "illegal_move"
    assert (await ask.refused("POST", "/tasks/bulk", {"verb": "pause", "matching": {}}))[:2] == (400, "matching")
    assert (await ask.refused("POST", "/tasks/bulk", {"verb": "fly", "matching": {"q": "x"}}))[:2] == (400, "verb")


async def test_what_was_asked_is_changed(ask: Door) -> None:
    status, told = await ask("PATCH", f"/tasks/{A}", {"priority": "urgent", "tags": {"place": "attic"}, "out": "x"})
    assert (status, told["priority"], told["tags"], told["out"]) == (200, "urgent", {"place": "attic"}, "x")
    status, told = await ask("PATCH", f"/tasks/{A}", {"tags": {"place": None}, "out": None})
    assert (status, told["tags"], told["out"]) == (200, {}, None)
    assert (await ask.refused("PATCH", f"/tasks/{A}", {"dir": "../up"}))[:2] == (400, "dir")
    assert (await ask.refused("PATCH", f"/tasks/{A}", {"url": "http://x"}))[:2] == (400, "url")
    assert (await ask.refused("PATCH", f"/tasks/{B}", {}))[0] == 404


async def test_the_history_tells_whose_word_it_was(ask: Door) -> None:
    await ask("POST", f"/tasks/{A}/pause")
    status, told = await ask("GET", "/history?kind=task_paused")
    assert (status, [entry["task"] for entry in told], told[0]["who"]) == (200, [A], "127.0.0.1")
    assert (await ask("GET", f"/history?task={A}&limit=1"))[1][0]["kind"] == "task_paused"
    assert (await ask.refused("GET", "/history?kind=weather"))[:2] == (400, "kind")


async def test_a_word_that_stands_for_something_else_is_no_id(ask: Door) -> None:
    for method, path, allowed in (("GET", "/tasks/batch", "POST"), ("PUT", "/tasks/bulk", "POST"),
                                  ("DELETE", "/tasks/import", "POST"), ("POST", f"/tasks/{A}/live", "GET, HEAD")):  # fmt: skip
        status, told = await ask(method, path)
        assert (status, told["detail"]) == (405, f"Use {allowed} here."), path
