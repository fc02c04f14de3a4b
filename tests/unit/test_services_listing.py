"""The list of tasks: what fits, in which order, and walks through it while everything changes."""

import asyncio
import random
from collections.abc import Iterable

import msgspec
import pytest

from ariacluster.domain.commands import Assign, Cancel, Complete, Pause, Remove, Resume, Start, Submit
from ariacluster.domain.errors import Conflict, InvalidInput
from ariacluster.domain.member import Progress, Report
from ariacluster.domain.snapshot import take
from ariacluster.domain.task import FileEntry, Priority, Result, TaskSpec
from ariacluster.wire.codec import encode_snapshot
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.routes import SORTS
from ariacluster_node.services import catalogue as catalogue_room
from ariacluster_node.services import listing as room
from ariacluster_node.services.listing import Listing
from tests.support.fake_site import FakeSite, SiteNode

M, N = "m" * 8, "n" * 8


def task_id(number: int) -> str:
    return f"{number:016x}"


def spec(name: str, **changes: object) -> TaskSpec:
    return msgspec.structs.replace(TaskSpec(urls=(f"http://user:secret@host.example/{name}",)), **changes)


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    specs = [
        spec("Delta.iso", priority=Priority.HIGH, tags={"kind": "iso", "place": "attic"}),
        spec("alpha.bin", tags={"kind": "bin"}),
        spec("Charlie.iso", tags={"kind": "iso"}),
        spec("bravo.bin", priority=Priority.LOW),
        spec("alpha.bin", out="Echo"),
    ]
    await site.say(*(Submit(task_id(number), one) for number, one in enumerate(specs)))
    return site


@pytest.fixture
def listing(site: FakeSite) -> Listing:
    return site.nodes["m"].services.listing


async def found(listing: Listing, *, sort: str = "created", offset: int = 0, limit: int = 100, **asked: object) -> str:
    """The numbers of the tasks on the first page, and how many there are in all if that is not told by it."""
    page = await listing.page(
        listing.wanted(msgspec.convert(asked, TaskFilter)), sort=sort, cursor=None, offset=offset, limit=limit
    )
    numbers = "".join(str(int(task.id, 16)) for task in page.tasks)
    return numbers if page.total == len(page.tasks) else f"{numbers} of {page.total}"


async def test_filters(site: FakeSite, listing: Listing) -> None:
    await site.say(Pause(task_id(1)), Assign(task_id(2), 1, N, ""))
    assert await found(listing) == "01234"
    assert await found(listing, state=["paused"]) == "1"
    assert await found(listing, state=["paused", "queued"]) == "12"
    assert await found(listing, state=["failed"]) == ""
    assert await found(listing, node="n") == await found(listing, node=N) == "2"
    assert await found(listing, tag=["kind=iso"]) == "02"
    assert await found(listing, tag=["kind"]) == "012"
    assert await found(listing, tag=["kind=iso", "place=attic"]) == "0"
    assert await found(listing, q="ALPHA") == "14"
    assert await found(listing, q="echo") == "4", "its name"
    assert await found(listing, q="host.example", state=["pending"]) == "034"
    assert await found(listing, q="secret") == "", "a password is not found out by searching"
    assert await found(listing, ids=[task_id(4), task_id(0), "nothing"]) == "04"
    assert await found(listing, ids=[task_id(4), task_id(1)], state=["paused"]) == "1"
    assert await found(listing, offset=3) == "34 of 5"
    assert await found(listing, offset=9, limit=1) == " of 5"


async def test_a_search_follows_the_table(site: FakeSite, listing: Listing) -> None:
    assert await found(listing, q="zulu") == ""
    await site.say(Submit(task_id(7), spec("zulu.bin")))
    assert await found(listing, q="zulu") == "7"
    await site.say(Assign(task_id(1), 1, N, ""), Start(task_id(1), 1))
    await site.say(Complete(task_id(1), 1, Result(total_bytes=1, file_count=1, files=(FileEntry("Real name", 1),))))
    assert await found(listing, q="real n") == "1"
    await site.say(Remove(task_id(7)))
    assert await found(listing, q="zulu") == ""


async def test_orders(site: FakeSite, listing: Listing) -> None:
    assert await found(listing, sort="name") == "13204"
    assert await found(listing, sort="-name") == "40231"
    assert await found(listing, sort="-created") == "43210"
    assert await found(listing, sort="priority") == "31240"
    for number in (0, 3):
        await site.say(Assign(task_id(number), 1, N, ""), Start(task_id(number), 1, 10 if number else 90))
    assert await found(listing, sort="size") == "12430"
    assert await found(listing, sort="status") == "12403"
    tasks = {
        task_id(0): Progress(attempt=1, completed=9, total=90, speed=5),
        task_id(3): Progress(attempt=1, completed=5, total=10, speed=1),
    }
    site.nodes["m"].roster.hear(Report(node=N, tasks=tasks))
    assert await found(listing, sort="-speed", limit=2) == "03 of 5"
    assert await found(listing, sort="speed") == "12430"
    site.clock.advance(2)
    assert await found(listing, sort="progress") == "12403"
    await site.say(Complete(task_id(0), 1, Result(total_bytes=90, file_count=1)))
    assert await found(listing, sort="-progress") == "03421"
    assert await found(listing, sort="-updated", limit=1) == "0 of 5"
    assert await found(listing, sort="name", q="iso") == "20"


async def test_what_there_is_not(listing: Listing) -> None:
    wanted = listing.wanted(TaskFilter())
    for sort, cursor, offset, field in (
        ("colour", None, 0, "sort"), ("created", "x", 0, "cursor"), ("created", "3", 1, "offset"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as caught:
            await listing.page(wanted, sort=sort, cursor=cursor, offset=offset, limit=1)
        assert caught.value.field == field
    with pytest.raises(InvalidInput):
        listing.wanted(TaskFilter(state=["lost"]))
    for cursor in ("123456789abc.5", "x.7"):
        with pytest.raises(Conflict):
            await listing.page(wanted, sort="name", cursor=cursor, offset=0, limit=1)


async def test_a_cursor_belongs_to_its_list_and_is_forgotten_after_a_while(site: FakeSite, listing: Listing) -> None:
    everything, isos = listing.wanted(TaskFilter()), listing.wanted(TaskFilter(q="iso"))
    page = await listing.page(everything, sort="name", cursor=None, offset=0, limit=2)
    with pytest.raises(InvalidInput):
        await listing.page(isos, sort="name", cursor=page.cursor, offset=0, limit=2)
    with pytest.raises(InvalidInput):
        await listing.page(everything, sort="size", cursor=page.cursor, offset=0, limit=2)
    site.clock.advance(room.WALK_S - 1)
    page = await listing.page(everything, sort="name", cursor=page.cursor, offset=0, limit=2)
    site.clock.advance(room.WALK_S + 1)
    with pytest.raises(Conflict):
        await listing.page(everything, sort="name", cursor=page.cursor, offset=0, limit=2)


async def test_walks_are_bounded(listing: Listing) -> None:
    wanted = listing.wanted(TaskFilter())
    for _ in range(room.MAX_WALKS + 5):
        await listing.page(wanted, sort="name", cursor=None, offset=0, limit=2)
    assert len(listing._walks) == room.MAX_WALKS


@pytest.mark.parametrize("sort", [*SORTS, *(f"-{sort}" for sort in SORTS)])
@pytest.mark.parametrize("q", ["", "item"])
async def test_a_walk_shows_all_that_was_there_throughout_and_nothing_twice(sort: str, q: str) -> None:
    site = FakeSite()
    await site.up("m")
    node, dice = site.nodes["m"], random.Random(sort)
    await site.say(*(Submit(task_id(number), spec(f"item{number % 7}")) for number in range(60)))
    wanted = node.services.listing.wanted(TaskFilter(q=q))
    throughout, shown = set(map(task_id, range(60))), []
    cursor, next_number = None, 60
    while True:
        page = await node.services.listing.page(wanted, sort=sort, cursor=cursor, offset=0, limit=7)
        shown += [task.id for task in page.tasks]
        if (cursor := page.cursor) is None:
            break
        for _ in range(6):
            await stir(site, node, dice, throughout, task_id(next_number))
            next_number += 1
    assert len(shown) == len(set(shown))
    assert throughout <= set(shown)


async def stir(site: FakeSite, node: SiteNode, dice: random.Random, throughout: set[str], new: str) -> None:
    """Something happens to the list."""
    victim = dice.choice(sorted(node.replica.table.tasks))
    row = node.task(victim)
    progress = {
        i: Progress(attempt=t.attempt, completed=dice.randrange(9), total=9, speed=dice.randrange(9))
        for i, t in node.replica.table.tasks.items()
        if t.attempt
    }
    node.roster.hear(Report(node=M, tasks=progress))
    site.clock.advance(dice.choice([0.1, 2.0]))
    match dice.randrange(4):
        case 0:
            await site.say(Submit(new, spec(f"item{dice.randrange(9)}", priority=dice.choice(list(Priority)))))
        case 1:
            await site.say(Remove(victim))
            throughout.discard(victim)
        case 2 if row.state == "pending":
            await site.say(
                Assign(victim, row.attempt + 1, M, ""), Start(victim, row.attempt + 1, dice.randrange(1, 99))
            )
        case 2 if row.state == "downloading":
            files = (FileEntry(f"item-{dice.randrange(99)}", 1),)
            await site.say(Complete(victim, row.attempt, Result(total_bytes=7, file_count=1, files=files)))
        case 3 if row.state in ("pending", "downloading", "queued"):
            await site.say(Pause(victim) if dice.random() < 0.7 else Cancel(victim))
        case 3 if row.state == "paused":
            await site.say(Resume(victim))


async def test_orders_hold_while_they_are_made(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows change while an order is read in, and while the table is replaced."""
    monkeypatch.setattr(catalogue_room, "AT_ONCE", 1)
    node = site.nodes["m"]
    catalogue = node.services.listing._catalogue
    first = asyncio.create_task(catalogue.sorted_by("priority"))
    words = asyncio.create_task(catalogue.words())
    for _ in range(2):
        await asyncio.sleep(0)
    await site.say(Submit(task_id(9), spec("late", priority=Priority.URGENT)), Remove(task_id(3)), Pause(task_id(0)))
    assert numbers(node, await first) == [1, 2, 4, 0, 9]
    assert len(await words) == 5
    second = asyncio.create_task(catalogue.sorted_by("name"))
    await asyncio.sleep(0)
    node.replica.load(encode_snapshot(take(node.replica.table)))()
    assert numbers(node, await second) == [1, 2, 0, 4, 9]


def numbers(node: SiteNode, seqs: Iterable[int]) -> list[int]:
    return [int(node.replica.table.order[seq], 16) for seq in seqs]


async def test_what_nobody_asks_for_is_let_go(site: FakeSite, listing: Listing) -> None:
    await found(listing, sort="name", q="iso")
    catalogue = listing._catalogue
    site.clock.advance(catalogue_room.KEPT_S + 1)
    await site.say(Pause(task_id(1)))
    assert not catalogue._words.by_seq and not catalogue._orders["name"]._sorted
    assert await found(listing, sort="name", q="iso") == "20"
