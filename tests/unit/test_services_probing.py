import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog

from ariacluster.domain.commands import Assign, Command, Measure, Outcome, Pause, Remove, Start, Submit
from ariacluster.domain.origins import links_of
from ariacluster.domain.task import TaskSpec
from ariacluster.wire.requests import RelinkRequest, TaskCreate
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import Probe
from ariacluster_node.services import probing as room
from ariacluster_node.services.probing import MAX_WAITING, PROBE_WAIT_MS, PROMISE_S
from tests.support.fake_site import FakeSite, SiteNode, turns, until

URL = "http://origin/file.bin"
SPEC = TaskSpec(urls=(URL,))
FTP = TaskSpec(urls=("ftp://origin/file.bin",))
SAID = Probe(size=5_000, validator='etag:"1"', status=200)
A, B = "a" * 16, "b" * 16


def measured(task_id: str) -> Measure:
    """What is told of it once its origin has said what it says."""
    return Measure(task_id, SAID.size, SAID.validator, links_of(SPEC))


def nothing(task_id: str) -> Measure:
    return Measure(task_id, links=links_of(SPEC))


class Desk:
    """A node of a site that asks origins; `proposed`: the measures of each of its proposals, in order."""

    def __init__(self, site: FakeSite) -> None:
        self.site = site
        self.node: SiteNode = site.nodes["b"]
        self.origins = self.node.origins
        self.origins.answers[URL] = SAID
        self.probing = self.node.probing
        self.tasks = self.node.tasks
        self.proposed: list[list[Measure]] = []
        propose = self.node.replica.propose

        async def noted(commands: Sequence[Command], *, timeout: float = 8.0) -> list[Outcome]:
            if measures := [command for command in commands if isinstance(command, Measure)]:
                self.proposed.append(measures)
            return await propose(commands, timeout=timeout)

        self.node.replica.propose = noted  # type: ignore[method-assign]

    async def submit(self, task_id: str, spec: TaskSpec = SPEC) -> None:
        """As the API does it, under a chosen id."""
        asking = self.probing.asking(spec)
        await self.site.say(Submit(task_id, spec, asking))
        if asking:
            self.probing.begin(task_id, spec)

    @property
    def measures(self) -> list[Measure]:
        return [measure for proposal in self.proposed for measure in proposal]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    site = FakeSite()
    await site.up("ab")
    desk = Desk(site)
    async with cancelled_at_exit(desk.probing.run()):
        await turns()
        yield desk


async def test_a_task_waits_until_its_origin_has_said_how_large_it_is(desk: Desk) -> None:
    desk.origins.hold()
    task_id = (await desk.tasks.submit(TaskCreate(url=URL), None)).id
    row = desk.node.task(task_id)
    assert (row.not_before, row.size) == (desk.site.clock.now() + PROBE_WAIT_MS, 0)
    await turns()
    assert desk.measures == [] and desk.origins.asked == [URL]
    desk.origins.let_go()
    await until(lambda: desk.site.nodes["a"].task(task_id).size == SAID.size)
    row = desk.node.task(task_id)
    assert (row.not_before, row.validator) == (0, SAID.validator)
    assert desk.measures == [measured(task_id)]


@pytest.mark.parametrize("probe", [None, Probe(status=404), Probe(status=429, retry_after=5_000)])
async def test_an_origin_that_does_not_say_frees_the_task_at_once(desk: Desk, probe: Probe | None) -> None:
    desk.origins.answers[URL] = probe
    await desk.submit(A)
    await until(lambda: desk.node.task(A).not_before == 0)
    assert desk.measures == [nothing(A)]


async def test_who_cannot_be_asked_is_not_waited_for(desk: Desk) -> None:
    task = await desk.tasks.submit(TaskCreate(url=FTP.urls[0]), None)
    assert desk.node.task(task.id).not_before == 0
    assert desk.probing.asking(FTP) == 0
    await turns()
    assert desk.origins.asked == [] and desk.measures == []


async def test_a_slow_origin_frees_the_task_in_time_and_is_heard_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PROBE_WAIT_MS", 20)
    desk.origins.hold()
    await desk.submit(A)
    await until(lambda: desk.node.task(A).not_before == 0)
    assert desk.measures == [nothing(A)], "the leader's clock may be behind, so it is said"
    await desk.site.say(Assign(A, 1, desk.node.me.id, "free"))
    desk.origins.let_go()
    await until(lambda: desk.node.task(A).size == SAID.size)
    assert desk.node.task(A).attempt == 1, "assigned meanwhile, measured all the same"


async def test_a_slow_origin_that_says_nothing_in_the_end_costs_nothing_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PROBE_WAIT_MS", 20)
    desk.origins.answers[URL] = None
    desk.origins.hold()
    await desk.submit(A)
    await until(lambda: desk.measures == [nothing(A)])
    desk.origins.let_go()
    await until(lambda: desk.origins.in_flight == 0)
    desk.origins.answers[URL] = SAID
    await desk.submit(B)
    await until(lambda: len(desk.measures) > 1)
    assert desk.measures[1:] == [measured(B)]


async def test_what_was_removed_is_skipped(desk: Desk) -> None:
    desk.origins.hold()
    await desk.submit(A)
    await desk.submit(B)
    await desk.site.say(Remove(A))
    desk.origins.let_go()
    await until(lambda: desk.measures != [])
    assert [measure.task for measure in desk.measures] == [B]


async def test_what_is_measured_already_or_not_there_is_not_asked_again(desk: Desk) -> None:
    await desk.submit(A)
    await until(lambda: desk.node.task(A).size == SAID.size)
    desk.probing.begin(A, SPEC)
    desk.probing.begin(B, SPEC)
    await turns()
    assert desk.origins.asked == [URL]


async def test_the_same_submit_twice_is_asked_about_once(desk: Desk) -> None:
    desk.origins.hold()
    for _ in range(2):
        await desk.tasks.submit(TaskCreate(url=URL), "key")
    await turns()
    assert desk.origins.asked == [URL]


async def test_what_is_paused_keeps_its_measure(desk: Desk) -> None:
    desk.origins.hold()
    await desk.submit(A)
    await desk.site.say(Pause(A))
    desk.origins.let_go()
    await until(lambda: desk.node.task(A).size == SAID.size)
    assert desk.node.task(A).state == "paused"


async def test_what_many_origins_say_travels_together(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = asyncio.Event()
    wait = desk.probing._wake.wait

    async def held(at_most: float, *, breath: float) -> None:
        await wait(at_most, breath=breath)
        await drawn.wait()

    monkeypatch.setattr(desk.probing._wake, "wait", held)
    await desk.submit(A)  # it waits already: from the next time on it is held
    await until(lambda: desk.node.task(A).size == SAID.size)
    desk.proposed.clear()
    ids = [f"{n:016x}" for n in range(40)]
    await desk.site.say(*(Submit(task_id, SPEC, PROBE_WAIT_MS) for task_id in ids))
    for task_id in ids:
        desk.probing.begin(task_id, SPEC)
        await turns(5)  # one after the other, each answered before the next one
    drawn.set()
    await until(lambda: all(desk.node.task(task_id).size for task_id in ids))
    assert len(desk.proposed) == 1


async def test_a_flood_does_not_wait(desk: Desk) -> None:
    desk.origins.hold()
    waits = [desk.probing.asking(SPEC) for _ in range(MAX_WAITING + 10)]
    assert waits == [PROBE_WAIT_MS] * MAX_WAITING + [0] * 10, "places are kept for those that are being submitted"
    desk.site.clock.advance(PROMISE_S)
    assert desk.probing.asking(SPEC) == PROBE_WAIT_MS, "what came to nothing gives its place back"
    desk.site.clock.advance(PROMISE_S)
    for n in range(MAX_WAITING):
        await desk.submit(f"{n:016x}")
    await until(lambda: desk.origins.in_flight == MAX_WAITING)
    assert desk.probing.asking(SPEC) == 0
    await desk.site.say(Submit(A, SPEC, PROBE_WAIT_MS))
    desk.probing.begin(A, SPEC)  # its promise ran out during a slow commit
    await until(lambda: desk.node.task(A).not_before == 0)
    assert desk.origins.most == MAX_WAITING
    desk.origins.let_go()
    await until(lambda: desk.probing.asking(SPEC) > 0)


async def test_nobody_is_asked_while_it_does_not_run() -> None:
    site = FakeSite()
    await site.up("ab")
    desk = Desk(site)
    assert desk.probing.asking(SPEC) == 0
    desk.origins.hold()
    for _ in range(2):  # as when the node moves to another cluster
        async with cancelled_at_exit(desk.probing.run()):
            await turns()
            await desk.submit(A)
            await until(lambda: desk.origins.in_flight == 1)
        assert desk.origins.in_flight == 0, "a question ends with it"
        assert desk.probing.asking(SPEC) == 0
        desk.probing.begin(A, SPEC)
    await turns()
    assert desk.origins.asked == [URL, URL]


async def test_a_cluster_that_does_not_listen_is_complained_about_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.origins.hold()
    for n in range(3):
        await desk.submit(f"{n:016x}")
    await until(lambda: desk.origins.in_flight == 3)
    desk.site.consensus.full = True
    monkeypatch.setattr(room, "BREATH", 0.0)
    with structlog.testing.capture_logs() as logs:
        desk.origins.let_go()
        await until(lambda: bool(desk.proposed))
        await asyncio.sleep(0)
        for n in range(3):  # what was not written down is asked about when it comes again
            desk.probing.begin(f"{n:016x}", SPEC)
        await until(lambda: len(desk.measures) >= 6)
        await turns()
    assert [entry["log_level"] for entry in logs if "origins" in entry["event"]] == ["warning"]
    desk.site.consensus.full = False
    await desk.submit(A)
    await until(lambda: desk.node.task(A).size == SAID.size)


async def test_a_new_link_is_asked_and_what_the_old_one_says_late_is_dropped(desk: Desk) -> None:
    other = "http://other/file.bin"
    desk.origins.answers[URL] = Probe(size=7, validator="old", status=200)
    desk.origins.answers[other] = SAID
    desk.origins.hold()
    await desk.submit(A)
    await desk.tasks.relink(A, RelinkRequest(url=other))
    await until(lambda: desk.origins.asked == [URL, other])
    desk.origins.let_go()
    await until(lambda: desk.node.task(A).size == SAID.size)
    await until(lambda: desk.origins.in_flight == 0)
    await turns()
    assert (desk.node.task(A).size, desk.node.task(A).validator) == (SAID.size, SAID.validator)
    assert [measure.size for measure in desk.measures] == [SAID.size]


async def test_a_link_to_another_size_is_left_to_the_node_that_has_the_bytes(desk: Desk) -> None:
    """It compares before it goes on, and throws away what it has."""
    other = "http://other/file.bin"
    desk.origins.answers[other] = Probe(size=7, validator="new", status=200)
    me = desk.node.me.id
    await desk.site.say(Submit(A, SPEC), Measure(A, SAID.size, "old"), Assign(A, 1, me, ""), Start(A, 1))
    await desk.tasks.relink(A, RelinkRequest(url=other))
    await until(lambda: desk.origins.asked == [other] and desk.origins.in_flight == 0)
    await desk.submit(B)  # what is said of it comes later
    await until(lambda: desk.node.task(B).size == SAID.size)
    assert (desk.node.task(A).size, desk.node.task(A).bytes_on) == (SAID.size, me)
    assert [measure.task for measure in desk.measures] == [B]


async def test_a_new_link_that_cannot_be_asked_takes_no_place(desk: Desk) -> None:
    await desk.submit(A, FTP)
    await desk.tasks.relink(A, RelinkRequest(url="ftp://other/file.bin"))
    await turns()
    assert desk.origins.asked == [] and desk.measures == []
