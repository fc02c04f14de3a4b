"""Half a download goes from one node to another: both workers run, the way between them is a fake."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ariacluster.domain.commands import Assign, Cancel, Move, Release, Start, Submit, Unregister
from ariacluster.domain.errors import Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster_node.services import surroundings
from ariacluster_node.services import transfers as room
from ariacluster_node.services import worker as worker_room
from tests.support.fake_partials import FakePartials
from tests.support.fake_site import SPEC, FakeSite, SiteNode, until, working

A, B, C = "a" * 16, "b" * 16, "c" * 16
CONTROL = b"control"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 0.005)
    monkeypatch.setattr(worker_room, "BREATH", 0.0)
    monkeypatch.setattr(surroundings, "LOOK_PERIOD", 0.005)
    monkeypatch.setattr(room, "ASK_AGAIN", 0.005)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


@pytest.fixture
def partials(site: FakeSite) -> FakePartials:
    return site.partials


async def begun(site: FakeSite, source: SiteNode, task_id: str = A, data: bytes = b"12345") -> None:
    """The task runs on `source`, and has so much."""
    await site.say(Submit(task_id, SPEC), Assign(task_id, 1, source.me.id, ""))
    await until(lambda: source.row(task_id)() == "downloading")
    source.folders.put(task_id, "f", data)
    source.folders.put(task_id, "f.aria2", CONTROL)
    source.downloader.progress(task_id, len(data), 2 * len(data))


def hand(task_id: str, target: SiteNode, attempt: int = 2) -> Move:
    return Move(task_id, attempt, target.me.id, "for the test", fetch=True)


@contextlib.asynccontextmanager
async def half_way(
    site: FakeSite, partials: FakePartials, source: SiteNode, target: SiteNode, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """A part has come, and the rest does not: the door is shut."""
    monkeypatch.setattr(room, "FIRST_BLOCK", 2)
    monkeypatch.setattr(room, "LEAST_BLOCK", 2)
    monkeypatch.setattr(room, "LARGEST_BLOCK", 2)
    write = target.folders.write

    async def writing(task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        await write(task_id, file, offset, data)
        partials.shut.add(source.door)

    async with working(source, target):
        await begun(site, source, data=b"0123456789" * 10)
        target.folders.write = writing  # type: ignore[method-assign]
        await site.say(hand(A, target))
        await until(lambda: A in target.worker.progress() and target.worker.progress()[A].completed > 0)
        target.folders.write = write  # type: ignore[method-assign]
        yield


async def test_the_bytes_come_along_and_the_download_goes_on_with_them(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    async with working(source, target):
        await begun(site, source)
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
        assert target.task(A).bytes_on == target.me.id
        assert target.folders.staging[A] == {"f": b"12345", "f.aria2": CONTROL}
        assert A in target.downloader.jobs
        await until(lambda: A not in source.folders.staging)
        assert source.downloader.jobs == {}
        target.downloader.complete(A, 10)
    assert target.task(A).attempt == 2


async def test_large_files_come_in_blocks_a_few_at_a_time(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FIRST_BLOCK", 1000)
    monkeypatch.setattr(room, "LEAST_BLOCK", 1000)
    monkeypatch.setattr(room, "LARGEST_BLOCK", 4000)
    source, target, _ = await site.up("abc")
    data = bytes(n % 251 for n in range(100_000))
    async with working(source, target):
        await begun(site, source, data=data)
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A]["f"] == data
    assert max(length for *_, length in partials.blocks) == 4000, "a quick way gets larger blocks"
    assert partials.most == room.IN_FLIGHT
    assert sum(length for *_, length in partials.blocks) == len(data) + len(CONTROL)


async def test_a_source_that_still_writes_is_asked_again(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    async with working(target):
        async with working(source):
            await begun(site, source)
        await site.say(hand(A, target))  # the source's worker stands still: its engine goes on
        await until(lambda: target.worker.progress().get(A) is not None)
        assert target.task(A).bytes_on == source.me.id
        assert partials.blocks == []
        async with working(source):
            await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A]["f"] == b"12345"


async def test_a_source_that_never_lets_go_is_left(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LET_GO", 0.05)
    source, target, _ = await site.up("abc")
    async with working(target):
        async with working(source):
            await begun(site, source)
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A] == {}, "it begins anew"


async def test_a_source_that_has_nothing_is_left_at_once(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    async with working(source, target):
        await begun(site, source)
        source.folders.staging[A].clear()
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A] == {}
    assert target.task(A).bytes_on == target.me.id


async def test_a_source_that_left_the_cluster_is_left_at_once(site: FakeSite, partials: FakePartials) -> None:
    leader, target, source = await site.up("abc")
    async with working(source):
        await begun(site, source)
    partials.shut.add(source.door)
    async with working(target):
        await site.say(hand(A, target))
        await until(lambda: A in target.worker.progress())
        assert target.row(A)() == "queued"
        assert await leader.replica.propose([Unregister(source.me.id)]) == [None]
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A] == {}


async def test_a_source_that_dies_in_the_middle_costs_its_bytes_and_not_the_task(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.1)
    source, target, _ = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch):
        await until(lambda: target.row(A)() == "downloading")
        assert target.folders.staging[A] == {}


async def test_a_source_that_comes_back_goes_on_where_it_was(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, _ = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch):
        shown = target.worker.progress()[A]
        assert (shown.attempt, shown.total, shown.active) == (2, 100 + len(CONTROL), True)
        assert 0 < shown.completed < 100
        assert shown.speed > 0
        partials.shut.clear()
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A]["f"] == b"0123456789" * 10
    assert len(partials.blocks) == len(set(partials.blocks)), "nothing came twice"


async def test_damaged_blocks_are_asked_for_again(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    bad = 2

    def damage(data: bytes) -> bytes:
        nonlocal bad
        bad -= 1
        return data[::-1] if bad >= 0 else data

    partials.damage = damage
    async with working(source, target):
        await begun(site, source)
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    assert bad < 0
    assert target.folders.staging[A]["f"] == b"12345"


async def test_an_attempt_that_is_over_stops_fetching(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, third = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch), working(third):
        await site.say(hand(A, third, 3))
        await until(lambda: A not in target.folders.staging and A not in target.worker.progress())
        partials.shut.clear()
        await until(lambda: target.row(A)() == "downloading")
    assert target.task(A).node == third.me.id
    assert third.folders.staging[A]["f"] == b"0123456789" * 10
    assert target.downloader.added == []


async def test_a_canceled_task_leaves_nothing_behind(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, _ = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch):
        await site.say(Cancel(A))
        await until(lambda: not target.folders.staging and not source.folders.staging)
        await until(lambda: target.worker.progress() == {})


async def test_given_to_the_same_node_again_without_the_bytes_it_begins_anew(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, _ = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch):
        await site.say(Release(A, 2, "lost"), Assign(A, 3, target.me.id, ""))
        await until(lambda: target.row(A)() == "downloading")
        assert target.folders.staging[A] == {}
        assert target.task(A).attempt == 3


async def test_a_worker_that_was_stopped_in_the_middle_fetches_from_the_start(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, _ = await site.up("abc")
    async with half_way(site, partials, source, target, monkeypatch):
        pass
    partials.shut.clear()
    target.renewed_worker()
    async with working(source, target):
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A]["f"] == b"0123456789" * 10


async def test_a_disk_that_refuses_gives_the_bytes_up(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    write = target.folders.write

    async def refuse(task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        raise Unavailable("The disk is full.")

    async with working(source, target):
        await begun(site, source)
        target.folders.write = refuse  # type: ignore[method-assign]
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    target.folders.write = write  # type: ignore[method-assign]
    assert target.folders.staging[A] == {}


async def test_it_does_not_end_before_what_came_half_is_gone(site: FakeSite, partials: FakePartials) -> None:
    source, target, _ = await site.up("abc")
    open_folder, tried = target.folders.open, 0

    async def counted(task_id: str, *, fresh: bool) -> Path:
        nonlocal tried
        tried += fresh
        return await open_folder(task_id, fresh=fresh)

    target.folders.open = counted  # type: ignore[method-assign]
    async with working(source, target):
        await begun(site, source)
        target.folders.refusal = "The disk is full."
        await site.say(hand(A, target))
        await until(lambda: tried >= 3)
        assert not target.worker.progress()[A].completed
        assert target.task(A).bytes_on == source.me.id
        target.folders.refusal = ""
        await until(lambda: target.row(A)() == "downloading")


async def test_a_slow_way_is_no_reason_to_give_up(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PATIENCE", 1.0)
    for block in ("FIRST_BLOCK", "LEAST_BLOCK", "LARGEST_BLOCK"):
        monkeypatch.setattr(room, block, 10)
    source, target, _ = await site.up("abc")
    read, one = partials.read, asyncio.Lock()

    async def slow(door: str, task_id: str, attempt: int, file: PartialFile, offset: int, length: int) -> bytes:
        async with one:
            await asyncio.sleep(0.06)  # together longer than the patience
        return await read(door, task_id, attempt, file, offset, length)

    partials.read = slow  # type: ignore[method-assign]
    async with working(source, target):
        await begun(site, source, data=b"0123456789" * 20)
        await site.say(hand(A, target))
        await until(lambda: target.row(A)() == "downloading")
    assert target.folders.staging[A]["f"] == b"0123456789" * 20


async def test_two_at_a_time_and_the_others_wait(
    site: FakeSite, partials: FakePartials, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, _ = await site.up("abc")
    asked: set[str] = set()
    look = partials.look

    async def looked(door: str, task_id: str, attempt: int) -> Partial:
        asked.add(task_id)
        return await look(door, task_id, attempt)

    partials.look = looked  # type: ignore[method-assign]
    async with working(target):
        async with working(source):
            for task_id in (A, B):
                await begun(site, source, task_id)
            await site.say(Submit(C, SPEC), Assign(C, 1, source.me.id, ""), Start(C, 1))
        partials.shut.add(source.door)
        await site.say(*(hand(task_id, target) for task_id in (A, B, C)))
        await until(lambda: set(target.worker.progress()) == {A, B, C} and len(asked) == room.AT_A_TIME)
        partials.shut.clear()
        async with working(source):
            await until(lambda: all(target.task(t).bytes_on == target.me.id for t in (A, B, C)))
    assert asked == {A, B, C}
