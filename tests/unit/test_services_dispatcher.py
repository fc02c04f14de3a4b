from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from structlog.testing import capture_logs

from ariacluster.domain import scheduler
from ariacluster.domain.commands import Assign, Command, Drain, Outcome, Pause, Release, Start, Submit
from ariacluster.domain.member import Report
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import dispatcher as dispatcher_room
from tests.support.fake_site import ROOM, SPEC, FakeSite, SiteNode, until

A, B = "a" * 16, "b" * 16


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_room, "TICK", 0.005)


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """Three nodes whose dispatchers run; `a` leads."""
    site = FakeSite()
    nodes = await site.up("abc")
    async with cancelled_at_exit(*(node.dispatcher.run() for node in nodes)):
        yield site


def proposals(node: SiteNode) -> list[Command]:
    """What the node's dispatcher proposes from now on."""
    made: list[Command] = []
    propose = node.replica.propose

    async def noted(commands: Sequence[Command], *, timeout: float = 8.0) -> list[Outcome]:
        made.extend(commands)
        return await propose(commands, timeout=timeout)

    node.replica.propose = noted  # type: ignore[method-assign]
    return made


async def ticks(node: SiteNode, count: int = 5) -> None:
    """Its dispatcher has looked so often again."""
    seen, lead = 0, node.roster.lead

    def counted(leads: bool) -> None:
        nonlocal seen
        seen += 1
        lead(leads)

    node.roster.lead = counted  # type: ignore[method-assign]
    try:
        await until(lambda: seen > count)
    finally:
        node.roster.lead = lead  # type: ignore[method-assign]


async def test_only_the_leader_proposes_and_nothing_twice(site: FakeSite) -> None:
    made = {name: proposals(node) for name, node in site.nodes.items()}
    site.heard("a", "b", "c")
    await site.nodes["b"].replica.change(Submit(A, SPEC))
    await until(lambda: site.nodes["b"].row(A)() == "queued")
    for node in site.nodes.values():
        await ticks(node)
    assert [type(command) for command in made["a"]] == [Assign]
    assert [type(command) for command in made["b"]] == [Submit]
    assert made["c"] == []
    assert site.nodes["c"].task(A).attempt == 1


@pytest.fixture
async def patient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeSite]:
    """One node alone, whose next look is far away unless something wakes it."""
    monkeypatch.setattr(dispatcher_room, "TICK", 60.0)
    site = FakeSite()
    [node] = await site.up("a")
    site.heard("a")
    async with cancelled_at_exit(node.dispatcher.run()):
        yield site


async def test_a_submit_wakes_it_long_before_its_next_look(patient: FakeSite) -> None:
    await patient.say(Submit(A, SPEC))
    await until(lambda: patient.nodes["a"].row(A)() == "queued")


async def test_a_delayed_task_is_given_away_when_its_time_comes(patient: FakeSite) -> None:
    node, clock = patient.nodes["a"], patient.clock
    await patient.say(Submit(A, msgspec.structs.replace(SPEC, not_before=clock.now() + 50)))
    await ticks(node, 2)
    assert node.row(A)() == "pending", "its time has not come, whatever the event loop says"
    clock.advance(0.05)
    await until(lambda: node.row(A)() == "queued")


async def test_tasks_are_spread_and_wait_when_all_is_full(site: FakeSite) -> None:
    site.heard("a", "b")
    ids = [f"{n:016x}" for n in range(100)]
    await site.say(*(Submit(i, SPEC) for i in ids))
    table = site.nodes["a"].replica.table
    await until(lambda: table.load_of("a" * 8) == table.load_of("b" * 8) == 4)
    await ticks(site.nodes["a"])
    assert table.load_of("c" * 8) == 0, "a node that was never heard is given nothing"
    assert [i for i in ids if table.tasks[i].node] == ids[:8], "first come, first served"


async def test_the_tasks_of_a_silent_node_are_taken_back_after_the_timeout(site: FakeSite) -> None:
    leader = site.nodes["a"]
    await ticks(leader)
    site.heard("b")
    await site.say(Submit(A, SPEC))
    await until(lambda: leader.row(A)() == "queued")
    assert leader.task(A).node == site.nodes["b"].me.id
    site.clock.advance(19)
    site.heard("a")
    await ticks(leader)
    assert leader.task(A).attempt == 1, "silent, but not for long enough"
    site.clock.advance(2)
    site.heard("a")
    await until(lambda: leader.task(A).attempt == 2)
    assert leader.task(A).node == leader.me.id
    [failure] = leader.task(A).failures
    assert failure.node == site.nodes["b"].me.id
    assert failure.message == "Taken back: b was not heard for 21 s."


async def test_a_new_leader_gives_silent_nodes_the_whole_timeout(site: FakeSite) -> None:
    old, new = site.nodes["a"], site.nodes["b"]
    await ticks(new)
    site.heard("c")
    await site.say(Submit(A, SPEC))
    await until(lambda: new.row(A)() == "queued")
    # Only the old leader hears it from here on, so the new one knows nothing newer than this.
    for _ in range(30):
        site.clock.advance(1)
        old.roster.hear(Report(node=site.nodes["c"].me.id, disk_free=ROOM, disk_total=ROOM))
    await ticks(old)
    site.consensus.lead(new.me.id)
    await ticks(new)
    site.clock.advance(19)
    await ticks(new)
    assert new.task(A).attempt == 1
    assert new.row(A)() == "queued"
    site.clock.advance(2)
    await until(lambda: new.row(A)() == "pending")
    assert new.task(A).failures[0].message == "Taken back: c was not heard for 21 s."


async def test_a_leader_that_was_cut_off_decides_nothing(site: FakeSite) -> None:
    old = site.nodes["a"]
    site.heard("a", "b", "c")
    await ticks(old)
    site.consensus.cut(old.me.id)
    made = proposals(old)
    await site.say(Submit(A, SPEC))
    await until(lambda: site.nodes["b"].row(A)() == "queued")
    await ticks(old)
    assert made == []


async def test_a_leader_without_a_lease_decides_nothing(site: FakeSite) -> None:
    """Another one may have been elected, and may be deciding already."""
    leader = site.nodes["a"]
    site.heard("a")
    await ticks(leader)
    made = proposals(leader)
    site.consensus.leaseless.add(leader.me.id)
    await site.say(Submit(A, SPEC))
    await ticks(leader)
    assert made == [Submit(A, SPEC)], "what the test said itself"
    site.consensus.leaseless.clear()
    await until(lambda: leader.row(A)() == "queued")


async def test_it_goes_on_after_a_proposal_that_failed(site: FakeSite) -> None:
    leader = site.nodes["a"]
    site.heard("a")
    await site.say(Submit(A, SPEC))
    await until(lambda: leader.row(A)() == "queued")
    made = proposals(leader)
    await leader.replica.change(Pause(A))
    await leader.replica.change(Submit(B, SPEC))
    await until(lambda: leader.row(B)() == "queued")
    site.consensus.full = True
    site.clock.advance(30)
    site.heard("b")
    await until(lambda: any(isinstance(command, Release) for command in made))
    assert leader.task(B).attempt == 1
    site.consensus.full = False
    await until(lambda: leader.task(B).attempt == 2)
    assert leader.task(B).node == site.nodes["b"].me.id


async def test_an_assignment_that_was_overtaken_is_no_fault(site: FakeSite) -> None:
    """Between the decision and the log somebody paused the task: the table refuses, and nothing else happens."""
    leader = site.nodes["a"]
    propose = leader.replica.propose
    overtaken = False

    async def late(commands: Sequence[Command], *, timeout: float = 8.0) -> list[Outcome]:
        nonlocal overtaken
        if any(isinstance(command, Assign) for command in commands) and not overtaken:
            overtaken = True
            await propose([Pause(A)])
        return await propose(commands, timeout=timeout)

    leader.replica.propose = late  # type: ignore[method-assign]
    site.heard("a")
    await propose([Submit(A, SPEC)])
    await until(lambda: overtaken)
    await ticks(leader)
    assert leader.row(A)() == "paused"
    await propose([Submit(B, SPEC)])
    await until(lambda: leader.row(B)() == "queued")


async def test_a_move_is_one_line_of_the_log(site: FakeSite) -> None:
    leader = site.nodes["a"]
    site.heard("b")
    await site.say(Submit(A, SPEC))
    await until(lambda: leader.row(A)() == "queued")
    await site.say(Start(A, 1))
    with capture_logs() as lines:
        site.heard("a")
        await site.say(Drain("b" * 8, 0))
        await until(lambda: leader.task(A).node == leader.me.id)
        await ticks(leader)
    [line] = [line for line in lines if line["event"] == "moved"]
    assert (line["task"], line["attempt"], line["source"], line["to"]) == (A, 2, "b", "a")
    assert line["why"] == leader.task(A).reason
    assert "b is being drained" in line["why"]


async def test_what_is_taken_back_is_one_line_of_the_log(site: FakeSite) -> None:
    leader = site.nodes["a"]
    await ticks(leader)
    site.heard("b")
    await site.say(Submit(A, SPEC))
    await until(lambda: leader.row(A)() == "queued")
    with capture_logs() as lines:
        site.clock.advance(21)
        await until(lambda: leader.row(A)() == "pending")
        await ticks(leader)
    [line] = [line for line in lines if line["event"] == "taken back"]
    assert (line["task"], line["attempt"], line["source"]) == (A, 1, "b")
    assert "21 s" in line["why"]


async def test_what_the_table_refuses_is_not_proposed_again_at_once(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would propose as fast as it can, for as long as the table refuses."""
    leader = site.nodes["a"]
    await ticks(leader)
    made = proposals(leader)
    looks = 0

    def decide(*_: object, **__: object) -> list[Command]:
        nonlocal looks
        looks += 1
        return [Release(A, 7, "Nobody has it.")]

    monkeypatch.setattr(scheduler, "decide", decide)
    await ticks(leader, 5)
    assert 0 < looks == len(made) <= 8
