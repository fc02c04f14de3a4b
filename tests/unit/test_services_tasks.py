from datetime import UTC, datetime, timedelta

import pytest

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Complete,
    Configure,
    Drain,
    Fail,
    Measure,
    Pause,
    Register,
    Start,
    Submit,
    Tune,
)
from ariacluster.domain.errors import Conflict, IllegalMove, InvalidInput, NoSuchTask, NotFound
from ariacluster.domain.member import Member, Progress, Report, Tuning
from ariacluster.domain.policy import Policy
from ariacluster.domain.task import FailureKind, FileEntry, Result, TaskSpec
from ariacluster.wire.requests import RelinkRequest, TaskCreate
from tests.support.fake_site import ROOM, SPEC, FakeSite, SiteNode

A, B, C = "aaaa" + "0" * 12, "aaaa" + "1" * 12, "c" * 16
URL = "http://origin/file.bin"


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("ab")
    return site


@pytest.fixture(params=["a", "b"], ids=["leader", "follower"])
def node(site: FakeSite, request: pytest.FixtureRequest) -> SiteNode:
    return site.nodes[request.param]


async def test_a_submit_answers_what_was_taken_in(site: FakeSite, node: SiteNode) -> None:
    task = await node.tasks.submit(TaskCreate(url=URL, dir="films", priority="high"), None)
    assert (task.url, task.dir, task.priority, task.status) == (URL, "films", "high", "pending")
    assert len(task.id) == 16
    assert task.id == task.aria2_gid
    assert task.created_at.timestamp() * 1000 == site.clock.now()
    await site.settled()
    assert all(task.id in other.replica.table.tasks for other in site.nodes.values())
    another = await node.tasks.submit(TaskCreate(urls=[URL], force=True), None)
    assert another.id != task.id


@pytest.mark.parametrize("create", [TaskCreate(), TaskCreate(url=URL, urls=[URL])], ids=["neither", "both"])
async def test_a_submit_has_either_url_or_urls(node: SiteNode, create: TaskCreate) -> None:
    with pytest.raises(InvalidInput) as caught:
        await node.tasks.submit(create, None)
    assert caught.value.field == "url"
    assert node.replica.table.tasks == {}


async def test_the_same_key_answers_the_same_task_and_takes_no_other(site: FakeSite, node: SiteNode) -> None:
    first = await node.tasks.submit(TaskCreate(url=URL), "key")
    again = await site.nodes["a"].tasks.submit(TaskCreate(url=URL), "key")
    assert again.id == first.id
    assert len(site.nodes["a"].replica.table.tasks) == 1
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await node.tasks.submit(TaskCreate(url=f"{URL}2"), "key")
    assert (await node.tasks.submit(TaskCreate(url=URL, force=True), "other key")).id != first.id


async def test_the_verbs_do_what_they_say(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC))
    for verb, status in (("pause", "paused"), ("resume", "pending"), ("cancel", "canceled"), ("retry", "pending")):
        assert (await node.tasks.say(verb, A)).status == status
    with pytest.raises(IllegalMove):
        await node.tasks.say("resume", A)
    with pytest.raises(NotFound, match="pause, resume, retry, cancel"):
        await node.tasks.say("explode", A)
    with pytest.raises(NoSuchTask):
        await node.tasks.say("pause", C)


async def test_a_removed_task_is_gone(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC))
    assert await node.tasks.remove(A[:6]) == A
    with pytest.raises(NoSuchTask):
        node.tasks.show(A)
    with pytest.raises(NoSuchTask):
        await node.tasks.remove(A)


async def test_the_beginning_of_an_id_will_do_if_only_one_task_has_it(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC), Submit(B, SPEC), Submit(C, SPEC))
    assert node.tasks.show(C[:4].upper()).id == C
    assert node.tasks.show(A).id == A
    with pytest.raises(Conflict, match="2 tasks"):
        node.tasks.show("aaaa")
    for nothing in ("ccc", "dddd", "", C + "0"):
        with pytest.raises(NoSuchTask):
            node.tasks.show(nothing)


async def test_a_task_shows_its_live_progress_and_its_node_by_name(site: FakeSite, node: SiteNode) -> None:
    worker = site.nodes["b"].me
    await site.say(Submit(A, SPEC), Assign(A, 1, worker.id, "b: free"), Start(A, 1))
    progress = Progress(attempt=1, completed=25, total=100, speed=7, connections=3, active=True)
    node.roster.hear(Report(node=worker.id, tasks={A: progress}))
    task = node.tasks.show(A)
    assert (task.status, task.worker_id, task.worker_name) == ("downloading", worker.id, "b")
    assert (task.progress, task.completed_bytes, task.total_bytes) == (25.0, 25, 100)
    assert (task.download_speed, task.connections, task.reason) == (7, 3, "b: free")
    node.roster.hear(Report(node=worker.id, tasks={A: Progress(attempt=0, completed=99, total=100)}))
    assert node.tasks.show(A).progress == 0, "of an older attempt"
    await site.say(Complete(A, 1, Result(total_bytes=9, file_count=1, files=(FileEntry("f", 9),))))
    done = node.tasks.show(A)
    assert (done.status, done.progress, done.completed_bytes) == ("completed", 100.0, 9)
    assert [file.path for file in done.files] == ["f"]


async def test_a_task_that_waits_says_what_for(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC))
    assert node.tasks.show(A).reason == "No node can take it: a is offline; b is offline."
    node.roster.hear(Report(node=site.nodes["b"].me.id, disk_free=ROOM, disk_total=ROOM))
    assert node.tasks.show(A).reason == "Waiting for the dispatcher."


# -- the cluster at a glance ------------------------------------------------------------------------------------


async def test_nodes_are_told_by_name_with_role_and_state(site: FakeSite, node: SiteNode) -> None:
    learner = Member(id="l" * 8, name="A first", address="l", port=8000, raft="l:8001")
    await site.say(Register(learner))
    node.roster.hear(Report(node="b" * 8, disk_free=5, engine="1.37.0"))
    told = {n.name: n for n in node.overviews.nodes()}
    assert list(told) == ["A first", "a", "b"]
    assert [(n.role, n.status) for n in told.values()] == [
        ("learner", "offline"),
        ("leader", "offline"),
        ("voter", "online"),
    ]
    assert (told["b"].disk_free, told["b"].engine) == (5, "1.37.0")
    assert told["a"].last_seen is None


async def test_a_node_with_no_free_slot_is_busy_and_counts_in_the_load(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"].me
    await site.say(*(c for i in (A, B, C) for c in (Submit(i, SPEC), Assign(i, 1, b.id, ""))))
    for name in "ab":
        node.roster.hear(Report(node=name * 8, download_speed=3, upload_speed=1))
    assert node.overviews.node("b").status == "busy"
    assert node.overviews.node("b").used_slots == 3
    status = node.overviews.status()
    assert status.system_load == 50.0, "what waits beyond the slots is no load"
    assert (status.active_workers, status.total_tasks, status.tasks_by_status["queued"]) == (2, 3, 3)
    assert (status.download_speed, status.upload_speed) == (6, 2)


async def test_a_node_is_found_by_id_or_by_a_name_that_only_one_bears(site: FakeSite, node: SiteNode) -> None:
    assert node.overviews.node("b" * 8).name == "b"
    assert node.overviews.node("b").id == "b" * 8
    with pytest.raises(NotFound):
        node.overviews.node("z")
    await site.say(Register(Member(id="2" * 8, name="b", address="x", port=1, raft="x:2")))
    with pytest.raises(Conflict, match="2 nodes"):
        node.overviews.node("b")


async def test_the_status_names_the_cluster_and_its_leader(site: FakeSite, node: SiteNode) -> None:
    cluster = node.overviews.status().cluster
    assert (cluster.id, cluster.name, cluster.mode) == ("c" * 16, "default", "open")
    assert cluster.leader
    assert (cluster.leader.name, cluster.voters, cluster.members, cluster.has_quorum) == ("a", 2, 2, True)
    site.consensus.cut(node.me.id)
    cut_off = node.overviews.status()
    assert (cut_off.cluster.leader, cut_off.cluster.has_quorum) == (None, False)
    assert cut_off.node.name == node.me.name


async def test_a_node_without_a_cluster_answers_too(site: FakeSite) -> None:
    status = SiteNode(site, "z", membership=None).overviews.status()
    assert (status.cluster.id, status.cluster.leader, status.cluster.term) == ("", None, 0)
    assert (status.total_tasks, status.system_load) == (0, 0.0)


# -- not before, moves, new links -------------------------------------------------------------------------------


async def test_a_task_may_be_put_off(site: FakeSite, node: SiteNode) -> None:
    site.heard("a", "b")
    now = datetime.fromtimestamp(site.clock.now() / 1000, UTC)
    later = await node.tasks.submit(TaskCreate(url=URL, not_before=now + timedelta(seconds=90)), None)
    assert later.not_before == now + timedelta(seconds=90)
    assert later.reason == "It begins in 90 s."
    past = await node.tasks.submit(TaskCreate(url=URL, force=True, not_before=datetime(1901, 1, 1, tzinfo=UTC)), None)
    assert (past.not_before, past.status) == (None, "pending")
    with pytest.raises(InvalidInput, match="ten years") as caught:
        await node.tasks.submit(TaskCreate(url=URL, not_before=datetime.max.replace(tzinfo=UTC)), None)
    assert caught.value.field == "not_before"


async def test_a_task_is_moved_with_its_bytes(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"].me, site.nodes["b"].me
    site.heard("a", "b")
    await site.say(Submit(A, SPEC), Assign(A, 1, a.id, "", connections=3), Start(A, 1))
    moved = await node.tasks.move(A, b)
    assert (moved.status, moved.worker_name, moved.attempt, moved.bytes_on) == ("queued", "b", 2, "a")
    assert moved.reason == "b: somebody moved it here"
    assert node.task(A).connections == 3
    with pytest.raises(Conflict, match="on b already"):
        await node.tasks.move(A, b)
    with pytest.raises(NoSuchTask):
        await node.tasks.move(C, b)


async def test_a_task_that_waits_is_moved_within_the_limits_of_its_origin(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"].me, site.nodes["b"].me
    site.heard("a", "b")
    limits = Policy(origin_limits={"origin": 5})
    await site.say(Configure(limits), *(Submit(i, SPEC) for i in (A, B, C)), Assign(A, 1, a.id, "", connections=3))
    assert (await node.tasks.move(B, b)).worker_name == "b"
    assert node.task(B).connections == 2, "what was left of five"
    with pytest.raises(Conflict, match="5 over all nodes"):
        await node.tasks.move(C, b)
    await site.say(Fail(A, 1, FailureKind.THROTTLED, 22, "status=429", 0.5, retry_after=60_000), Configure(Policy()))
    with pytest.raises(Conflict, match="fewer requests"):
        await node.tasks.move(C, b)


async def test_bytes_that_cannot_be_had_do_not_hold_up_a_move(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"].me, site.nodes["b"].me
    site.heard("b")
    await site.say(Submit(A, SPEC), Assign(A, 1, a.id, ""), Start(A, 1))
    moved = await node.tasks.move(A, b)
    assert (moved.worker_name, moved.bytes_on) == ("b", None)


async def test_a_move_that_was_overtaken_is_looked_at_again(
    site: FakeSite, node: SiteNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = site.nodes["a"].me, site.nodes["b"].me
    site.heard("a", "b")
    await site.say(Submit(A, SPEC))
    change, late = node.replica.change, [Assign(A, 1, a.id, "")]

    async def overtaken(command: object) -> None:
        if late:
            await site.say(late.pop())
        await change(command)  # type: ignore[arg-type]

    monkeypatch.setattr(node.replica, "change", overtaken)
    assert (await node.tasks.move(A, b)).attempt == 2
    assert node.task(A).node == b.id


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([Drain("b" * 8, 1)], "b is being drained"),
        ([Tune("b" * 8, Tuning(slots=0))], "b has no slots"),
        ([Configure(Policy(min_free=2 * ROOM))], "b has only"),
        ([Measure(A, 2 * ROOM)], "to spare, and the task needs 2.0 TB"),
        ([Pause(A)], "resume it first"),
    ],
)
async def test_what_does_not_fit_is_not_moved(site: FakeSite, node: SiteNode, said: list[object], words: str) -> None:
    site.heard("a", "b")
    await site.say(Submit(A, SPEC), *said)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match=words):
        await node.tasks.move(A, site.nodes["b"].me)
    assert node.task(A).attempt == 0


async def test_a_task_is_moved_only_where_it_may_run(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"].me
    put_off = TaskSpec(urls=(URL,), not_before=site.clock.now() + 60_000)
    specs = {A: TaskSpec(urls=(URL,), node="a"), B: TaskSpec(urls=(URL,), tags={"gpu": "yes"}), C: put_off}
    await site.say(*(Submit(i, spec) for i, spec in specs.items()))
    with pytest.raises(Conflict, match="b is offline"):
        await node.tasks.move(A, b)
    site.heard("b", trouble="The folder is gone.")
    with pytest.raises(Conflict, match="b takes no tasks: The folder is gone; name another node"):
        await node.tasks.move(A, b)
    site.heard("b")
    with pytest.raises(Conflict, match="pinned to a;"):
        await node.tasks.move(A, b)
    with pytest.raises(Conflict, match="b lacks gpu=yes"):
        await node.tasks.move(B, b)
    with pytest.raises(Conflict, match="and not before"):
        await node.tasks.move(C, b)
    await site.say(Cancel(A))
    with pytest.raises(IllegalMove):
        await node.tasks.move(A, b)


async def test_a_failed_link_is_said_and_another_one_keeps_the_bytes(site: FakeSite, node: SiteNode) -> None:
    a = site.nodes["a"].me
    await site.say(Submit(A, SPEC), Submit(B, SPEC), Assign(A, 1, a.id, ""), Start(A, 1))
    await site.say(Assign(B, 1, a.id, ""), Fail(B, 1, FailureKind.CONTENT, 28, "no", 0.5))
    assert (node.tasks.show(B).status, node.tasks.show(B).needs_link) == ("failed", False)
    await site.say(Fail(A, 1, FailureKind.LINK, 22, "status=403", 0.5))
    failed = node.tasks.show(A)
    assert (failed.status, failed.needs_link, failed.bytes_on) == ("failed", True, "a")
    asked = RelinkRequest(url="http://other/file.bin", headers=["Cookie: x=1"])
    again = await node.tasks.relink(A[:5], asked)
    assert (again.status, again.needs_link, again.url, again.bytes_on) == ("pending", False, asked.url, "a")
    assert node.secrets.opened(node.task(A).spec).headers == ("Cookie: x=1",)
    await node.tasks.relink(A, RelinkRequest(urls=["http://c/1", "http://d/1"]))
    assert node.secrets.opened(node.task(A).spec).headers == ("Cookie: x=1",), "those that it has"
    for wrong, field in ((RelinkRequest(), "url"), (RelinkRequest(url="gopher://x"), "url")):
        with pytest.raises(InvalidInput) as caught:
            await node.tasks.relink(A, wrong)
        assert caught.value.field == field
    with pytest.raises(NoSuchTask):
        await node.tasks.relink("d" * 16, asked)


async def test_the_size_that_the_origin_told_is_shown_until_something_better_is_known(
    site: FakeSite, node: SiteNode
) -> None:
    worker = site.nodes["b"].me.id
    await site.say(Submit(A, SPEC), Measure(A, 400))
    assert (node.tasks.show(A).total_bytes, node.tasks.show(A).progress) == (400, 0.0)
    await site.say(Assign(A, 1, worker, ""), Start(A, 1))
    node.roster.hear(Report(node=worker, tasks={A: Progress(attempt=1, completed=100)}))
    assert (node.tasks.show(A).total_bytes, node.tasks.show(A).progress) == (400, 25.0)
    node.roster.hear(Report(node=worker, tasks={A: Progress(attempt=1, completed=500)}))
    assert node.tasks.show(A).progress == 100.0
    node.roster.hear(Report(node=worker, tasks={A: Progress(attempt=1, completed=100, total=200)}))
    assert node.tasks.show(A).total_bytes == 200


async def test_a_throttled_task_says_whom_it_waits_for(site: FakeSite, node: SiteNode) -> None:
    site.heard("a", "b")
    await site.say(Submit(A, SPEC), Submit(B, SPEC), Assign(A, 1, "a" * 8, ""))
    await site.say(Fail(A, 1, FailureKind.THROTTLED, 29, "busy", 0.5, retry_after=60_000))
    assert node.tasks.show(A).failures[0].kind == "throttled"
    assert node.tasks.show(B).reason == "origin:80 asked for fewer requests: all nodes leave it alone for another 60 s."
    assert node.overviews.status().problems == [
        "origin:80 asked for fewer requests; all nodes leave it alone for another 60 s."
    ]
    site.clock.advance(60)
    site.heard("a", "b")
    assert node.tasks.show(B).reason == "Waiting for the dispatcher."
    assert node.overviews.status().problems == []


# -- nodes that are drained, tuned, in trouble --------------------------------------------------------------------


async def test_a_node_that_is_drained_tells_what_it_has_left(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"].me, site.nodes["b"].me
    site.heard("a", "b")
    await site.say(*(c for i in (A, B) for c in (Submit(i, SPEC), Assign(i, 1, b.id, ""), Start(i, 1))))
    await site.say(Drain(b.id, site.clock.now() + 5_000))
    told = node.overviews.node("b")
    assert (told.status, told.tasks_left) == ("draining", 2)
    assert told.drain_until is not None
    assert told.drain_until.timestamp() * 1000 == site.clock.now() + 5_000
    await node.tasks.move(A, a)
    assert (node.overviews.node("b").used_slots, node.overviews.node("b").tasks_left) == (1, 2), "its bytes are there"
    await site.say(Start(A, 2), Complete(B, 1, Result(total_bytes=1, file_count=1)))
    told = node.overviews.node("b")
    assert (told.status, told.tasks_left) == ("draining", 0)
    assert node.overviews.status().problems == [], "that it can be stopped now is no problem"


async def test_what_waits_with_its_bytes_on_a_drained_node_is_left_there_and_what_is_paused_is_not(
    site: FakeSite, node: SiteNode
) -> None:
    b = site.nodes["b"].me
    await site.say(*(c for i in (A, B) for c in (Submit(i, SPEC), Assign(i, 1, b.id, ""), Start(i, 1))))
    await site.say(Fail(A, 1, FailureKind.ORIGIN, 2, "slow", 0.5), Pause(B), Drain(b.id, 0))
    assert (node.task(A).bytes_on, node.task(B).bytes_on) == (b.id, b.id)
    assert node.overviews.node("b").tasks_left == 1


async def test_a_tuned_node_shows_what_counts(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"].me
    await site.say(
        Tune(b.id, Tuning(slots=1, download_limit=5, upload_limit=6)), Submit(A, SPEC), Assign(A, 1, b.id, "")
    )
    node.roster.hear(Report(node=b.id, disk_free=ROOM, peak_speed=7))
    told = node.overviews.node("b")
    assert (told.total_slots, told.status) == (1, "busy")
    assert (told.download_limit, told.upload_limit, told.peak_speed, told.drain_until) == (5, 6, 7, None)


async def test_a_node_in_trouble_is_a_problem_while_it_is_there(site: FakeSite, node: SiteNode) -> None:
    site.heard("a")
    site.heard("b", trouble="The disk is full.")
    assert node.overviews.status().problems == ["b takes no tasks: The disk is full."]
    site.clock.advance(6)
    assert node.overviews.status().problems == [], "nobody knows what it says now"


async def test_a_node_whose_disk_is_low_is_a_problem(site: FakeSite, node: SiteNode) -> None:
    site.heard("a")
    node.roster.hear(Report(node="b" * 8, disk_free=10**6, disk_total=ROOM))
    assert node.overviews.status().problems == [
        "b takes no tasks: it has only 1.0 MB free, and 1.0 GB are to stay free."
    ]
    site.heard("b")
    assert node.overviews.status().problems == []
