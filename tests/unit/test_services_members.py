import pytest

from ariacluster.domain.commands import Assign, Register, Submit, Tune
from ariacluster.domain.errors import Conflict, InvalidInput, NotFound
from ariacluster.domain.member import Member, Report, Tuning
from ariacluster.domain.policy import Policy
from ariacluster.wire.requests import NodePatch
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


async def test_a_node_is_drained_and_comes_back(site: FakeSite, node: SiteNode) -> None:
    members = node.replica.table.members
    drained = await node.members.drain("n", 60)
    assert members[drained.id].drain_until == site.clock.now() + 60_000
    await node.members.drain("n", 0)
    assert members[drained.id].drain_until == site.clock.now(), "said anew, it counts anew"
    for _ in range(2):
        await node.members.undrain("n")
        assert members[drained.id].drain_until is None
    with pytest.raises(NotFound):
        await node.members.drain("x", 0)
    with pytest.raises(NotFound):
        await node.members.undrain("x")


async def test_a_patch_changes_what_it_names(site: FakeSite, node: SiteNode) -> None:
    members = node.replica.table.members
    tuned = await node.members.tune("n", NodePatch(slots=9, download_limit=5))
    assert members[tuned.id].tuning == Tuning(slots=9, download_limit=5)
    await node.members.tune("n", NodePatch(upload_limit=7))
    assert members[tuned.id].tuning == Tuning(slots=9, download_limit=5, upload_limit=7)
    await node.members.tune("n", NodePatch(slots=None, download_limit=0))
    assert members[tuned.id].tuning == Tuning(upload_limit=7)
    assert Policy().slots_of(members[tuned.id]) == members[tuned.id].slots == 2
    last = site.consensus.last
    await node.members.tune("n", NodePatch(upload_limit=7))
    await node.members.tune("n", NodePatch())
    assert site.consensus.last == last, "what is so already needs no entry of the log"


async def test_a_witness_has_nothing_to_drain_or_to_tune(site: FakeSite, node: SiteNode) -> None:
    await site.say(Register(Member(id="w" * 8, name="w", address="w", port=1, raft="w:2", slots=0, witness=True)))
    with pytest.raises(Conflict, match="witness"):
        await node.members.drain("w", 0)
    with pytest.raises(Conflict, match="witness"):
        await node.members.tune("w", NodePatch(slots=3))


async def test_what_was_tuned_outlives_a_restart(site: FakeSite, node: SiteNode) -> None:
    other = site.nodes["n"]
    await site.say(Tune(other.me.id, Tuning(slots=7)), Register(other.me))
    assert Policy().slots_of(node.replica.table.members[other.me.id]) == 7


async def test_a_node_in_a_body_that_is_none_is_bad_input(node: SiteNode) -> None:
    assert node.members.named("n").name == "n"
    with pytest.raises(InvalidInput) as caught:
        node.members.named("x")
    assert caught.value.field == "node"
