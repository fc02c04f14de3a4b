import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from ariacluster.domain import condition, suspects
from ariacluster.domain.commands import (
    MAX_PROPOSAL_BYTES,
    Assign,
    Cancel,
    Command,
    Configure,
    Measure,
    Move,
    Pause,
    Register,
    Release,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    Tune,
)
from ariacluster.domain.errors import AriaClusterError, NoLeader, Unavailable
from ariacluster.domain.member import Tuning
from ariacluster.domain.policy import MIN_FREE, Policy
from ariacluster.domain.reconcile import Download, Receipt
from ariacluster.domain.task import FailureKind, FileEntry, Result, TaskSpec, TaskState
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import Discarding, EngineLimits, Job, Probe, Publishing
from ariacluster_node.services import asking, hands, staging, surroundings, verdicts
from ariacluster_node.services import worker as worker_room
from tests.support.fake_origins import FakeOrigins
from tests.support.fake_site import SPEC, FakeSite, SiteNode, until, working
from tests.support.singly import publish

A, B, C = "a" * 16, "b" * 16, "c" * 16
STALE = "Taken back: it was not heard."


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 0.005)
    monkeypatch.setattr(worker_room, "BREATH", 0.0)
    monkeypatch.setattr(surroundings, "LOOK_PERIOD", 0.005)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


def given(task_id: str, node: SiteNode, *, attempt: int = 1) -> list[Command]:
    """Submit it and give it to the node."""
    return [Submit(task_id, SPEC), Assign(task_id, attempt, node.me.id, "for the test")]


def partly(node: SiteNode, task_id: str) -> None:
    """The engine has got a part of it."""
    node.folders.put(task_id, "file.bin", b"123")
    node.folders.put(task_id, "file.bin.aria2", b"control")
    node.downloader.progress(task_id, 3, 10)


def whole(node: SiteNode, task_id: str, name: str = "file.bin", data: bytes = b"12345") -> None:
    """The engine has got all of it."""
    node.folders.put(task_id, name, data)
    node.downloader.complete(task_id, len(data))


async def downloading(site: FakeSite, node: SiteNode, task_id: str = A) -> None:
    await site.say(*given(task_id, node))
    await until(lambda: node.row(task_id)() == "downloading")


async def rounds(node: SiteNode, count: int = 3) -> None:
    """The worker has looked at the engine so often again."""
    seen, poll = 0, node.downloader.poll

    async def counted() -> dict[str, Download]:
        nonlocal seen
        seen += 1
        return await poll()

    node.downloader.poll = counted  # type: ignore[method-assign]
    try:
        await until(lambda: seen > count)
    finally:
        node.downloader.poll = poll  # type: ignore[method-assign]


async def test_a_task_is_added_started_published_and_completed(site: FakeSite) -> None:
    [node] = await site.up("a")
    spec = TaskSpec(
        urls=("http://one/f", "http://two/f"),
        out="f",
        dir="films",
        options={"split": "4"},
        headers=("X: y",),
        checksum="md5=" + "0" * 32,
    )
    async with working(node):
        await site.say(Submit(A, spec), Assign(A, 1, node.me.id, ""))
        await until(lambda: node.row(A)() == "downloading")
        [job] = node.downloader.added
        assert job == Job(
            gid=A,
            urls=spec.urls,
            folder=node.folders.root / ".ariacluster" / A / "data",
            out="f",
            options=spec.options,
            headers=spec.headers,
            checksum=spec.checksum,
        )
        whole(node, A, "f")
        await until(lambda: node.row(A)() == "completed")
        assert node.task(A).result == Result(total_bytes=5, file_count=1, files=(FileEntry("films/f", 5),))
        await until(lambda: not node.folders.staging and not node.downloader.jobs)
    assert node.folders.published == {"films/f": b"12345"}
    assert node.worker.progress() == {}


async def test_events_wake_it_long_before_its_next_look(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 60.0)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        whole(node, A)
        await until(lambda: node.row(A)() == "completed")
        await until(lambda: not node.downloader.jobs)


async def test_rows_of_other_nodes_are_left_alone(site: FakeSite) -> None:
    node, other = await site.up("ab")
    async with working(node):
        await site.say(*given(A, other))
        await downloading(site, node, B)
    assert [job.gid for job in node.downloader.added] == [B]


async def test_a_failure_is_told_with_its_sentence_and_its_code(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.downloader.fail(A, 22, "The response status is not successful. status=503")
        await until(lambda: node.row(A)() == "pending")
    [failure] = node.task(A).failures
    assert (failure.code, failure.kind, failure.attempt) == (22, FailureKind.THROTTLED, 1)
    assert failure.message == (
        "The server is overloaded or under maintenance. aria2 said: The response status is not successful. status=503."
    )


async def test_a_failure_that_no_attempt_would_mend_ends_the_task(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.downloader.fail(A, 3)
        await until(lambda: node.row(A)() == "failed")
    assert node.task(A).reason == "The server has no such file. Check the link."


async def test_aria2s_words_are_cut_to_what_the_log_can_take(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.downloader.fail(A, 1, "x" * MAX_PROPOSAL_BYTES)
        await until(lambda: node.row(A)() == "pending")
    assert len(node.task(A).failures[0].message) == verdicts.MAX_MESSAGE_CHARS


async def test_a_result_lists_no_more_files_than_the_log_can_take(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        for n in range(100):
            node.folders.put(A, f"torrent/{n:03}{'ä' * 400}", b"1")
        node.downloader.complete(A, 100)
        await until(lambda: node.row(A)() == "completed")
    result = node.task(A).result
    assert result
    assert (result.file_count, result.total_bytes) == (100, 100)
    assert 0 < len(result.files) < 100
    assert len(node.folders.published) == 100


async def test_an_engine_that_comes_back_empty_is_filled_again_in_the_same_attempt(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.put(A, "file.bin", b"1")
        node.folders.put(A, "file.bin.aria2", b"control")
        node.downloader.crash()
        await until(lambda: node.worker.trouble != "")
        assert "aria2" in node.worker.trouble
        node.downloader.restart()
        await until(lambda: len(node.downloader.added) == 2)
        await until(lambda: node.worker.trouble == "")
        assert node.folders.staging[A]["file.bin"] == b"1", "its bytes are there still"
        whole(node, A)
        await until(lambda: node.row(A)() == "completed")
    assert node.task(A).attempt == 1
    assert node.task(A).failures == ()


async def test_a_crash_before_the_commit_is_healed_from_the_receipt(site: FakeSite) -> None:
    [node] = await site.up("a")
    propose = node.replica.propose
    refused = False

    async def mute(commands: object, *, timeout: float = 1.0) -> list[None]:
        nonlocal refused
        refused = True
        raise NoLeader("nobody")

    async with working(node):
        await downloading(site, node)
        node.replica.propose = mute  # type: ignore[method-assign,assignment]
        whole(node, A)
        await until(lambda: refused and A in node.folders.receipts)
    assert node.row(A)() == "downloading"
    node.replica.propose = propose  # type: ignore[method-assign]
    node.downloader.crash()
    node.downloader.restart()
    node.renewed_worker()
    async with working(node):
        await until(lambda: node.row(A)() == "completed")
        await until(lambda: not node.folders.staging)
    assert len(node.downloader.added) == 1, "not downloaded twice"
    assert node.folders.published == {"file.bin": b"12345"}


async def test_a_superseded_attempt_is_dropped(site: FakeSite) -> None:
    node, other = await site.up("ab")
    async with working(node):
        await downloading(site, node)
        with capture_logs() as told:
            await site.say(Release(A, 1, STALE), Assign(A, 2, other.me.id, ""))
            await until(lambda: not node.downloader.jobs and not node.folders.staging)
        await rounds(node)
    assert node.task(A).assigned_to == other.me.id
    assert len(node.downloader.added) == 1
    [stopped] = [line for line in told if line["event"] == "download stopped"]
    assert (stopped["task"], stopped["why"]) == (A, "another node has it now")


async def test_a_copy_that_was_published_for_a_superseded_attempt_is_withdrawn(site: FakeSite) -> None:
    """Cut off, the node finished and published; the cluster meanwhile gave the task to another one."""
    other, node, _ = await site.up("abc")
    async with working(node):
        await downloading(site, node)
        site.consensus.cut(node.me.id)
        whole(node, A)
        await until(lambda: node.folders.published != {})
        await site.say(Release(A, 1, STALE), Assign(A, 2, other.me.id, ""))
        site.consensus.heal(node.me.id)
        await until(lambda: not node.folders.published and not node.folders.staging)
    assert (node.task(A).state, node.task(A).node) == (TaskState.QUEUED, other.me.id)


async def test_the_same_node_again_starts_over_after_publishing_for_an_older_attempt(site: FakeSite) -> None:
    [node] = await site.up("a")
    await site.say(*given(A, node), Release(A, 1, STALE), Assign(A, 2, node.me.id, ""))
    await node.folders.open(A, fresh=True)
    node.folders.put(A, "file.bin", b"old")
    await publish(node.folders, A, 1, "")
    async with working(node):
        await until(lambda: node.row(A)() == "downloading")
        assert node.folders.published == {}
        whole(node, A)
        await until(lambda: node.row(A)() == "completed")
    assert node.folders.published == {"file.bin": b"12345"}


@pytest.mark.parametrize(("word", "state"), [(Cancel, "canceled"), (Remove, "gone")])
async def test_a_task_that_nobody_wants_any_more_leaves_nothing(
    site: FakeSite, word: type[Cancel | Remove], state: str
) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.put(A, "file.bin", b"1")
        await site.say(word(A))
        await until(lambda: not node.downloader.jobs and not node.folders.staging)
    assert node.row(A)() == state


async def test_a_paused_task_keeps_its_bytes_and_goes_on_with_them(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.put(A, "file.bin", b"1")
        node.folders.put(A, "file.bin.aria2", b"control")
        await site.say(Pause(A))
        await until(lambda: not node.downloader.jobs)
        await rounds(node)
        assert node.folders.staging[A]["file.bin"] == b"1"
        await site.say(Resume(A), Assign(A, 2, node.me.id, ""))
        await until(lambda: A in node.downloader.jobs)
        assert node.folders.staging[A]["file.bin"] == b"1"


async def test_bytes_that_are_of_no_use_are_not_resumed(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.put(A, "file.bin", b"1")
        node.folders.put(A, "file.bin.aria2", b"control")
        node.downloader.fail(A, 32, "checksum")
        await until(lambda: node.row(A)() == "pending")
        await site.say(Assign(A, 2, node.me.id, ""))
        await until(lambda: len(node.downloader.added) == 2)
        assert node.folders.staging[A] == {}


async def test_a_disk_that_refuses_to_stage_is_the_nodes_fault(site: FakeSite) -> None:
    [node] = await site.up("a")
    node.folders.refusal = "The disk is full."
    async with working(node):
        await site.say(*given(A, node))
        await until(lambda: node.row(A)() == "pending")
    [failure] = node.task(A).failures
    assert (failure.kind, failure.code, failure.message) == (FailureKind.NODE, 17, "The disk is full.")
    assert node.downloader.added == []


async def test_a_disk_that_refuses_to_publish_is_the_nodes_fault(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.refusal = "The folder is not writable."
        whole(node, A)
        await until(lambda: node.row(A)() == "pending")
        assert node.downloader.removed == [A]
    [failure] = node.task(A).failures
    assert (failure.kind, failure.message) == (FailureKind.NODE, "The folder is not writable.")


async def test_an_option_that_aria2_refuses_fails_the_task(site: FakeSite) -> None:
    [node] = await site.up("a")
    node.downloader.refusal = "We encountered a problem while processing the option '--split'."
    async with working(node):
        await site.say(*given(A, node))
        await until(lambda: node.row(A)() == "failed")
    [failure] = node.task(A).failures
    assert (failure.kind, failure.code) == (FailureKind.CONTENT, 28)
    assert "'--split'" in node.task(A).reason


async def test_one_task_that_cannot_be_does_not_stop_the_others(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node, B)
        node.downloader.refusal = "no"
        await site.say(*given(A, node))
        whole(node, B)
        await until(lambda: (node.row(A)(), node.row(B)()) == ("failed", "completed"))


async def test_nothing_is_discarded_before_the_table_has_caught_up(site: FakeSite) -> None:
    """An old table knows nothing of the newest tasks: judged by it, their bytes would go."""
    [node] = await site.up("a")
    await site.say(*given(A, node), Start(A, 1))
    for task_id in (A, B):
        await node.folders.open(task_id, fresh=True)
        node.folders.put(task_id, "file.bin", b"1")
        node.folders.put(task_id, "file.bin.aria2", b"control")
    node.consensus._ready = False
    async with working(node):
        await rounds(node)
        assert set(node.folders.staging) == {A, B}
        assert node.downloader.added == []
        node.consensus._ready = True
        await until(lambda: set(node.folders.staging) == {A})
        await until(lambda: node.row(A)() == "downloading")
    assert node.folders.staging[A]["file.bin"] == b"1"


async def test_it_tells_its_trouble_until_it_is_over(site: FakeSite) -> None:
    [node] = await site.up("a")
    assert node.worker.trouble, "a node that has not looked yet takes no tasks"
    async with working(node):
        await until(lambda: node.worker.trouble == "")
        node.folders.ailing = "The download folder is gone."
        await until(lambda: node.worker.trouble == "The download folder is gone.")
        await site.say(*given(A, node))
        await rounds(node)
        assert node.row(A)() == "queued", "trouble of the node fails no task"
        assert node.downloader.added == []
        node.folders.ailing = ""
        await until(lambda: node.row(A)() == "downloading")
        assert node.worker.trouble == ""


async def test_progress_tells_the_attempt_and_how_far_it_is(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.downloader.progress(A, 30, 100, speed=7, connections=2)
        await until(lambda: node.worker.progress()[A].completed == 30)
        progress = node.worker.progress()[A]
        assert (progress.attempt, progress.total, progress.speed) == (1, 100, 7)
        assert (progress.connections, progress.active) == (2, True)
        node.downloader.crash()
        await until(lambda: node.worker.progress() == {})


async def test_what_could_not_be_told_is_told_later(site: FakeSite) -> None:
    node, *_ = await site.up("ab")
    async with working(node):
        await downloading(site, node)
        site.consensus.full = True
        node.downloader.fail(A, 1)
        await rounds(node)
        assert node.row(A)() == "downloading"
        site.consensus.full = False
        await until(lambda: node.row(A)() == "pending")
    assert len(node.task(A).failures) == 1


async def test_a_retried_task_is_fetched_again_and_published_beside(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        await site.say(Cancel(A), Retry(A), Assign(A, 2, node.me.id, ""))
        await until(lambda: len(node.downloader.added) == 2)
        await until(lambda: node.row(A)() == "downloading")
        whole(node, A)
        await until(lambda: node.row(A)() == "completed")
    assert node.task(A).attempt == 2


async def test_a_receipt_of_an_accepted_result_never_takes_the_files_away(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        whole(node, A)
        await until(lambda: node.row(A)() == "completed" and not node.folders.staging)
    # The crash came after the commit and before the tidying.
    node.folders.staging[A] = {}
    node.folders._moved[A] = ["file.bin"]
    result = node.task(A).result
    assert result
    node.folders.receipts[A] = Receipt(attempt=1, result=result)
    node.renewed_worker()
    async with working(node):
        await until(lambda: not node.folders.staging)
    assert node.folders.published == {"file.bin": b"12345"}


async def test_it_goes_on_after_an_engine_that_fails_in_the_middle_of_a_round(site: FakeSite) -> None:
    [node] = await site.up("a")
    add_all, failed = node.downloader.add_all, False

    async def broken(jobs: Sequence[Job]) -> list[AriaClusterError | None]:
        nonlocal failed
        if not failed:
            failed = True
            return [Unavailable("aria2 has just died") for _ in jobs]
        return await add_all(jobs)

    node.downloader.add_all = broken  # type: ignore[method-assign]
    async with cancelled_at_exit(node.worker.run()):
        await site.say(*given(A, node), Register(node.me))
        await until(lambda: node.row(A)() == "downloading")
    assert failed
    assert node.task(A).attempt == 1


# -- disk and trouble ---------------------------------------------------------------------------------------------


def disk(node: SiteNode, free: int) -> None:
    node.machine.now = msgspec.structs.replace(node.machine.now, disk_free=free)


async def test_a_low_disk_presses_and_a_full_one_drops_what_runs_and_keeps_its_bytes(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        partly(node, A)
        disk(node, MIN_FREE - 1)
        await until(lambda: node.worker.pressed)
        assert node.worker.trouble == ""
        assert A in node.downloader.jobs, "what runs goes on"
        disk(node, MIN_FREE // 4)
        await until(lambda: not node.downloader.jobs)
        assert "make room" in node.worker.trouble
        assert node.folders.staging[A]["file.bin"] == b"123"
        disk(node, MIN_FREE)
        await rounds(node)
        assert node.downloader.jobs == {}, "not before there is some more room"
        disk(node, 2 * MIN_FREE)
        await until(lambda: A in node.downloader.jobs)
        assert (node.worker.pressed, node.worker.trouble) == (False, "")
    assert node.folders.staging[A]["file.bin"] == b"123"
    assert node.task(A).attempt == 1


async def test_how_much_stays_free_is_the_clusters_policy(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        disk(node, 5000)
        await until(lambda: node.worker.pressed)
        await site.say(Configure(Policy(min_free=4000)))
        await until(lambda: not node.worker.pressed)


async def test_trouble_that_lasts_presses(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "LASTING_S", 0.1)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.downloader.crash()
        await until(lambda: node.worker.trouble != "")
        assert not node.worker.pressed
        await until(lambda: node.worker.pressed)
        node.downloader.restart()
        await until(lambda: not node.worker.pressed)


async def test_a_task_that_went_elsewhere_is_dropped_while_the_folder_ails(site: FakeSite) -> None:
    node, other = await site.up("ab")
    async with working(node):
        await downloading(site, node)
        node.folders.ailing = "The download folder is not writable."
        await until(lambda: node.worker.trouble != "")
        await site.say(Move(A, 2, other.me.id, "", fetch=True))
        await until(lambda: not node.downloader.jobs)
        assert not node.worker.writes(A)


async def test_what_is_whole_is_published_and_told_while_the_folder_ails(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.ailing = "Its permissions are odd."
        await until(lambda: node.worker.trouble != "")
        whole(node, A)
        await until(lambda: node.row(A)() == "completed")


async def test_what_the_trouble_breaks_is_not_the_tasks_fault(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.ailing = "The download folder is gone."
        await until(lambda: node.worker.trouble != "")
        node.downloader.fail(A, 16, "Failed to open the file")
        await until(lambda: not node.downloader.jobs)
        await rounds(node)
        assert node.row(A)() == "downloading"
        node.folders.ailing = ""
        await until(lambda: A in node.downloader.jobs)
    assert node.task(A).failures == ()


async def test_what_is_to_be_fetched_can_be_published_when_the_disk_recovers(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.ailing = node.folders.refusal = "The folder is not writable."
        await until(lambda: node.worker.trouble != "")
        whole(node, A)
        await rounds(node)
        assert node.row(A)() == "downloading", "it is whole, and can wait"
        node.folders.ailing = node.folders.refusal = ""
        await until(lambda: node.row(A)() == "completed")


async def test_while_the_engine_may_live_its_folders_stay(site: FakeSite) -> None:
    """It does not answer, and nobody has seen it end: it may write still."""
    node, other = await site.up("ab")
    async with working(node):
        await downloading(site, node)
        node.downloader.crash()
        node.downloader.deaths -= 1
        await until(lambda: node.worker.trouble != "")
        await site.say(Release(A, 1, STALE), Assign(A, 2, other.me.id, ""))
        await rounds(node)
        assert A in node.folders.staging
        assert node.worker.writes(A)
        node.downloader.deaths += 1
        await until(lambda: A not in node.folders.staging)
        assert not node.worker.writes(A)


async def test_one_refusal_does_not_stop_the_round(site: FakeSite) -> None:
    [node] = await site.up("a")
    discard_all = node.folders.discard_all

    async def refused(works: Sequence[Discarding]) -> list[Unavailable | None]:
        refusal = Unavailable("The disk does not want to.")
        return [refusal if work.task_id == A else (await discard_all([work]))[0] for work in works]

    async with working(node):
        await downloading(site, node, A)
        await downloading(site, node, B)
        node.folders.discard_all = refused  # type: ignore[method-assign]
        await site.say(Cancel(A), Cancel(B))
        await until(lambda: B not in node.folders.staging)
        await downloading(site, node, C)
        assert A in node.folders.staging
        node.folders.discard_all = discard_all  # type: ignore[method-assign]
        await until(lambda: A not in node.folders.staging)


# -- limits -------------------------------------------------------------------------------------------------------


async def test_slots_and_limits_follow_the_row_of_the_node(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await until(lambda: node.downloader.limits == EngineLimits(slots=2))
        await site.say(Tune(node.me.id, Tuning(slots=7, download_limit=1000, upload_limit=10)))
        await until(lambda: node.downloader.limits == EngineLimits(slots=7, download_limit=1000, upload_limit=10))
        await site.say(Tune(node.me.id, Tuning(slots=0)))
        await until(lambda: node.downloader.limits == EngineLimits(slots=1))


# -- what origins say ---------------------------------------------------------------------------------------------

URL = SPEC.urls[0]


async def resumed(site: FakeSite, node: SiteNode, origins: FakeOrigins, size: int, validator: str = '"1"') -> None:
    """The task had begun with a file of that size, was paused, and comes back to the same node."""
    origins.otherwise = None
    await site.say(Submit(A, SPEC), Measure(A, size, validator), Assign(A, 1, node.me.id, ""))
    await until(lambda: node.row(A)() == "downloading")
    partly(node, A)
    await site.say(Pause(A))
    await until(lambda: not node.downloader.jobs)
    await site.say(Resume(A), Assign(A, 2, node.me.id, ""))


def says(status: int = 200, size: int = 0, validator: str = "", retry_after: int = 0) -> Probe:
    return Probe(status=status, size=size, validator=validator, retry_after=retry_after)


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (None, True),
        (says(size=10, validator='"1"'), True),
        (says(), True),
        (says(404, 1, '"404"'), True),
        (says(503, 1), True),
        (says(size=11), False),
        (says(validator='"2"'), False),
        (says(size=10, validator='"2"'), False),
        (says(206, 11, '"1"'), False),
    ],
)
async def test_a_part_is_resumed_unless_another_file_lies_there_now(
    site: FakeSite, answer: Probe | None, goes_on: bool
) -> None:
    [node] = await site.up("a")
    origins = node.origins
    origins.answers[URL] = answer
    async with working(node):
        await resumed(site, node, origins, 10)
        await until(lambda: A in node.downloader.jobs and node.row(A)() == "downloading")
        assert node.folders.staging[A].get("file.bin") == (b"123" if goes_on else None)
        assert origins.asked == [URL], "once, and not before there was something"
        if not goes_on and answer:
            await until(lambda: node.task(A).size == (answer.size or 10))
            assert node.task(A).validator == (answer.validator or '"1"')


async def test_a_slow_origin_holds_up_its_own_task_alone(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    [node] = await site.up("a")
    origins = node.origins
    async with working(node):
        origins.hold()
        await resumed(site, node, origins, 10)
        await until(lambda: origins.in_flight == 1)
        await downloading(site, node, B)
        assert A not in node.downloader.jobs
        origins.let_go()
        await until(lambda: A in node.downloader.jobs)


async def test_an_origin_that_does_not_answer_in_time_is_left_out(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.05)
    [node] = await site.up("a")
    origins = node.origins
    async with working(node):
        origins.hold()
        await resumed(site, node, origins, 10)
        await until(lambda: A in node.downloader.jobs)
    assert node.folders.staging[A]["file.bin"] == b"123"


async def test_without_a_part_or_a_memory_nobody_is_asked(site: FakeSite) -> None:
    [node] = await site.up("a")
    origins = node.origins
    async with working(node):
        await site.say(Submit(A, SPEC), Measure(A, 10, '"1"'), Assign(A, 1, node.me.id, ""))
        await until(lambda: node.row(A)() == "downloading")
        await site.say(Pause(A))
        await until(lambda: not node.downloader.jobs)
        await site.say(Resume(A), Assign(A, 2, node.me.id, ""))
        await until(lambda: len(node.downloader.added) == 2)
    assert origins.asked == []


async def test_what_nobody_knew_is_asked_when_the_download_begins(site: FakeSite) -> None:
    [node] = await site.up("a")
    origins = node.origins
    origins.answers[URL] = says(size=10, validator='"1"')
    async with working(node):
        await downloading(site, node)
        await until(lambda: (node.task(A).size, node.task(A).validator) == (10, '"1"'))
    assert origins.asked == [URL]


async def test_aria2_tells_the_size_when_it_begins(site: FakeSite) -> None:
    [node] = await site.up("a")
    node.downloader.on_add = lambda job: node.downloader.progress(job.gid, 0, 77)
    async with working(node):
        await downloading(site, node)
    assert node.task(A).size == 77


async def test_what_turns_out_larger_is_told_again_by_steps(site: FakeSite) -> None:
    """A magnet link is its metadata at first."""
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        for total, told in ((20, 20), (21, 20), (5000, 5000), (3000, 5000)):
            node.downloader.progress(A, 1, total)
            await rounds(node)
            assert node.task(A).size == told
    assert len(node.downloader.added) == 1


async def test_aria2_tells_another_size_than_that_of_the_part(site: FakeSite) -> None:
    """The file changed where nobody could be asked: what was resumed would be of two files."""
    [node] = await site.up("a")
    origins = node.origins
    async with working(node):
        await resumed(site, node, origins, 10)
        node.downloader.on_add = lambda job: node.downloader.progress(job.gid, 3, 12)
        await until(lambda: node.row(A)() == "downloading" and node.task(A).attempt == 2)
        await rounds(node)
    assert node.task(A).size == 12
    assert len(node.downloader.added) == 3, "once more, and only once"
    assert node.folders.staging[A] == {}


async def test_a_document_has_another_size_than_what_it_names(site: FakeSite) -> None:
    [node] = await site.up("a")
    spec = TaskSpec(urls=("http://origin/x.torrent?key=1",))
    async with working(node):
        await site.say(Submit(A, spec), Measure(A, 10), Assign(A, 1, node.me.id, ""))
        await until(lambda: node.row(A)() == "downloading")
        partly(node, A)
        await site.say(Pause(A))
        await until(lambda: not node.downloader.jobs)
        node.downloader.on_add = lambda job: node.downloader.progress(job.gid, 3, 5000)
        await site.say(Resume(A), Assign(A, 2, node.me.id, ""))
        await until(lambda: node.row(A)() == "downloading")
    assert len(node.downloader.added) == 2
    assert node.folders.staging[A]["file.bin"] == b"123"


@pytest.mark.parametrize(
    ("answer", "not_before"), [(says(429, retry_after=90_000), 90_000), (says(503, retry_after=10_000), 10_000)]
)
async def test_an_origin_says_when_to_come_again(site: FakeSite, answer: Probe, not_before: int) -> None:
    [node] = await site.up("a")
    origins = node.origins
    origins.answers[URL] = answer
    async with working(node):
        await downloading(site, node)
        node.downloader.fail(A, 22, "The response status is not successful. status=503")
        await until(lambda: node.row(A)() == "pending")
    assert node.task(A).not_before == site.clock.now() + not_before
    assert node.task(A).tries == 0
    assert [origin.until for origin in node.replica.table.origins.values()] == [site.clock.now() + not_before]


@pytest.mark.parametrize("answer", [None, says(200, retry_after=90_000)])
async def test_an_origin_that_does_not_say_is_given_the_usual_time(site: FakeSite, answer: Probe | None) -> None:
    [node] = await site.up("a")
    origins = node.origins
    origins.answers[URL] = answer
    async with working(node):
        await downloading(site, node)
        node.downloader.fail(A, 29)
        await until(lambda: node.row(A)() == "pending")
    assert node.task(A).tries == 1
    assert 0 < node.task(A).not_before - site.clock.now() < 10_000


# -- engines that end ---------------------------------------------------------------------------------------------


def bane(node: SiteNode, task_id: str) -> None:
    """Whenever the engine runs that task, it ends, and is back soon."""
    loop = asyncio.get_running_loop()

    def strike() -> None:
        if task_id in node.downloader.jobs:
            node.downloader.crash()
            loop.call_later(0.02, node.downloader.restart)

    def added(job: Job) -> None:
        if job.gid == task_id:
            loop.call_later(0.02, strike)

    node.downloader.on_add = added


@pytest.mark.parametrize("culprit", [A, B, C])
async def test_a_task_that_ends_the_engine_is_found_and_its_neighbours_are_not_blamed(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    monkeypatch.setattr(suspects, "ALONE_S", 0.1)
    [node] = await site.up("a")
    bane(node, culprit)
    others = [task_id for task_id in (A, B, C) if task_id != culprit]
    async with working(node):
        await site.say(*given(A, node), *given(B, node), *given(C, node))
        await until(lambda: node.row(culprit)() == "pending")
        await until(lambda: set(node.downloader.jobs) == set(others), within_s=5)
    [failure] = node.task(culprit).failures
    assert (failure.kind, failure.code) == (FailureKind.NODE, 0)
    assert failure.message.startswith("aria2c ended ")
    assert "times while it ran this" in failure.message
    for task_id in others:
        assert node.task(task_id).failures == ()
        assert node.task(task_id).assigned_to == node.me.id
    assert node.downloader.deaths < 9


async def test_an_engine_that_ends_once_or_for_another_reason_blames_nobody(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "ALONE_S", 0.1)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node, A)
        await downloading(site, node, B)
        for _ in range(2):
            node.downloader.crash()
            await until(lambda: node.worker.trouble != "")
            node.downloader.restart()
            await until(lambda: A in node.downloader.jobs)
        assert B not in node.downloader.jobs, "one after the other"
        await until(lambda: set(node.downloader.jobs) == {A, B})
    assert node.task(A).failures == node.task(B).failures == ()


# -- the rest -----------------------------------------------------------------------------------------------------


async def test_a_folder_that_vanishes_under_a_download_is_noticed(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        await downloading(site, node, B)
        del node.folders.staging[A]
        await rounds(node)
        assert len(node.downloader.added) == 2, "it does not look all the time"
        monkeypatch.setattr(staging, "LOOK_AGAIN", 0.01)
        await until(lambda: A in node.folders.staging and A in node.downloader.jobs)
        await rounds(node)
    assert [job.gid for job in node.downloader.added] == [A, B, A]


async def test_a_folder_that_somebody_left_is_cleared_away(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "LOOK_AGAIN", 0.01)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        await node.folders.open(B, fresh=True)
        await until(lambda: set(node.folders.staging) == {A})


async def test_a_row_that_went_away_within_the_round_is_not_begun(site: FakeSite) -> None:
    """Another node may be reading its bytes by the time that its turn comes."""
    node, other = await site.up("ab")
    open_folder = node.folders.open

    async def slow(task_id: str, *, fresh: bool) -> Path:
        if task_id == A:
            await site.say(Move(A, 2, other.me.id, ""), Move(B, 2, other.me.id, ""))
        return await open_folder(task_id, fresh=fresh)

    node.folders.open = slow  # type: ignore[method-assign]
    async with working(node):
        await site.say(*given(A, node), *given(B, node))
        await until(lambda: not node.folders.staging and node.task(B).attempt == 2)
        await rounds(node)
    assert node.downloader.added == []


async def test_connections_are_handed_on(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await site.say(Submit(A, SPEC), Assign(A, 1, node.me.id, "", connections=3))
        await until(lambda: node.row(A)() == "downloading")
    assert node.downloader.added[0].connections == 3


async def test_how_fast_it_finishes(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        assert node.worker.pace == 0.0
        await downloading(site, node, A)
        whole(node, A)
        await until(lambda: node.row(A)() == "completed" and node.worker.pace > 0)
        assert node.worker.pace < 1


async def test_what_ends_together_is_seen_to_together(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file costs a share of a round: of what the disk, the engine and the log are asked for."""
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 60.0)
    [node] = await site.up("a")
    ids = [f"{number:016x}" for number in range(20)]
    asked: dict[str, list[int]] = {}

    def counted(owner: object, name: str) -> None:
        real = getattr(owner, name)

        async def call(works: list[object]) -> object:
            asked.setdefault(name, []).append(len(works))
            return await real(works)

        setattr(owner, name, call)

    for name in ("open_all", "publish_all", "discard_all"):
        counted(node.folders, name)
    for name in ("add_all", "remove_all"):
        counted(node.downloader, name)
    async with working(node):
        await site.say(*(command for id in ids for command in given(id, node)))
        await until(lambda: len(node.downloader.jobs) == len(ids))
        begun = site.consensus.last
        for id in ids:
            whole(node, id, f"{id}.bin")
        await until(lambda: not node.folders.staging and not node.downloader.jobs)
        assert all(node.row(id)() == "completed" for id in ids)
    assert sum(asked["publish_all"]) == sum(asked["open_all"]) == sum(asked["discard_all"]) == 20
    assert max(map(len, asked.values())) <= 3
    assert site.consensus.last - begun <= 3


async def test_what_is_large_goes_to_the_disk_while_all_else_goes_on(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "SMALL", 4)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node, A)
        await downloading(site, node, B)
        node.folders.disk.clear()
        whole(node, A, "large.bin", b"12345")
        await rounds(node)
        whole(node, B, "small.bin", b"123")
        await until(lambda: node.row(B)() == "completed")
        await downloading(site, node, C)
        assert node.row(A)() == "downloading"
        assert set(node.folders.published) == {"small.bin"}
        node.folders.disk.set()
        await until(lambda: node.row(A)() == "completed")
    assert set(node.folders.published) == {"small.bin", "large.bin"}


async def test_what_the_disk_refuses_is_told_when_it_is_published(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hands, "SMALL", 4)
    [node] = await site.up("a")
    async with working(node):
        await downloading(site, node)
        node.folders.refusal = "The disk is broken."
        whole(node, A)
        await until(lambda: bool(node.task(A).failures))
        assert node.task(A).failures[-1].message == "The disk is broken."


async def test_one_that_cannot_be_published_is_in_nobodys_way(site: FakeSite) -> None:
    [node] = await site.up("a")
    async with working(node):
        await site.say(*given(A, node), *given(B, node), *given(C, node))
        await until(lambda: len(node.downloader.jobs) == 3)
        node.downloader.complete(B, 5)  # and nothing is there
        whole(node, A, "a.bin")
        whole(node, C, "c.bin")
        await until(lambda: node.row(A)() == node.row(C)() == "completed" and bool(node.task(B).failures))
    assert set(node.folders.published) == {"a.bin", "c.bin"}


async def test_what_cannot_be_published_together_leaves_the_engine_together(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that answers slowly is not waited for once a file."""
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 60.0)
    [node] = await site.up("a")
    ids = [f"{number:016x}" for number in range(20)]
    asked: list[int] = []
    real = node.downloader.remove_all

    async def remove_all(gids: Sequence[str]) -> list[AriaClusterError | None]:
        asked.append(len(gids))
        return await real(gids)

    async with working(node):
        await site.say(*(command for id in ids for command in given(id, node)))
        await until(lambda: len(node.downloader.jobs) == len(ids))
        monkeypatch.setattr(node.downloader, "remove_all", remove_all)
        for id in ids:
            node.downloader.complete(id, 5)  # and nothing is there
        await until(lambda: all(node.task(id).failures for id in ids))
    assert len(asked) <= 3


@pytest.mark.parametrize("word", [Cancel, Remove])
async def test_what_ends_while_it_is_published_leaves_nothing(site: FakeSite, word: type[Cancel | Remove]) -> None:
    [node] = await site.up("a")
    publish_all = node.folders.publish_all

    async def slow(works: Sequence[Publishing]) -> list[Receipt | Unavailable]:
        receipts = await publish_all(works)
        if A in (work.task_id for work in works):
            await site.say(word(A))
        return receipts

    node.folders.publish_all = slow  # type: ignore[method-assign]
    async with working(node):
        await site.say(*given(A, node), *given(B, node))
        await until(lambda: len(node.downloader.jobs) == 2)
        whole(node, A, "a.bin")
        whole(node, B, "b.bin")
        await until(lambda: node.row(B)() == "completed" and not node.folders.staging)
    assert set(node.folders.published) == {"b.bin"}
