"""Following downloads: to the end, past failures and lost nodes, for people and for scripts."""

import asyncio
from typing import Any

import msgspec
import pytest

from ariacluster.cli import watching
from ariacluster.cli.watch_view import block, detail, ended
from ariacluster.cli.watching import Watch, follow
from ariacluster.client.client import NodeClient
from ariacluster.client.errors import NotReached
from ariacluster.domain.errors import NoLeader
from ariacluster.wire.resources import TaskResource
from tests.support.fake_node import FakeNode, completed, failed, running, task

MB = 1_000_000
QUEUED: dict[str, Any] = {"status": "queued", "worker_id": "id-alpha", "worker_name": "alpha", "attempt": 1}


class Diary:
    """A view that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.troubles: list[str] = []
        self.troubled = asyncio.Event()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def changed(self, task: TaskResource) -> None:
        self.lines.append(f"{task.name} {task.status}")

    def gone(self, task: TaskResource) -> None:
        self.lines.append(f"{task.name} gone")

    def draw(self, watch: Watch, trouble: str) -> None:
        if trouble and trouble not in self.troubles:
            self.troubles.append(trouble)
            self.troubled.set()


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "INTERVAL", 0.01)
    monkeypatch.setattr(watching, "BEAT", 0.005)
    monkeypatch.setattr(watching, "ANSWER_TIME", 0.2)


async def watched(watch: Watch, client: NodeClient, diary: Diary | None = None) -> Diary:
    diary = diary or Diary()
    async with asyncio.timeout(20):
        await follow(client, watch, diary)
    return diary


async def test_named_tasks_are_followed_to_their_end(fake: FakeNode, client: NodeClient) -> None:
    one, two = task(1, name="one"), task(2, name="two")
    fake.put(one, two, task(3, name="other"))
    fake.reels[one.id] = [QUEUED, running(1, 2), running(1, 2), completed(2)]
    fake.reels[two.id] = [QUEUED, {}, failed("Gone.")]
    watch = Watch(client, [one, two])
    diary = await watched(watch, client)
    assert [line for line in diary.lines if line.startswith("one")] == [
        "one pending",
        "one queued",
        "one downloading",
        "one completed",
    ]
    assert "two failed" in diary.lines and not any("other" in line for line in diary.lines)
    assert watch.failed
    assert len([line for line in fake.requests if one.id in line]) == 4, "what has ended is not asked for again"


async def test_all_well_is_not_failed(fake: FakeNode, client: NodeClient) -> None:
    done = task(1, **completed(1))
    fake.put(done)
    watch = Watch(client, [done])
    assert (await watched(watch, client)).lines == ["file-1.bin completed"]
    assert not watch.failed


async def test_everything_is_followed_until_nothing_runs_or_waits(fake: FakeNode, client: NodeClient) -> None:
    early, late, paused = task(1, name="early"), task(2, name="late"), task(3, name="paused", status="paused")
    fake.put(early, paused, task(4, name="old", **completed(1)))
    fake.reels[early.id] = [QUEUED, running(1, 2), {}, {}, {}, completed(2)]

    class Adding(Diary):
        def changed(self, task: TaskResource) -> None:
            super().changed(task)
            if task.status == "downloading" and late.id not in fake.tasks:
                fake.put(late)
                fake.reels[late.id] = [running(1, 9), {}, {}, {}, {"status": "canceled"}]

    watch = Watch(client, everything=True)
    diary = await watched(watch, client, Adding())
    assert "early completed" in diary.lines and "late canceled" in diary.lines
    assert not any(line.startswith(("paused", "old")) for line in diary.lines)
    assert watch.failed


async def test_a_task_that_is_paused_meanwhile_holds_only_those_who_named_it(
    fake: FakeNode, client: NodeClient
) -> None:
    fake.put(task(1, name="x"))
    fake.reels[task(1).id] = [running(1, 2), {"status": "paused"}, {}, {}, {}, completed(2)]
    assert (await watched(Watch(client, everything=True), client)).lines[-1] == "x paused"
    diary = await watched(Watch(client, [next(iter(fake.tasks.values()))]), client)
    assert diary.lines == ["x paused", "x completed"]


async def test_a_task_that_somebody_took_off_the_list_is_not_waited_for(fake: FakeNode, client: NodeClient) -> None:
    fake.put(task(1, name="x"))
    watch = Watch(client, [task(1, name="x"), task(2, name="y", **completed(1))])
    fake.tasks.clear()
    assert (await watched(watch, client)).lines[-1] == "x gone"
    assert watch.failed


async def test_a_node_and_a_leader_may_go_away_for_a_while(fake: FakeNode, client: NodeClient) -> None:
    one = task(1)
    fake.put(one)
    fake.reels[one.id] = [running(1, 2)]
    diary = Diary()
    following = asyncio.create_task(watched(Watch(client, [one]), client, diary))
    await asyncio.wait_for(fake.asked.wait(), 5)
    await fake.stop()
    await asyncio.wait_for(diary.troubled.wait(), 5)
    assert "No node answers" in diary.troubles[0]
    diary.troubled.clear()
    fake.refusals = [NoLeader("An election is going on.")] * 30
    await fake.start()
    fake.reels[one.id] = [{}, completed(2)]
    await following
    assert "An election is going on." in diary.troubles
    assert diary.lines[-1] == "file-1.bin completed"


async def test_patience_has_an_end(fake: FakeNode, client: NodeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PATIENCE", 0.3)
    fake.put(task(1))
    await fake.stop()
    with pytest.raises(NotReached):
        await watched(Watch(client, [task(1)]), client)


async def test_who_never_answered_is_not_waited_for(client: NodeClient, fake: FakeNode) -> None:
    await fake.stop()
    with pytest.raises(NotReached):
        await watched(Watch(client, everything=True), client)


# -- the picture


def picture(tasks: list[TaskResource], width: int, height: int = 24, trouble: str = "") -> list[str]:
    watch = Watch(NodeClient("http://unused"), tasks)
    pace = {task.id: float(task.download_speed) for task in tasks}
    return [line.plain for line in block(watch, pace, width, height, 3, trouble)]


TASKS = [
    task(1, name="waiting.bin"),
    task(2, name="debian-13.2.0-amd64-netinst.iso", **running(427 * MB, 787 * MB, speed=64 * MB)),
    task(3, name="日本語のとても長い名前のファイル.mkv", **running(4 * MB, 0, speed=8 * MB)),
    task(4, name="done", **completed(13 * MB)),
    task(5, name="sad", **failed("No such file.")),
]


def test_a_picture_of_80_columns() -> None:
    assert picture(TASKS, 80) == [
        "↓ debian-13.…etinst.iso ━━━━━━━──────  54%   427/787 MB  64.0 MB/s   0:06 alpha",
        "↓ 日本語のと…ァイル.mkv ───━━━───────           4.00 MB  8.00 MB/s        alpha",
        "○ waiting.bin           waiting for a node with a free slot",
        "  2 of 5 done  ✗ 1 failed  444 MB  72.0 MB/s",
    ]


def test_a_picture_with_all_sizes_known_tells_when_all_is_done() -> None:
    assert picture([TASKS[1], TASKS[3]], 100)[-1] == "  1 of 2 done  440/800 MB  64.0 MB/s  0:06 left"


def test_the_picture_says_that_the_node_is_awaited() -> None:
    assert picture(TASKS, 60, trouble="No node answers at http://nas:8000: it closed the connection.")[-1].startswith(
        "↻ reconnecting...  No node answers at"
    )


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 100, 120, 300])
@pytest.mark.parametrize("height", [3, 10, 50])
def test_the_picture_fits_any_window(width: int, height: int) -> None:
    many = [*TASKS, *(task(number, **running(number, 100, node="n" * 40)) for number in range(10, 60))]
    watch = Watch(NodeClient("http://unused"), many)
    lines = block(watch, {}, width, height, 7)
    assert len(lines) <= max(height - 1, 5)
    assert all(line.cell_len < max(width, 21) for line in lines)
    if height < 50:
        assert "more" in lines[-2].plain


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_has_ended_stays_as_a_line(width: int) -> None:
    long = msgspec.structs.replace(TASKS[3], name="x" * 500, worker_name="n" * 100)
    (line,) = ended(long, width)
    assert line.plain.startswith("✓ xx") and "13.0 MB" in line.plain and line.cell_len <= width
    sentence = "".join(part.plain for part in ended(TASKS[4], width))
    assert sentence.startswith("✗ sad") and "No such file." in sentence


def test_the_chosen_node_is_named_once() -> None:
    assert detail(task(1, **QUEUED | {"reason": "alpha: 5 of 5 slots free"})) == "on alpha: 5 of 5 slots free"
