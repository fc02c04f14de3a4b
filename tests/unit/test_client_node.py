"""The client of a node: typed answers, errors by their code, patience with elections and broken connections."""

import asyncio
import time

import pytest
from aiohttp import web

from ariacluster.client.client import NodeClient
from ariacluster.client.errors import NotReached
from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    IllegalMove,
    InvalidInput,
    NoLeader,
    NoSuchTask,
    UnknownOutcome,
    by_code,
)
from ariacluster.wire.requests import NodePatch, SettingsPatch, TaskCreate
from tests.support.fake_node import FakeNode, task

URL = "http://origin.example/a.bin"
SHORT = 0.6
"""Seconds of patience where a test wants to see it end."""


async def test_everything_that_is_asked_comes_back_typed(fake: FakeNode, client: NodeClient) -> None:
    made = await client.submit(TaskCreate(url=URL, out="b.bin", tags={"disk": "big"}))
    assert (made.name, made.tags, made.status) == ("b.bin", {"disk": "big"}, "pending")
    assert await client.task(made.id[:8]) == made
    assert (await client.status()).total_tasks == 1
    assert [node.name for node in await client.nodes()] == ["alpha"]
    assert (await client.node("alpha")).role == "leader"
    assert (await client.pause(made.id)).status == "paused"
    assert (await client.resume(made.id)).status == "pending"
    assert (await client.cancel(made.id)).status == "canceled"
    assert (await client.retry(made.id)).status == "pending"
    assert made.id in await client.remove(made.id)
    assert fake.tasks == {}
    with pytest.raises(Conflict):
        await client.remove_node("alpha")
    assert "alpha" in await client.remove_node("id-alpha", force=True)


async def test_what_is_ordered_is_said_in_the_body(fake: FakeNode, client: NodeClient) -> None:
    made = await client.submit(TaskCreate(url=URL))
    fake.bodies.clear()
    assert (await client.move(made.id, "beta")).worker_name == "beta"
    assert (await client.relink(made.id, ["http://b/1", "http://c/1"], headers=["X: 1"])).url == "http://b/1"
    assert (await client.relink(made.id, ["http://d/1"])).urls == ["http://d/1"]
    assert (await client.drain("alpha", finish_within=90)).status == "draining"
    assert (await client.undrain("alpha")).status == "online"
    assert (await client.tune("alpha", NodePatch(slots=None, upload_limit=5))).upload_limit == 5
    assert (await client.configure(SettingsPatch(strategy="random"))).strategy == "random"
    assert (await client.settings()).strategy == "random"
    assert fake.bodies == [
        b'{"node":"beta"}',
        b'{"url":null,"urls":["http://b/1","http://c/1"],"headers":["X: 1"]}',
        b'{"url":null,"urls":["http://d/1"],"headers":null}',
        b'{"finish_within":90}',
        b'{"slots":null,"upload_limit":5}',
        b'{"strategy":"random"}',
    ]


async def test_an_order_that_says_the_same_twice_is_repeated(fake: FakeNode, client: NodeClient) -> None:
    await client.status()
    fake.refusals = [None]
    assert (await client.drain("alpha")).status == "draining"
    made = await client.submit(TaskCreate(url=URL))
    fake.refusals = [None]
    with pytest.raises(NotReached):
        await client.move(made.id, "beta")


async def test_a_problem_becomes_the_error_of_its_code(client: NodeClient) -> None:
    with pytest.raises(InvalidInput) as caught:
        await client.submit(TaskCreate(url="gopher://x"))
    assert caught.value.field == "url"
    with pytest.raises(NoSuchTask):
        await client.task("feed")
    made = await client.submit(TaskCreate(url=URL))
    with pytest.raises(IllegalMove):
        await client.resume(made.id)


async def test_a_problem_of_a_later_version_is_still_an_error(fake: FakeNode, client: NodeClient) -> None:
    class Later(AriaClusterError):
        code, status = "a_later_invention", 418

    fake.refusals = [Later("Something new.")]
    error = await _refused(client)
    assert error.detail == "Something new."


async def test_a_submit_whose_answer_is_lost_makes_one_task(fake: FakeNode, client: NodeClient) -> None:
    await client.status()
    fake.refusals = [None, UnknownOutcome("No answer in time."), NoLeader("An election is going on.")]
    await client.submit(TaskCreate(url=URL))
    assert len(fake.tasks) == len(fake.keys) == 1
    await client.submit(TaskCreate(url=URL, force=True))
    assert len(fake.tasks) == 2


async def test_what_was_said_before_the_time_was_over_says_more_than_the_silence_after_it(fake: FakeNode) -> None:
    fake.refusals = [NoLeader("An election is going on.")]
    asked = fake._nodes

    async def late(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return await asked(request)

    fake._nodes = late  # type: ignore[method-assign, assignment]
    await fake.stop()
    await fake.start()
    async with NodeClient(fake.url, deadline=0.4) as client:
        with pytest.raises(NoLeader):
            await client.nodes()


async def test_an_election_is_waited_for(fake: FakeNode, client: NodeClient) -> None:
    made = await client.submit(TaskCreate(url=URL))
    fake.refusals = [NoLeader("An election is going on.")] * 3
    assert (await client.cancel(made.id)).status == "canceled"


async def test_no_leader_is_said_when_patience_ends(fake: FakeNode) -> None:
    fake.refusals = [NoLeader("An election is going on.")] * 1000
    async with NodeClient(fake.url, deadline=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(NoLeader):
            await client.submit(TaskCreate(url=URL))
    assert time.monotonic() - began < SHORT + 2
    assert len(fake.requests) > 2


async def test_a_move_is_not_repeated_when_it_may_have_happened(fake: FakeNode, client: NodeClient) -> None:
    made = await client.submit(TaskCreate(url=URL))
    fake.refusals = [None]
    asked = len(fake.requests)
    with pytest.raises(NotReached):
        await client.pause(made.id)
    assert len(fake.requests) == asked + 1


async def test_a_node_that_answered_before_is_waited_for(fake: FakeNode, client: NodeClient) -> None:
    await client.status()
    await fake.stop()
    again = asyncio.create_task(client.status())
    await asyncio.sleep(0)
    await fake.start()
    assert (await again).version == "0.1.0"


async def test_nobody_at_the_address_is_told_soon_and_with_what_to_do() -> None:
    async with NodeClient("http://127.0.0.1:1") as client:
        began = time.monotonic()
        with pytest.raises(NotReached) as caught:
            await client.status()
    assert time.monotonic() - began < 5
    for words in ("http://127.0.0.1:1", "refused", "ariacluster up", "--url"):
        assert words in caught.value.detail
    assert by_code("not_reached") is NotReached


async def test_an_unknown_name_is_not_reached() -> None:
    async with NodeClient("http://no-such-host.invalid:8000", deadline=SHORT) as client:
        with pytest.raises(NotReached, match=r"no-such-host\.invalid"):
            await client.status()


async def test_a_node_that_does_not_answer_costs_no_more_than_the_deadline() -> None:
    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server, NodeClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", deadline=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(NotReached, match="in time"):
            await client.status()
        assert time.monotonic() - began < SHORT + 2


@pytest.mark.parametrize("page", [b"<html>hello</html>", b"[]", b"", b'{"node": 5}', b'"\xff"'])
async def test_something_else_at_the_address_is_not_taken_for_a_node(fake: FakeNode, page: bytes) -> None:
    fake.refusals = [page]
    async with NodeClient(fake.url) as client:
        with pytest.raises(NotReached, match="not a node"):
            await client.status()


async def test_a_redirection_is_not_followed(fake: FakeNode, client: NodeClient) -> None:
    fake.refusals = ["/status"]
    with pytest.raises(NotReached, match="not a node"):
        await client.status()
    assert len(fake.requests) == 1


async def test_pages_are_followed_to_the_end(fake: FakeNode, client: NodeClient) -> None:
    fake.put(*(task(number, status="failed" if number % 2 else "pending") for number in range(1, 2402)))
    listed = [task.id async for task in client.each_task(states=["failed"])]
    assert listed == [task.id for task in fake.tasks.values() if task.status == "failed"]
    assert len(fake.requests) == 2
    first = await client.page(limit=7)
    assert (len(first.tasks), first.total) == (7, 2401)
    assert first.more is not None
    second = await client.page(more=first.more)
    assert second.tasks[0].id == list(fake.tasks)[7]


async def test_ids_are_asked_for_in_pieces(fake: FakeNode, client: NodeClient) -> None:
    fake.put(*(task(number) for number in range(1, 251)))
    found = await client.tasks_by_id([*fake.tasks, "0" * 16])
    assert list(found) == list(fake.tasks)
    assert len(fake.requests) == 3


@pytest.mark.parametrize("ref", ["../status", "a/b", "a?b#c", "%2e%2e", "ä\x00"])
async def test_no_name_leads_to_another_path(fake: FakeNode, client: NodeClient, ref: str) -> None:
    with pytest.raises(NoSuchTask):
        await client.task(ref)
    assert fake.requests[0].startswith("GET /tasks/")


@pytest.mark.parametrize("ref", ["", ".", ".."])
async def test_no_name_at_all_is_not_even_asked(fake: FakeNode, client: NodeClient, ref: str) -> None:
    with pytest.raises(InvalidInput):
        await client.remove(ref)
    assert fake.requests == []


async def _refused(client: NodeClient) -> AriaClusterError:
    with pytest.raises(AriaClusterError) as caught:
        await client.status()
    return caught.value
