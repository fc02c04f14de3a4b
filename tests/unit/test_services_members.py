import pytest

from ariacluster.domain.commands import Assign, Register, Submit
from ariacluster.domain.errors import Conflict, NotFound
from ariacluster.domain.member import Member, Report
from ariacluster_node.lifecycle import cancelled_at_exit
from tests.support.fake_site import SPEC, FakeSite, SiteNode, until

A = "a" * 16


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["m"]


async def test_a_member_is_found_by_id_or_name(site: FakeSite, node: SiteNode) -> None:
    other = site.nodes["n"]
    assert node.members.find(other.me.id).name == node.members.find("n").name == "n"
    with pytest.raises(NotFound, match="node ls"):
        node.members.find("x")
    await site.say(Register(Member(id="2" * 8, name="n", address="x", port=1, raft="x:2")))
    with pytest.raises(Conflict, match="2 nodes"):
        node.members.find("n")
    assert node.members.find(other.me.id).id == other.me.id


async def test_a_node_that_is_gone_is_taken_off_and_its_tasks_run_elsewhere(site: FakeSite, node: SiteNode) -> None:
    gone = site.nodes["n"]
    await site.say(Submit(A, SPEC), Assign(A, 1, gone.me.id, ""))
    taken = await node.members.take_off("n", force=False)
    assert taken.id == gone.me.id
    assert gone.me.id not in node.replica.table.members
    node.roster.hear(Report(node=node.me.id, disk_free=10**12))
    async with cancelled_at_exit(node.dispatcher.run()):
        await until(lambda: node.task(A).node == node.me.id)
    assert node.task(A).attempt == 2
    with pytest.raises(NotFound):
        await node.members.take_off("n", force=False)


async def test_a_node_that_is_online_is_taken_off_only_by_force(site: FakeSite, node: SiteNode) -> None:
    other = site.nodes["n"]
    node.roster.hear(Report(node=other.me.id))
    with pytest.raises(Conflict, match="--force"):
        await node.members.take_off("n", force=False)
    assert other.me.id in node.replica.table.members
    await node.members.take_off("n", force=True)
    assert other.me.id not in node.replica.table.members


async def test_the_last_one_stays(site: FakeSite, node: SiteNode) -> None:
    await node.members.take_off("n", force=True)
    with pytest.raises(Conflict, match="only node"):
        await node.members.take_off("m", force=True)


async def test_a_follower_takes_off_as_well(site: FakeSite) -> None:
    follower = site.nodes["n"]
    await follower.members.take_off("m", force=True)
    assert list(follower.replica.table.members) == [follower.me.id]
