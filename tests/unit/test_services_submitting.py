"""Taking in one task or thousands, and changing what was asked."""

from datetime import UTC, datetime

import pytest

from ariacluster.domain.commands import Assign, Cancel, Complete, Elect, Fail, Start
from ariacluster.domain.errors import Conflict, Duplicate, IllegalMove, InvalidInput, NoSuchTask
from ariacluster.domain.history import Kind
from ariacluster.domain.task import FailureKind, Result, Task, TaskState
from ariacluster.wire.requests import ImportRequest, TaskCreate, TaskPatch
from ariacluster.wire.routes import MAX_BATCH
from tests.support.fake_site import FakeSite, SiteNode

URL = "http://origin/file.bin"


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("ab")
    return site


@pytest.fixture(params=["a", "b"], ids=["leader", "follower"])
def node(site: FakeSite, request: pytest.FixtureRequest) -> SiteNode:
    return site.nodes[request.param]


def creates(count: int, **fields: object) -> list[TaskCreate]:
    return [TaskCreate(url=f"{URL}?{number}", **fields) for number in range(count)]  # type: ignore[arg-type]


def row(node: SiteNode, task_id: str | None) -> Task:
    assert task_id is not None
    return node.replica.table.tasks[task_id]


# -- the same twice


@pytest.mark.parametrize("other", ["HTTP://origin:80/./file.bin#x", "http://me:secret@Origin/file.bin"])
async def test_what_another_task_fetches_is_refused_by_its_name(node: SiteNode, other: str) -> None:
    first = await node.submitting.one(TaskCreate(url=URL), None)
    with pytest.raises(Duplicate, match=f"Task {first} fetches the same and is pending") as caught:
        await node.submitting.one(TaskCreate(urls=["http://elsewhere/f", other]), None)
    assert caught.value.task == first
    assert "secret" not in caught.value.detail
    forced = await node.submitting.one(TaskCreate(url=other, force=True), None)
    assert row(node, forced).state is TaskState.PENDING


async def test_what_failed_or_was_called_off_stands_in_nobodys_way(site: FakeSite, node: SiteNode) -> None:
    first = await node.submitting.one(TaskCreate(url=URL), None)
    await site.say(Cancel(first))
    second = await node.submitting.one(TaskCreate(url=URL), None)
    me = node.me.id
    await site.say(Assign(second, 1, me, ""), Fail(second, 1, FailureKind.LINK, 3, "Gone.", 0.5))
    third = await node.submitting.one(TaskCreate(url=URL), None)
    await site.say(Assign(third, 1, me, ""), Complete(third, 1, Result(total_bytes=1, file_count=1)))
    with pytest.raises(Duplicate, match="is completed"):
        await node.submitting.one(TaskCreate(url=URL), None)
    await node.tasks.remove(third)
    await node.submitting.one(TaskCreate(url=URL), None)


async def test_a_magnet_is_known_by_its_hash(node: SiteNode) -> None:
    digits, letters = "0123456789abcdef0123456789abcdef01234567", "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"
    first = await node.submitting.one(TaskCreate(url=f"magnet:?xt=urn:btih:{digits}&dn=one"), None)
    with pytest.raises(Duplicate) as caught:
        await node.submitting.one(TaskCreate(url=f"magnet:?dn=two&xt=urn:btih:{letters}"), None)
    assert caught.value.task == first


async def test_a_repeat_under_its_key_is_no_duplicate(node: SiteNode) -> None:
    first = await node.submitting.one(TaskCreate(url=URL), "key")
    assert await node.submitting.one(TaskCreate(url=URL), "key") == first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await node.submitting.one(TaskCreate(url=f"{URL}?2"), "key")


async def test_it_may_be_paused_from_the_start(node: SiteNode) -> None:
    later = datetime.fromtimestamp(node.replica._clock.now() / 1000 + 90, UTC)
    task_id = await node.submitting.one(TaskCreate(url=URL, paused=True, not_before=later), None)
    assert (row(node, task_id).state, row(node, task_id).not_before) == (TaskState.PAUSED, 0)
    resumed = await node.tasks.say("resume", task_id)
    assert (resumed.status, resumed.not_before) == ("pending", later)


# -- many at once


async def test_each_of_many_is_taken_or_refused_for_itself(site: FakeSite, node: SiteNode) -> None:
    known = await node.submitting.one(TaskCreate(url=URL), None)
    asked = [
        TaskCreate(url=f"{URL}?1", dir="films", paused=True),
        TaskCreate(url="gopher://origin/f"),
        TaskCreate(url=URL),
        TaskCreate(url=f"{URL}?1"),
        TaskCreate(),
        TaskCreate(url=URL, force=True),
    ]
    told = await node.submitting.all(asked, None)
    assert (told.accepted, told.refused) == (2, 4)
    codes = [item.problem.code if item.problem else None for item in told.results]
    assert codes == [None, "invalid_input", "duplicate", "duplicate", "invalid_input", None]
    first, scheme, there, twice, _, forced = told.results
    assert (scheme.problem and scheme.problem.field, scheme.id) == ("url", None)
    assert there.problem and there.problem.task == known and "force" in there.problem.detail
    assert twice.problem and twice.problem.task == first.id
    assert (row(node, first.id).spec.dir, row(node, first.id).state) == ("films", TaskState.PAUSED)
    assert row(node, forced.id).spec.urls == (URL,)
    assert list(node.replica.table.order.values()) == [known, first.id, forced.id]


async def test_thousands_are_taken_in_order_and_the_history_stays_short(site: FakeSite, node: SiteNode) -> None:
    before = len(node.replica.table.history.entries)
    told = await node.submitting.all(creates(3_000), None)
    assert (told.accepted, told.refused, len(told.results)) == (3_000, 0, 3_000)
    assert list(node.replica.table.order.values()) == [item.id for item in told.results]
    news = list(node.replica.table.history.entries)[before:]
    assert {entry.kind for entry in news} == {Kind.TASK_SUBMITTED}
    assert sum(entry.count for entry in news) == 3_000
    assert len(news) < 60
    await site.settled()
    assert all(other.replica.table.tasks.keys() == node.replica.table.tasks.keys() for other in site.nodes.values())


async def test_many_again_under_their_key_are_the_same(node: SiteNode) -> None:
    first = await node.submitting.all(creates(200), "key")
    again = await node.submitting.all(creates(200), "key")
    assert again == first
    assert len(node.replica.table.tasks) == 200
    other = await node.submitting.all(creates(2, priority="high"), "key")
    assert [item.problem.code for item in other.results if item.problem] == ["conflict", "conflict"]


async def test_more_than_fit_one_request_are_refused(node: SiteNode) -> None:
    with pytest.raises(InvalidInput, match="10,000") as caught:
        await node.submitting.all(creates(MAX_BATCH + 1), None)
    assert caught.value.field == "tasks"
    assert node.replica.table.tasks == {}
    assert (await node.submitting.all([], None)).accepted == 0


LISTED = """\
# films
http://origin/1.iso
http://origin/2.iso\thttp://mirror/2.iso
  out=two.iso
  header=X-One: 1
http://origin/3.iso
  nonsense
  split=4
gopher://origin/4
  out=four
http://origin/1.iso
"""


async def test_a_list_is_taken_in_line_by_line(node: SiteNode) -> None:
    asked = ImportRequest(text=LISTED, defaults=TaskCreate(dir="films", headers=["A: b"], options={"split": "2"}))
    told = await node.submitting.listed(asked, None)
    assert (told.accepted, told.refused) == (2, 3)
    assert [item.line for item in told.results] == [2, 3, 6, 9, 11]
    one, two, three, four, again = told.results
    assert row(node, one.id).spec.options == {"split": "2"}
    spec = node.secrets.opened(row(node, two.id).spec)
    assert (spec.urls, spec.out, spec.dir) == (("http://origin/2.iso", "http://mirror/2.iso"), "two.iso", "films")
    assert spec.headers == ("A: b", "X-One: 1")
    assert three.problem and "Line 7" in three.problem.detail
    assert four.problem and four.problem.field == "url"
    assert again.problem and (again.problem.code, again.problem.task) == ("duplicate", one.id)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (ImportRequest(text=URL, defaults=TaskCreate(url=URL)), "defaults"),
        (ImportRequest(text="# nothing\n\n"), "text"),
        (ImportRequest(text="http://o/f\n" * (MAX_BATCH + 1)), "text"),
    ],
)
async def test_a_list_that_cannot_be_meant_is_refused(node: SiteNode, asked: ImportRequest, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await node.submitting.listed(asked, None)
    assert caught.value.field == field


async def test_a_line_without_a_link_above_it_is_told(node: SiteNode) -> None:
    told = await node.submitting.listed(ImportRequest(text="  out=x\nhttp://origin/f"), None)
    assert [(item.line, bool(item.problem)) for item in told.results] == [(1, True), (2, False)]


# -- changing what was asked


async def test_what_is_named_is_changed_and_null_takes_it_away(node: SiteNode) -> None:
    asked = TaskCreate(
        url=URL,
        out="a.bin",
        options={"split": "4", "timeout": "5"},
        tags={"gpu": "yes"},
        max_attempts=3,
        priority="low",
    )
    task_id = await node.submitting.one(asked, None)
    turn = row(node, task_id).turn
    patch = TaskPatch(
        out=None, options={"split": None, "max-tries": 2}, tags={"disk": "ssd"}, max_attempts=None, priority="high"
    )
    told = await node.tasks.edit(task_id[:8], patch)
    assert (told.out, told.options, told.tags) == (
        None,
        {"timeout": "5", "max-tries": "2"},
        {"gpu": "yes", "disk": "ssd"},
    )
    assert (told.max_attempts, told.priority, told.status) == (5, "high", "pending")
    assert row(node, task_id).turn == turn - 2 * 30 * 60_000, "where it would stand if it had come so"
    last = node.replica.table.history.entries[-1]
    assert (last.kind, last.detail) == (Kind.TASK_EDITED, "out, options, priority, tags, max_attempts")
    entries = len(node.replica.table.history.entries)
    assert await node.tasks.edit(task_id, patch) == told
    assert len(node.replica.table.history.entries) == entries, "it is so already"


@pytest.mark.parametrize(
    ("patch", "anew"),
    [
        (TaskPatch(headers=["A: b"]), True),
        (TaskPatch(options={"split": 2}), True),
        (TaskPatch(checksum="md5=" + "0" * 32), True),
        (TaskPatch(node="b"), True),
        (TaskPatch(tags={"gpu": "yes"}), True),
        (TaskPatch(node="a"), False),
        (TaskPatch(dir="films"), False),
        (TaskPatch(priority="urgent", max_attempts=9, prefer_tags={"gpu": "yes"}), False),
        (TaskPatch(not_before=datetime(2030, 1, 1, tzinfo=UTC)), False),
    ],
)
async def test_what_runs_begins_anew_only_where_it_must_and_keeps_its_bytes(
    site: FakeSite, node: SiteNode, patch: TaskPatch, anew: bool
) -> None:
    task_id = await node.submitting.one(TaskCreate(url=URL), None)
    first = site.nodes["a"].me.id
    await site.say(Assign(task_id, 1, first, "why"), Start(task_id, 1, 700))
    told = await node.tasks.edit(task_id, patch)
    task = row(node, task_id)
    assert task.state is (TaskState.PENDING if anew else TaskState.DOWNLOADING)
    assert (task.bytes_on, task.attempt, task.size) == (first, 1, 700)
    assert told.status == task.state
    if anew:
        await site.say(Assign(task_id, 2, first, "again"))


async def test_a_part_under_another_name_is_given_up(site: FakeSite, node: SiteNode) -> None:
    task_id = await node.submitting.one(TaskCreate(url=URL), None)
    await site.say(Assign(task_id, 1, node.me.id, "why"), Start(task_id, 1, 700))
    await node.tasks.edit(task_id, TaskPatch(out="b.bin"))
    assert (row(node, task_id).state, row(node, task_id).bytes_on) == (TaskState.PENDING, None)


@pytest.mark.parametrize(("link", "size"), [("magnet:?xt=urn:btih:" + "a" * 40, 0), (URL, 700)])
async def test_how_large_other_files_are_nobody_knows_before_aria2(
    site: FakeSite, node: SiteNode, link: str, size: int
) -> None:
    task_id = await node.submitting.one(TaskCreate(url=link, options={"select-file": "1-9"}), None)
    await site.say(Assign(task_id, 1, node.me.id, "why"), Start(task_id, 1, 700))
    await node.tasks.edit(task_id, TaskPatch(options={"select-file": "1-9", "split": 2}))
    assert row(node, task_id).size == 700
    await node.tasks.edit(task_id, TaskPatch(options={"select-file": "1"}))
    assert row(node, task_id).size == size


async def test_what_is_over_is_not_changed(site: FakeSite, node: SiteNode) -> None:
    task_id = await node.submitting.one(TaskCreate(url=URL), None)
    await site.say(Cancel(task_id))
    with pytest.raises(IllegalMove, match="canceled"):
        await node.tasks.edit(task_id, TaskPatch(dir="x"))
    with pytest.raises(NoSuchTask):
        await node.submitting.edit("0" * 16, TaskPatch(dir="x"))


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        (TaskPatch(dir="../x"), "dir"),
        (TaskPatch(options={"on-download-start": "x"}), "options.on-download-start"),
        (TaskPatch(max_attempts=0), "max_attempts"),
        (TaskPatch(priority="top"), "priority"),
        (TaskPatch(options={"select-file": "2-1"}), "options.select-file"),
    ],
)
async def test_a_change_is_checked_as_a_submit_is(node: SiteNode, patch: TaskPatch, field: str) -> None:
    task_id = await node.submitting.one(TaskCreate(url=URL), None)
    with pytest.raises(InvalidInput) as caught:
        await node.tasks.edit(task_id, patch)
    assert caught.value.field == field


async def test_two_who_change_the_same_task_lose_nothing(
    site: FakeSite, node: SiteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await node.submitting.one(TaskCreate(url=URL), None)
    real, other = node.replica.change, site.nodes["b" if node.me.name == "a" else "a"]
    met: list[object] = []

    async def crossed(command: object) -> None:
        if not met:
            met.append(command)
            await other.submitting.edit(task_id, TaskPatch(dir="films"))
            await site.say(Elect(node.me.id, 9))
        await real(command)  # type: ignore[arg-type]

    monkeypatch.setattr(node.replica, "change", crossed)
    await node.submitting.edit(task_id, TaskPatch(priority="high"))
    assert (row(node, task_id).spec.dir, row(node, task_id).spec.priority.name) == ("films", "HIGH")
