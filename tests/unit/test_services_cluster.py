import asyncio
from collections.abc import Callable

import msgspec
import pytest

from ariacluster.domain.commands import Drain, Register, Tune, Unregister
from ariacluster.domain.errors import Conflict, NoLeader, NotReady, StartFailed
from ariacluster.domain.formation import Applicant, Membership
from ariacluster.domain.member import Tuning
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import cluster as cluster_room
from ariacluster_node.services import forming as forming_room
from tests.support.fake_site import WELCOME, FakeSite, SiteNode, turns, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forming_room, "LISTEN_FOR", 0.0)
    monkeypatch.setattr(cluster_room, "LOOK_PERIOD", 0.005)
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
    plain = Applicant(node_id=node.me.id, node_name=node.me.name, cluster_name="default", version="0.1.0")
    return msgspec.structs.replace(plain, **changes)


def asked(site: FakeSite, *calls: tuple[str, str]) -> Callable[[], bool]:
    return lambda: set(calls) <= set(site.peers.asked)


# -- forming ----------------------------------------------------------------------------------------------------


async def test_without_discovery_a_fresh_node_founds_alone(site: FakeSite) -> None:
    node = fresh(site, "a")
    welcome = await node.forming.form()
    assert welcome.cluster_name == "default"
    assert welcome.peers == {node.me.id: node.me.raft}
    assert node.cluster.founds
    assert len(bytes.fromhex(welcome.key)) == 32
    assert node.cluster.membership == welcome
    assert node.remembered == [welcome], "written down before anything follows from it"
    assert (await fresh(site, "b").forming.form()).key != welcome.key


async def test_a_remembered_membership_is_never_founded_anew(lan: FakeSite) -> None:
    node = await announced(SiteNode(lan, "a"))
    assert await node.forming.form() == WELCOME
    assert node.remembered == []
    assert lan.peers.asked == []


async def test_alone_on_the_lan_it_founds(lan: FakeSite) -> None:
    node = await announced(fresh(lan, "a"))
    assert (await node.forming.form()).peers == {node.me.id: node.me.raft}


async def test_a_heard_cluster_is_joined(lan: FakeSite) -> None:
    member = await announced(SiteNode(lan, "m"))
    node = await announced(fresh(lan, "a"))
    welcome = msgspec.structs.replace(WELCOME, peers={member.me.id: member.me.raft}, doors={member.me.id: member.door})
    assert await node.forming.form() == welcome, "it is told where the member's consensus is"
    assert node.remembered == [welcome]
    assert not node.cluster.founds
    assert lan.peers.asked == [("knock", member.door)]


async def test_a_cluster_of_another_name_is_not_joined(lan: FakeSite) -> None:
    stranger = SiteNode(lan, "0")
    stranger.cluster.cluster_name = "attic"
    await announced(stranger)
    node = await announced(fresh(lan, "a"))
    assert (await node.forming.form()).peers == {node.me.id: node.me.raft}
    assert lan.peers.asked == []


async def test_the_smallest_id_founds_and_the_others_wait_for_it(lan: FakeSite) -> None:
    first, second = await announced(fresh(lan, "a")), await announced(fresh(lan, "b"))
    waiting = asyncio.create_task(second.forming.form())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    assert second.remembered == []
    founded = await first.forming.form()
    assert first.discovery
    await first.discovery.update(first.cluster.announcement())
    assert founded.lone
    assert await asyncio.wait_for(waiting, 5) == msgspec.structs.replace(founded, lone=False)
    assert first.remembered[-1].lone is False, "written down before anybody else has the key"
    assert first.cluster.founds and not second.cluster.founds


async def test_a_node_that_waits_founds_when_the_other_goes(lan: FakeSite) -> None:
    first, second = await announced(fresh(lan, "a")), await announced(fresh(lan, "b"))
    waiting = asyncio.create_task(second.forming.form())
    await turns()
    assert not waiting.done()
    assert first.discovery
    await first.discovery.stop()
    assert (await asyncio.wait_for(waiting, 5)).peers == {second.me.id: second.me.raft}


async def test_a_shut_door_is_passed_by_for_the_next_one(lan: FakeSite) -> None:
    one, two = await announced(SiteNode(lan, "m")), await announced(SiteNode(lan, "n"))
    lan.peers.shut.add(one.door)
    node = await announced(fresh(lan, "a"))
    assert (await node.forming.form()).peers == {two.me.id: two.me.raft}
    assert lan.peers.asked == [("knock", one.door), ("knock", two.door)]


async def test_an_invited_node_knocks_until_the_door_answers_and_never_founds(site: FakeSite) -> None:
    member = SiteNode(site, "m")
    site.peers.shut.add(member.door)
    node = fresh(site, "a", member.door)
    joining = asyncio.create_task(node.forming.form())
    await until(lambda: site.peers.asked.count(("knock", member.door)) >= 3)
    assert not joining.done()
    site.peers.shut.clear()
    assert (await asyncio.wait_for(joining, 5)).key == WELCOME.key


# -- being written down ------------------------------------------------------------------------------------------


async def joined(site: FakeSite, name: str, *doors: str) -> SiteNode:
    """A fresh node that has been welcomed and runs its consensus."""
    node = fresh(site, name, *doors)
    await node.forming.form()
    await node.join_log()
    site.nodes[name] = node
    return node


async def test_a_node_that_joined_is_a_learner_and_is_written_down(site: FakeSite) -> None:
    [leader] = await site.up("m")
    node = await joined(site, "a", leader.door)
    await node.cluster.register()
    assert site.consensus.voters == [leader.me.id], "who votes is decided elsewhere"
    await site.settled()
    assert leader.replica.table.members[node.me.id].name == "a"
    assert node.replica.table.members[node.me.id].joined_at == site.clock.now()
    assert site.peers.asked == [("knock", leader.door)]


async def test_a_node_that_was_drained_and_tuned_is_written_down_once(site: FakeSite) -> None:
    """What people set of it stays with it over a restart, and does not make it a stranger."""
    [leader] = await site.up("m")
    node = await joined(site, "a", leader.door)
    await node.cluster.register()
    await leader.replica.propose([Drain(node.me.id, 0), Tune(node.me.id, Tuning(slots=9))])
    await site.settled()
    known = leader.replica.table.members[node.me.id]
    entries = len(leader.replica.table.recent)
    async with asyncio.timeout(5):
        await node.cluster.register()
    await site.settled()
    assert leader.replica.table.members[node.me.id] == known
    assert len(leader.replica.table.recent) == entries, "there was nothing to tell"


async def test_it_notes_that_it_has_a_log_before_it_can_become_a_voter(site: FakeSite) -> None:
    """Only members are made voters."""
    [leader] = await site.up("m")
    node = await joined(site, "a", leader.door)
    site.consensus.full = True
    registering = asyncio.create_task(node.cluster.register())
    await until(lambda: node.noted == [WELCOME.cluster_id])
    assert node.me.id not in leader.replica.table.members
    site.consensus.full = False
    await asyncio.wait_for(registering, 5)


async def test_nothing_is_noted_or_written_before_it_has_caught_up(site: FakeSite) -> None:
    [leader] = await site.up("m")
    node = fresh(site, "a", leader.door)
    await node.forming.form()
    site.consensus.stuck.add(node.me.id)
    await node.join_log()
    registering = asyncio.create_task(node.cluster.register())
    await turns()
    assert node.noted == []
    assert node.me.id not in leader.replica.table.members
    site.consensus.stuck.clear()
    site.consensus._settle()
    await asyncio.wait_for(registering, 5)


async def test_a_node_that_died_before_it_was_written_down_is_so_when_it_is_back(site: FakeSite) -> None:
    [leader] = await site.up("m")
    back = SiteNode(site, "a", membership=msgspec.structs.replace(WELCOME, peers={leader.me.id: leader.me.raft}))
    await back.forming.form()
    assert not back.cluster.founds
    await back.join_log()
    await asyncio.wait_for(back.cluster.register(), 5)
    assert site.peers.asked == [], "a member asks nobody"


async def test_it_registers_only_when_something_changed(site: FakeSite) -> None:
    node = SiteNode(site, "a")
    await node.join_log()
    await node.cluster.register()
    entries = len(site.consensus._log)
    assert entries == 1
    joined_at = node.replica.table.members[node.me.id].joined_at
    site.clock.advance(60)
    await node.cluster.register()
    assert len(site.consensus._log) == entries
    node.cluster.me = msgspec.structs.replace(node.me, slots=9)
    await node.cluster.register()
    assert len(site.consensus._log) == entries + 1
    member = node.replica.table.members[node.me.id]
    assert (member.slots, member.joined_at) == (9, joined_at)


async def test_registering_waits_for_a_leader(site: FakeSite) -> None:
    node = SiteNode(site, "a")
    await node.join_log()
    await turns()
    site.consensus.depose()
    registering = asyncio.create_task(node.cluster.register())
    await turns()
    assert not registering.done()
    site.consensus.lead(node.me.id)
    await asyncio.wait_for(registering, 5)


# -- letting in -------------------------------------------------------------------------------------------------


async def test_a_node_without_a_cluster_lets_nobody_in(site: FakeSite) -> None:
    with pytest.raises(NotReady):
        await fresh(site, "a").cluster.welcome(applicant(SiteNode(site, "b")))


async def test_an_applicant_for_another_cluster_is_refused(site: FakeSite) -> None:
    [node] = await site.up("m")
    with pytest.raises(Conflict, match="--cluster default") as caught:
        await node.cluster.welcome(applicant(SiteNode(site, "a"), cluster_name="attic"))
    assert caught.value.field == "cluster_name"


async def test_the_id_of_a_member_is_refused(site: FakeSite) -> None:
    """A member remembers and does not knock: this is a copy of its folder, or the folder after its log was deleted."""
    node, other = await site.up("mn")
    for cloned in (node, other):
        with pytest.raises(Conflict, match="copied") as caught:
            await node.cluster.welcome(applicant(cloned))
        assert caught.value.field == "node_id"


async def test_who_is_not_written_down_yet_may_ask_again(site: FakeSite) -> None:
    [node] = await site.up("m")
    other = fresh(site, "a", node.door)
    assert await node.cluster.welcome(applicant(other)) == await node.cluster.welcome(applicant(other))


async def test_a_clone_of_a_learner_is_refused_before_that_is_written_down(site: FakeSite) -> None:
    [node] = await site.up("m")
    learner = await joined(site, "a", node.door)
    await site.settled()
    with pytest.raises(Conflict, match="copied"):
        await node.cluster.welcome(applicant(learner))


async def test_a_clone_is_refused_by_its_original_before_that_is_written_down(site: FakeSite) -> None:
    node = SiteNode(site, "m")
    with pytest.raises(Conflict, match="copied"):
        await node.cluster.welcome(applicant(node))


# -- who is who -------------------------------------------------------------------------------------------------


async def test_the_others_are_remembered_when_they_change(site: FakeSite) -> None:
    [leader] = await site.up("m")
    async with cancelled_at_exit(leader.cluster.run()):
        await until(lambda: len(leader.remembered) == 1)
        assert leader.remembered[-1].peers == {leader.me.id: leader.me.raft}
        node = await joined(site, "a", leader.door)
        await node.cluster.register()
        await until(lambda: len(leader.remembered) == 2)
        await until(lambda: node.me.id in leader.replica.table.members)
        site.consensus.voters.append(node.me.id)
        site.consensus.depose()
        site.consensus.lead(node.me.id)
        await until(lambda: leader.replica.status is not None and leader.replica.status.leader == node.me.id)
        await turns()
    both = {node.me.id: "a:8001", leader.me.id: "m:8001"}
    doors = {node.me.id: "a:8000", leader.me.id: "m:8000"}
    assert leader.remembered[-1] == msgspec.structs.replace(WELCOME, peers=both, doors=doors)
    assert leader.cluster.membership == leader.remembered[-1], "whoever joins next is told of all"
    assert len(leader.remembered) == 2, "a new leader, or voter, is nothing to remember"


async def test_whoever_left_is_remembered_no_more(site: FakeSite) -> None:
    node, _, gone = await site.up("mna")
    async with cancelled_at_exit(node.cluster.run()):
        await until(lambda: bool(node.remembered) and gone.me.id in node.remembered[-1].peers)
        await site.say(Unregister(gone.me.id))
        await until(lambda: gone.me.id not in node.remembered[-1].peers)


async def test_a_consensus_is_remembered_where_it_was_heard_last(site: FakeSite) -> None:
    node, other = await site.up("mn")
    async with cancelled_at_exit(node.cluster.run()):
        await until(lambda: bool(node.remembered) and other.me.id in node.remembered[-1].peers)
        other.consensus._listens = "10.0.0.9:8001"
        await until(lambda: node.remembered[-1].peers[other.me.id] == "10.0.0.9:8001")


async def test_a_disk_that_refuses_does_not_end_the_node(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    [node] = await site.up("m")
    tries = 0

    async def full(_: Membership) -> None:
        nonlocal tries
        tries += 1
        raise StartFailed("no room")

    monkeypatch.setattr(node.memory, "save_membership", full)
    async with cancelled_at_exit(node.cluster.run()):
        await until(lambda: tries >= 2)


async def test_nothing_is_remembered_from_a_log_that_is_not_caught_up(site: FakeSite) -> None:
    [node] = await site.up("m")
    node.consensus._ready = False
    async with cancelled_at_exit(node.cluster.run()):
        await asyncio.sleep(0.01)
    assert node.remembered == []


async def test_the_consensus_is_told_where_the_others_are(lan: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the table and by the LAN; whatever changed last counts."""
    node, other = await lan.up("mn")
    learned: list[tuple[str, str]] = []
    monkeypatch.setattr(node.consensus, "learn", lambda who, where: learned.append((who, where)))
    await announced(node)
    stranger = SiteNode(lan, "z", membership=msgspec.structs.replace(WELCOME, cluster_id="d" * 16))
    await announced(stranger)
    async with cancelled_at_exit(node.cluster.run()):
        await until(lambda: learned == [(other.me.id, "n:8001")])
        moved = msgspec.structs.replace(other.cluster.announcement(), address="10.0.0.9", raft_port=9001)
        lan.air.entries[other.me.id] = moved
        await until(lambda: learned[1:] == [(other.me.id, "10.0.0.9:9001")])
        lan.air.entries[other.me.id] = msgspec.structs.replace(moved, address="fd00::9")
        await until(lambda: learned[2:] == [(other.me.id, "[fd00::9]:9001")])
        await lan.say(Register(msgspec.structs.replace(other.me, raft="10.0.0.10:8001")))
        await until(lambda: learned[3:] == [(other.me.id, "10.0.0.10:8001")])
        await asyncio.sleep(0.02)
    assert len(learned) == 4, "nothing is told twice, nothing of oneself or of another cluster"


async def test_a_machine_that_moved_is_announced_and_written_down_anew(lan: FakeSite) -> None:
    node, other = await lan.up("mn")
    await announced(node)
    await node.cluster.register()
    async with cancelled_at_exit(node.cluster.run()):
        await asyncio.sleep(0.02)
        assert node.cluster.announcement().address == "m"
        node.address = "10.0.0.7"
        await until(lambda: other.replica.table.members[node.me.id].raft == "10.0.0.7:8001")
    assert other.replica.table.members[node.me.id].door == "10.0.0.7:8000"
    assert lan.air.entries[node.me.id].address == "10.0.0.7"
    assert node.cluster.membership and node.cluster.membership.peers[node.me.id] == "10.0.0.7:8001"


async def test_a_move_that_cannot_be_written_down_is_so_later(site: FakeSite) -> None:
    node, other = await site.up("mn")
    await node.cluster.register()
    site.consensus.full = True
    async with cancelled_at_exit(node.cluster.run()):
        node.address = "10.0.0.7"
        await until(lambda: node.cluster.me.address == "10.0.0.7")
        assert other.replica.table.members[node.me.id].address == "m"
        site.consensus.full = False
        await until(lambda: other.replica.table.members[node.me.id].address == "10.0.0.7")


async def test_who_was_struck_off_does_not_write_itself_down_again_by_itself(site: FakeSite) -> None:
    node, _ = await site.up("mn")
    await node.cluster.register()
    async with cancelled_at_exit(node.cluster.run()):
        await site.say(Unregister(node.me.id))
        await until(lambda: node.cluster._struck_off)
        node.address = "10.0.0.7"
        await until(lambda: node.cluster.me.address == "10.0.0.7")
        await asyncio.sleep(0.02)
    assert node.me.id not in node.replica.table.members
    await node.cluster.register()
    assert node.me.id in node.replica.table.members, "but when it is started again"


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


async def test_a_member_leads_or_votes_or_learns(site: FakeSite) -> None:
    node, voter = await site.up("mn")
    stranger = SiteNode(site, "z")
    await site.say(Register(stranger.me))
    assert [node.cluster.role(who.me) for who in (node, voter, stranger)] == ["leader", "voter", "learner"]
    assert stranger.cluster.role(node.me) == "learner", "without a consensus nobody is more"
    assert stranger.cluster.leader() is None


async def test_it_announces_its_cluster_once_it_has_one(site: FakeSite) -> None:
    node = fresh(site, "a")
    assert node.cluster.announcement().cluster_id == ""
    welcome: Membership = await node.forming.form()
    heard = node.cluster.announcement()
    assert (heard.cluster_id, heard.cluster_name) == (welcome.cluster_id, "default")
    assert (heard.node_id, heard.door, heard.raft) == (node.me.id, "a:8000", "a:8001")
