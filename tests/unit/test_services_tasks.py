import pytest

from ariacluster.domain.commands import Assign, Complete, Register, Start, Submit
from ariacluster.domain.errors import Conflict, IllegalMove, InvalidInput, NoSuchTask, NotFound
from ariacluster.domain.member import Member, Progress, Report
from ariacluster.domain.task import FileEntry, Result, TaskState
from ariacluster.wire.resources import TaskCreate
from tests.support.fake_site import SPEC, FakeSite, SiteNode

A, B, C = "aaaa" + "0" * 12, "aaaa" + "1" * 12, "c" * 16
URL = "http://origin/file.bin"
ROOM = 10**12


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
    another = await node.tasks.submit(TaskCreate(urls=[URL]), None)
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
    assert (await node.tasks.submit(TaskCreate(url=URL), "other key")).id != first.id


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


async def test_pages_go_on_where_the_last_one_ended(site: FakeSite, node: SiteNode) -> None:
    ids = [f"{n:016x}" for n in range(5)]
    await site.say(*(Submit(i, SPEC) for i in ids))
    seen, after = [], 0
    while True:
        page, total, following = node.tasks.page(ids=[], states=[], node=None, after=after, limit=2)
        assert total == 5
        seen.append([task.id for task in page])
        if following is None:
            break
        after = following
    assert seen == [ids[:2], ids[2:4], ids[4:]]


async def test_pages_are_filtered(site: FakeSite, node: SiteNode) -> None:
    worker = site.nodes["b"].me.id
    await site.say(Submit(A, SPEC), Submit(B, SPEC), Submit(C, SPEC), Assign(B, 1, worker, ""))

    def page(
        ids: list[str] | None = None, states: list[TaskState] | None = None, of: str | None = None, limit: int = 9
    ) -> tuple[list[str], int]:
        found, total, _ = node.tasks.page(ids=ids or [], states=states or [], node=of, after=0, limit=limit)
        return [task.id for task in found], total

    assert page(states=[TaskState.PENDING]) == ([A, C], 2)
    assert page(states=[TaskState.PENDING, TaskState.QUEUED], limit=1) == ([A], 3)
    assert page(states=[TaskState.FAILED]) == ([], 0)
    assert page(of=worker) == ([B], 1)
    assert page(ids=[C, A, "nothing"]) == ([A, C], 2)
    assert page(ids=[C, B], states=[TaskState.QUEUED]) == ([B], 1)


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
