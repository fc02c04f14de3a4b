"""One word to many tasks."""

import pytest

from ariacluster.domain.commands import Assign, Pause, Submit
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.task import TaskSpec, TaskState
from ariacluster.wire.requests import BulkRequest, TaskFilter
from ariacluster_node.services.bulk import AT_ONCE, TOLD
from tests.support.fake_site import FakeSite, SiteNode

IDS = [f"{n:016x}" for n in range(4)]
SPECS = [
    TaskSpec(urls=("http://one/Film.iso",), tags={"gpu": "yes"}),
    TaskSpec(urls=("http://two/f", "http://three/FILM/g"), prefer_tags={"gpu": "no"}),
    TaskSpec(urls=("http://two/h",), out="straße.bin"),
    TaskSpec(urls=("http://two/i",)),
]


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("ab")
    await site.say(*map(Submit, IDS, SPECS))
    await site.say(Assign(IDS[1], 1, site.nodes["a"].me.id, "why"), Pause(IDS[3]))
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["b"]


@pytest.mark.parametrize(
    ("asked", "fitting"),
    [
        (TaskFilter(state=["pending"]), [0, 2]),
        (TaskFilter(state=["pending", "paused"]), [0, 2, 3]),
        (TaskFilter(node="a"), [1]),
        (TaskFilter(node="a" * 8, state=["paused"]), []),
        (TaskFilter(q="film"), [0, 1]),
        (TaskFilter(q="STRASSE"), [2]),
        (TaskFilter(tag=["gpu"]), [0]),
        (TaskFilter(tag=["gpu=no"]), []),
        (TaskFilter(tag=["gpu", "disk"]), []),
        (TaskFilter(ids=[IDS[3].upper(), IDS[0], "gone"]), [0, 3]),
        (TaskFilter(ids=IDS, q="two", state=["pending"]), [2]),
    ],
)
async def test_it_means_those_of_which_all_holds(node: SiteNode, asked: TaskFilter, fitting: list[int]) -> None:
    told = await node.services.bulk.say(BulkRequest(verb="remove", matching=asked))
    assert told.done == [IDS[n] for n in fitting]
    assert list(node.replica.table.tasks) == [task_id for task_id in IDS if task_id not in told.done]


async def test_a_word_is_said_to_all_that_fit(site: FakeSite, node: SiteNode) -> None:
    told = await node.services.bulk.say(BulkRequest(verb="pause", matching=TaskFilter(state=["pending", "queued"])))
    assert (told.done, told.done_count, told.refused_count) == (IDS[:3], 3, 0)
    assert {node.task(task_id).state for task_id in IDS} == {TaskState.PAUSED}
    told = await node.services.bulk.say(BulkRequest(verb="remove", matching=TaskFilter(q="film")))
    assert told.done == IDS[:2]
    assert list(node.replica.table.tasks) == IDS[2:]


async def test_those_that_refuse_say_why(node: SiteNode) -> None:
    told = await node.services.bulk.say(BulkRequest(verb="resume", matching=TaskFilter(ids=[IDS[0], IDS[3]])))
    assert (told.done, told.refused_count) == ([IDS[3]], 1)
    [refused] = told.refused
    assert refused.id == IDS[0] and refused.problem and refused.problem.code == "illegal_move"


async def test_very_many_are_counted_and_some_are_told(site: FakeSite, node: SiteNode) -> None:
    many = [Submit(f"{n:016x}", TaskSpec(urls=(f"http://o/{n}",))) for n in range(100, 100 + 2 * AT_ONCE)]
    await site.say(*many)
    told = await node.services.bulk.say(BulkRequest(verb="resume", matching=TaskFilter(q="http://o/")))
    assert (told.done_count, told.refused_count, len(told.refused)) == (0, 2 * AT_ONCE, TOLD)
    told = await node.services.bulk.say(BulkRequest(verb="cancel", matching=TaskFilter(q="http://o/")))
    assert (told.done_count, told.refused_count) == (2 * AT_ONCE, 0)
    assert told.done == [submit.task for submit in many]


@pytest.mark.parametrize(
    ("verb", "matching", "field"),
    [
        ("explode", TaskFilter(q="x"), "verb"),
        ("pause", TaskFilter(), "matching"),
        ("pause", TaskFilter(state=["lost"]), "state"),
        ("pause", TaskFilter(node="nobody"), "matching.node"),
    ],
)
async def test_what_cannot_be_meant_is_refused(node: SiteNode, verb: str, matching: TaskFilter, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await node.services.bulk.say(BulkRequest(verb=verb, matching=matching))
    assert caught.value.field == field
