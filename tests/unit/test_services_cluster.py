import asyncio
from collections.abc import Callable

import msgspec
import pytest

from ariacluster.domain.commands import Register
from ariacluster.domain.errors import Conflict, NoLeader, NotReady, Unavailable
from ariacluster.domain.formation import Applicant, Membership
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import cluster as cluster_room
from tests.support.fake_site import WELCOME, FakeSite, SiteNode, turns, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_room, "LISTEN_FOR", 0.0)
    real = asyncio.sleep

    async def short(seconds: float) -> None:
        await real(min(seconds, 0.005))

    monkeypatch.setattr(asyncio, "sleep", short)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


@pytest.fixture
def lan() -> FakeSite:
    """With multicast."""
    return FakeSite(multicast=True)


def fresh(site: FakeSite, name: str, *invited_by: str) -> SiteNode:
    return SiteNode(site, name, membership=None, invited_by=invited_by)


async def announced(node: SiteNode) -> SiteNode:
    assert node.discovery
    await node.discovery.start(node.cluster.announcement())
    return node


def applicant(node: SiteNode, **changes: object) -> Applicant:
    return msgspec.structs.replace(node.cluster._applicant(), **changes)


def asked(site: FakeSite, *calls: tuple[str, str]) -> Callable[[], bool]:
    return lambda: set(calls) <= set(site.peers.asked)


# -- forming ----------------------------------------------------------------------------------------------------


async def test_without_discovery_a_fresh_node_founds_alone(site: FakeSite) -> None:
    node = fresh(site, "a")
    welcome = await node.cluster.form()
    assert welcome.cluster_name == "default"
    assert welcome.voters == (node.me.raft,)
    assert len(bytes.fromhex(welcome.key)) == 32
    assert node.cluster.membership == welcome
    assert node.remembered == [welcome], "written down before anything follows from it"
    assert (await fresh(site, "b").cluster.form()).key != welcome.key


async def test_a_remembered_membership_is_never_founded_anew(lan: FakeSite) -> None:
    node = await announced(SiteNode(lan, "a"))
    assert await node.cluster.form() == WELCOME
    assert node.remembered == []
    assert lan.peers.asked == []


async def test_alone_on_the_lan_it_founds(lan: FakeSite) -> None:
    node = await announced(fresh(lan, "a"))
    assert (await node.cluster.form()).voters == (node.me.raft,)


async def test_a_heard_cluster_is_joined(lan: FakeSite) -> None:
    member = await announced(SiteNode(lan, "m"))
    node = await announced(fresh(lan, "a"))
    assert await node.cluster.form() == member.cluster.membership
    assert node.remembered == [WELCOME]
    assert lan.peers.asked == [("knock", member.door)]


async def test_a_cluster_of_another_name_is_not_joined(lan: FakeSite) -> None:
    stranger = SiteNode(lan, "0")
    stranger.cluster.cluster_name = "attic"
    await announced(stranger)
    node = await announced(fresh(lan, "a"))
    assert (await node.cluster.form()).voters == (node.me.raft,)
    assert lan.peers.asked == []


async def test_the_smallest_id_founds_and_the_others_wait_for_it(lan: FakeSite) -> None:
    first, second = await announced(fresh(lan, "a")), await announced(fresh(lan, "b"))
    waiting = asyncio.create_task(second.cluster.form())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert second.remembered == []
    founded = await first.cluster.form()
    assert first.discovery
    await first.discovery.update(first.cluster.announcement())
    assert await asyncio.wait_for(waiting, 5) == founded


async def test_a_node_that_waits_founds_when_the_other_goes(lan: FakeSite) -> None:
    first, second = await announced(fresh(lan, "a")), await announced(fresh(lan, "b"))
    waiting = asyncio.create_task(second.cluster.form())
    await turns()
    assert not waiting.done()
    assert first.discovery
    await first.discovery.stop()
    assert (await asyncio.wait_for(waiting, 5)).voters == (second.me.raft,)


async def test_a_shut_door_is_passed_by_for_the_next_one(lan: FakeSite) -> None:
    one, two = await announced(SiteNode(lan, "m")), await announced(SiteNode(lan, "n"))
    lan.peers.shut.add(one.door)
    node = await announced(fresh(lan, "a"))
    assert await node.cluster.form() == WELCOME
    assert lan.peers.asked == [("knock", one.door), ("knock", two.door)]


async def test_an_invited_node_knocks_until_the_door_answers_and_never_founds(site: FakeSite) -> None:
    member = SiteNode(site, "m")
    site.peers.shut.add(member.door)
    node = fresh(site, "a", member.door)
    joining = asyncio.create_task(node.cluster.form())
    await until(lambda: site.peers.asked.count(("knock", member.door)) >= 3)
    assert not joining.done()
    site.peers.shut.clear()
    assert await asyncio.wait_for(joining, 5) == WELCOME


# -- entering ---------------------------------------------------------------------------------------------------


async def joined(site: FakeSite, name: str, *doors: str) -> SiteNode:
    """A fresh node that has been welcomed and runs its consensus."""
    node = fresh(site, name, *doors)
    await node.cluster.form()
    await node.join_log()
    return node


async def test_a_node_that_joined_becomes_a_voter_and_is_written_down(site: FakeSite) -> None:
    [leader] = await site.up("m")
    node = await joined(site, "a", leader.door)
    await node.cluster.enter()
    assert node.me.raft in site.consensus.voters
    assert leader.replica.table.members[node.me.id].name == "a"
    assert node.replica.table.members[node.me.id].joined_at == site.clock.now()


async def test_it_asks_again_until_the_door_lets_it_in(site: FakeSite) -> None:
    [leader] = await site.up("m")
    node = await joined(site, "a", leader.door)
    site.peers.shut.add(leader.door)
    entering = asyncio.create_task(node.cluster.enter())
    await until(lambda: site.peers.asked.count(("enter", leader.door)) >= 2)
    assert not entering.done()
    site.peers.shut.clear()
    await asyncio.wait_for(entering, 5)


async def test_another_door_will_do_when_the_one_that_answered_is_gone(lan: FakeSite) -> None:
    leader, door = await lan.up("mn")
    await announced(leader)
    lan.peers.clusters[door.door] = door.cluster
    node = fresh(lan, "a", door.door)
    await announced(node)
    await node.cluster.form()
    await node.join_log()
    lan.peers.shut.add(door.door)
    await asyncio.wait_for(node.cluster.enter(), 5)
    assert node.me.raft in lan.consensus.voters


async def test_a_node_that_died_before_it_entered_enters_when_it_is_back(lan: FakeSite) -> None:
    [leader] = await lan.up("m")
    await announced(leader)
    back = SiteNode(lan, "a", membership=msgspec.structs.replace(WELCOME, voters=(leader.me.raft,)))
    back.consensus._joining = True
    await announced(back)
    await back.cluster.form()
    await back.join_log()
    await asyncio.wait_for(back.cluster.enter(), 5)
    assert back.me.raft in lan.consensus.voters


async def test_a_voter_that_is_back_asks_nobody(site: FakeSite) -> None:
    await site.up("m")
    node = SiteNode(site, "a", membership=msgspec.structs.replace(WELCOME, voters=("a:8001", "m:8001")))
    await node.cluster.form()
    await node.join_log()
    await node.cluster.enter()
    assert site.peers.asked == []


async def test_it_registers_only_when_something_changed(site: FakeSite) -> None:
    site.consensus.voters.append("a:8001")
    node = SiteNode(site, "a", membership=msgspec.structs.replace(WELCOME, voters=("a:8001",)))
    await node.join_log()
    await node.cluster.enter()
    entries = len(site.consensus._log)
    assert entries == 1
    joined_at = node.replica.table.members[node.me.id].joined_at
    site.clock.advance(60)
    await node.cluster.enter()
    assert len(site.consensus._log) == entries
    node.cluster.me = msgspec.structs.replace(node.me, slots=9)
    await node.cluster.enter()
    assert len(site.consensus._log) == entries + 1
    member = node.replica.table.members[node.me.id]
    assert (member.slots, member.joined_at) == (9, joined_at)


async def test_registering_waits_for_a_leader(site: FakeSite) -> None:
    node = SiteNode(site, "a", membership=msgspec.structs.replace(WELCOME, voters=("a:8001",)))
    site.consensus.depose()
    await node.join_log()
    entering = asyncio.create_task(node.cluster.enter())
    await turns()
    assert not entering.done()
    site.consensus.lead(node.me.raft)
    await asyncio.wait_for(entering, 5)


# -- letting in -------------------------------------------------------------------------------------------------


async def test_a_node_without_a_cluster_lets_nobody_in(site: FakeSite) -> None:
    with pytest.raises(NotReady):
        fresh(site, "a").cluster.welcome(applicant(SiteNode(site, "b")))


async def test_an_applicant_for_another_cluster_is_refused(site: FakeSite) -> None:
    [node] = await site.up("m")
    with pytest.raises(Conflict, match="--cluster default") as caught:
        node.cluster.welcome(applicant(SiteNode(site, "a"), cluster_name="attic"))
    assert caught.value.field == "cluster_name"


async def test_a_cloned_node_id_is_refused(site: FakeSite) -> None:
    node, other = await site.up("mn")
    for cloned in (node, other):
        with pytest.raises(Conflict, match="copied") as caught:
            node.cluster.welcome(applicant(cloned, raft="elsewhere:8001"))
        assert caught.value.field == "node_id"
    assert node.cluster.welcome(applicant(other)) == WELCOME, "the same node may ask again"


async def test_a_clone_is_refused_by_its_original_before_that_is_written_down(site: FakeSite) -> None:
    node = SiteNode(site, "m")
    with pytest.raises(Conflict, match="copied"):
        node.cluster.welcome(applicant(node, raft="elsewhere:8001"))


async def test_a_follower_admits_through_the_leader(site: FakeSite) -> None:
    leader, follower = await site.up("mn")
    node = fresh(site, "a", follower.door)
    await node.cluster.form()
    await node.join_log()
    await follower.cluster.admit(applicant(node))
    assert site.peers.asked[-1] == ("enter", leader.door)
    assert node.me.raft in site.consensus.voters


async def test_who_would_be_refused_at_the_knock_cannot_enter(site: FakeSite) -> None:
    [leader] = await site.up("m")
    with pytest.raises(Conflict):
        await leader.cluster.admit(applicant(SiteNode(site, "a"), cluster_name="attic"))
    assert site.consensus.voters == [leader.me.raft]


async def test_nobody_enters_while_there_is_no_leader(site: FakeSite) -> None:
    [node] = await site.up("m")
    site.consensus.depose()
    with pytest.raises(NoLeader):
        await node.cluster.admit(applicant(SiteNode(site, "a")))


async def test_an_applicant_that_does_not_answer_is_no_voter(site: FakeSite) -> None:
    [node] = await site.up("m")
    with pytest.raises(Unavailable):
        await node.cluster.admit(applicant(SiteNode(site, "a")))
    assert site.consensus.voters == [node.me.raft]


async def test_many_that_enter_at_once_are_let_in_one_after_the_other(site: FakeSite) -> None:
    [leader] = await site.up("m")
    nodes = [await joined(site, name, leader.door) for name in "abc"]
    await asyncio.gather(*(leader.cluster.admit(applicant(node)) for node in nodes))
    assert {node.me.raft for node in nodes} < set(site.consensus.voters)


# -- who is who -------------------------------------------------------------------------------------------------


async def test_voters_are_remembered_when_they_change(site: FakeSite) -> None:
    [leader] = await site.up("m")
    async with cancelled_at_exit(leader.cluster.run()):
        await until(lambda: len(leader.remembered) == 1)
        assert leader.remembered[-1].voters == (leader.me.raft,)
        node = await joined(site, "a", leader.door)
        await node.cluster.enter()
        await until(lambda: len(leader.remembered) == 2)
        site.consensus.depose()
        site.consensus.lead(node.me.raft)
        await until(lambda: leader.replica.status is not None and leader.replica.status.leader == node.me.raft)
        await turns()
    assert leader.remembered[-1] == msgspec.structs.replace(WELCOME, voters=("a:8001", "m:8001"))
    assert leader.cluster.membership == leader.remembered[-1], "whoever joins next is told of all"
    assert len(leader.remembered) == 2, "a new leader is no change of voters"


async def test_nothing_is_remembered_from_a_log_that_is_not_caught_up(site: FakeSite) -> None:
    [node] = await site.up("m")
    node.consensus._ready = False
    async with cancelled_at_exit(node.cluster.run()):
        await asyncio.sleep(0.01)
    assert node.remembered == []


async def test_it_knows_who_leads_and_whether_it_does(site: FakeSite) -> None:
    leader, follower = await site.up("mn")
    assert leader.cluster.leader() == follower.cluster.leader() == leader.replica.table.members[leader.me.id]
    assert leader.cluster.require_lead() == site.consensus.term
    with pytest.raises(NoLeader):
        follower.cluster.require_lead()
    site.consensus.depose()
    assert leader.cluster.leader() is None
    with pytest.raises(NoLeader):
        leader.cluster.require_lead()


async def test_a_member_is_a_voter_or_not(site: FakeSite) -> None:
    [node] = await site.up("m")
    stranger = SiteNode(site, "z")
    await site.say(Register(stranger.me))
    assert node.cluster.is_voter(node.me)
    assert not node.cluster.is_voter(stranger.me)
    assert not stranger.cluster.is_voter(node.me), "without a consensus nobody is"
    assert stranger.cluster.leader() is None


async def test_it_announces_its_cluster_once_it_has_one(site: FakeSite) -> None:
    node = fresh(site, "a")
    assert node.cluster.announcement().cluster_id == ""
    welcome: Membership = await node.cluster.form()
    heard = node.cluster.announcement()
    assert (heard.cluster_id, heard.cluster_name) == (welcome.cluster_id, "default")
    assert (heard.node_id, heard.address, heard.port) == (node.me.id, "a", 8000)
