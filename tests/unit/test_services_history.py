"""The history as it is asked for, and as it is told."""

import pytest

from ariacluster.domain.commands import Assign, Elect, Submit
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.history import Entry, Kind
from ariacluster_node.services import caller
from tests.support.fake_site import SPEC, FakeSite, SiteNode

A, B = "a" * 16, "b" * 16


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["n"]


async def test_the_newest_come_first_and_may_be_sifted(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC), Submit(B, SPEC))
    await site.say(Assign(A, 1, node.me.id, "n: free"), Assign(B, 1, site.nodes["m"].me.id, "m: free"))
    ask = node.services.histories.query
    whole = ask()
    assert [entry.seq for entry in whole] == [6, 5, 4, 3, 2, 1]
    assert [entry.kind for entry in ask(limit=1)] == ["task_assigned"]
    assert [entry.seq for entry in ask(before=4, limit=2)] == [3, 2]
    assert ask(before=1) == [] and ask(before=99) == whole
    assert [entry.seq for entry in ask(task=A)] == [5, 3]
    assert [entry.seq for entry in ask(task="b")] == [6, 4]
    assert [entry.seq for entry in ask(node="n")] == [entry.seq for entry in ask(node=node.me.id)] == [5, 2]
    assert [entry.seq for entry in ask(kinds=["node_joined"])] == [2, 1]
    with pytest.raises(InvalidInput, match="task_submitted") as caught:
        ask(kinds=["node_joined", "nonsense"])
    assert caught.value.field == "kind"
    assert site.nodes["m"].services.histories.query() == whole, "the same on every node"


async def test_who_reads_on_gets_what_follows_or_hears_that_it_is_forgotten(site: FakeSite, node: SiteNode) -> None:
    histories = node.services.histories
    assert histories.newest == 2
    assert [entry.seq for entry in histories.since(1) or ()] == [2]
    assert (histories.since(2), histories.since(3), histories.since(-1)) == ([], None, None)
    node.replica.table.history.entries.popleft()
    assert histories.since(0) is None


async def test_what_is_new_is_told_once(site: FakeSite, node: SiteNode) -> None:
    told: list[Entry] = []
    end = node.services.histories.watch(told.extend)
    await site.say(Submit(A, SPEC))
    await site.say(Elect(node.me.id, 0))
    assert [entry.kind for entry in told] == [Kind.TASK_SUBMITTED]
    await site.say(Elect(node.me.id, 3))
    assert [entry.seq for entry in told] == [3, 4]
    end()
    await site.say(Elect(node.me.id, 4))
    assert len(told) == 2


async def test_after_a_snapshot_what_was_missed_is_told(site: FakeSite, node: SiteNode) -> None:
    await site.say(Submit(A, SPEC))
    told: list[Entry] = []
    node.services.histories.watch(told.extend)
    leader = site.nodes["m"].replica
    for term in range(1, 4):
        await site.leader().replica.propose([Elect(node.me.id, term)])
    await site.settled()
    before = len(told)
    node.replica.load(site.nodes["m"].replica.snapshot()())()
    assert len(told) == before, "nothing that it knew already"
    late = FakeSite()
    [other] = await late.up("x")
    heard: list[Entry] = []
    other.services.histories.watch(heard.extend)
    other.replica.load(leader.snapshot()())()
    assert [entry.seq for entry in heard] == [2, 3, 4, 5, 6], "what is newer than what it had"
    other.replica.clear()
    assert len(heard) == 5, "another cluster's history begins anew"


async def test_a_word_that_came_in_is_told_with_its_caller(site: FakeSite, node: SiteNode) -> None:
    token = caller.WHO.set("192.0.2.9")
    await node.replica.change(Submit(A, SPEC))
    caller.WHO.reset(token)
    await node.replica.change(Submit(B, SPEC))
    assert [entry.who for entry in node.services.histories.query(limit=2)] == ["", "192.0.2.9"]
