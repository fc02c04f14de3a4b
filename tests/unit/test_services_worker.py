import pytest

from ariacluster.domain.commands import (
    MAX_PROPOSAL_BYTES,
    Assign,
    Cancel,
    Command,
    Pause,
    Register,
    Release,
    Remove,
    Resume,
    Retry,
    Submit,
)
from ariacluster.domain.errors import NoLeader, Unavailable
from ariacluster.domain.reconcile import Download, Receipt
from ariacluster.domain.task import FailureKind, FileEntry, Result, TaskSpec, TaskState
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import Job
from ariacluster_node.services import worker as worker_room
from tests.support.fake_site import SPEC, FakeSite, SiteNode, until, working

A, B, C = "a" * 16, "b" * 16, "c" * 16
STALE = "Taken back: it was not heard."


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_room, "POLL_PERIOD", 0.005)
    monkeypatch.setattr(worker_room, "BREATH", 0.0)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


def given(task_id: str, node: SiteNode, *, attempt: int = 1) -> list[Command]:
    """Submit it and give it to the node."""
    return [Submit(task_id, SPEC), Assign(task_id, attempt, node.me.id, "for the test")]


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
    assert (failure.code, failure.kind, failure.attempt) == (22, FailureKind.ORIGIN, 1)
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
    assert len(node.task(A).failures[0].message) == worker_room.MAX_MESSAGE_CHARS


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
        node.folders.put(A, "file.bin.aria2", b"")
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
        await site.say(Release(A, 1, STALE), Assign(A, 2, other.me.id, ""))
        await until(lambda: not node.downloader.jobs and not node.folders.staging)
        await rounds(node)
    assert node.task(A).assigned_to == other.me.id
    assert len(node.downloader.added) == 1


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
    await node.folders.publish(A, 1, "")
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
        node.folders.put(A, "file.bin.aria2", b"")
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
        node.folders.put(A, "file.bin.aria2", b"")
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
    await site.say(*given(A, node))
    for task_id in (A, B):
        await node.folders.open(task_id, fresh=True)
        node.folders.put(task_id, "file.bin", b"1")
        node.folders.put(task_id, "file.bin.aria2", b"")
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
    add, failed = node.downloader.add, False

    async def broken(job: Job) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise Unavailable("aria2 has just died")
        await add(job)

    node.downloader.add = broken  # type: ignore[method-assign]
    async with cancelled_at_exit(node.worker.run()):
        await site.say(*given(A, node), Register(node.me))
        await until(lambda: node.row(A)() == "downloading")
    assert failed
    assert node.task(A).attempt == 1
