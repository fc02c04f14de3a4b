"""How a node comes to its cluster where multicast does not reach everybody, and where a copy of it runs;
`test_services_cluster` has what happens where all goes well."""

import asyncio

import msgspec
import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster.domain.formation import Membership
from ariacluster_node.services import forming as forming_room
from tests.support.fake_site import WELCOME, FakeSite, SiteNode, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forming_room, "LISTEN_FOR", 0.0)
    monkeypatch.setattr(forming_room, "LOOK_PAUSE", 0.002)
    monkeypatch.setattr(forming_room, "TRY_PAUSE", 0.002)


@pytest.fixture
def lan() -> FakeSite:
    return FakeSite(multicast=True)


async def fresh(lan: FakeSite, name: str) -> SiteNode:
    return await announced(SiteNode(lan, name, membership=None))


async def announced(node: SiteNode) -> SiteNode:
    assert node.discovery
    await node.discovery.start(node.cluster.announcement())
    return node


def calls(lan: FakeSite, what: str) -> list[str]:
    return [door for call, door in lan.peers.asked if call == what]


# -- before it founds ---------------------------------------------------------------------------------------------


async def test_before_it_founds_it_meets_whom_it_hears(lan: FakeSite) -> None:
    first, second = await fresh(lan, "a"), await fresh(lan, "b")
    assert (await first.forming.form()).lone
    assert calls(lan, "meet") == [second.door], "once is enough"
    assert [other.node_id for other in second.lan.heard()] == [first.me.id]


async def test_nobody_waits_for_a_node_that_waits_to_be_let_in(lan: FakeSite) -> None:
    """The one that was told to join this one must not be taken for the founder, however small its id."""
    first, told = SiteNode(lan, "b", membership=None), SiteNode(lan, "a", membership=None, invited_by=("b",))
    await announced(first)
    await announced(told)
    assert (await asyncio.wait_for(first.forming.form(), 5)).lone
    await told.cluster.keep(WELCOME)
    assert not told.cluster.announcement().invited


async def test_a_door_that_does_not_answer_holds_nobody_up(lan: FakeSite) -> None:
    first, second = await fresh(lan, "a"), await fresh(lan, "b")
    lan.peers.shut.add(second.door)
    assert (await asyncio.wait_for(first.forming.form(), 5)).peers == {first.me.id: first.me.raft}
    assert calls(lan, "meet") == [second.door]


async def test_hearsay_of_a_cluster_makes_it_join_instead(lan: FakeSite) -> None:
    """It hears `b` alone, which knows of a cluster that it cannot hear itself."""
    node, other = await fresh(lan, "a"), await fresh(lan, "b")
    member = SiteNode(lan, "m")  # announces nothing
    other.lan.note(member.cluster.announcement())
    welcome = await asyncio.wait_for(node.forming.form(), 5)
    assert welcome.cluster_id == WELCOME.cluster_id
    assert calls(lan, "knock") == [member.door]


async def test_hearsay_of_a_smaller_node_makes_it_wait(lan: FakeSite) -> None:
    smaller = SiteNode(lan, "0", membership=None)  # announces nothing
    node, other = await fresh(lan, "a"), await fresh(lan, "b")
    other.lan.note(smaller.cluster.announcement())
    waiting = asyncio.create_task(node.forming.form())
    await until(lambda: smaller.me.id in [heard.node_id for heard in node.lan.heard()])
    await asyncio.sleep(0.02)
    assert not waiting.done()
    lan.clock.advance(60)  # hearsay does not last
    assert (await asyncio.wait_for(waiting, 5)).lone
    assert calls(lan, "knock") == []


async def test_whoever_it_only_hears_of_is_met_too(lan: FakeSite) -> None:
    """`a` hears `b`, `b` knows `c`, `c` knows the cluster."""
    node, other, third = await fresh(lan, "a"), await fresh(lan, "b"), SiteNode(lan, "c", membership=None)
    member = SiteNode(lan, "m")
    other.lan.note(third.cluster.announcement())
    third.lan.note(member.cluster.announcement())
    welcome = await asyncio.wait_for(node.forming.form(), 5)
    assert welcome.cluster_id == WELCOME.cluster_id
    assert calls(lan, "meet") == [other.door, third.door]


async def test_of_another_name_nobody_is_met(lan: FakeSite) -> None:
    stranger = SiteNode(lan, "b", membership=None)
    stranger.cluster.cluster_name = "attic"
    await announced(stranger)
    assert (await (await fresh(lan, "a")).forming.form()).lone
    assert lan.peers.asked == []


async def test_a_cluster_that_goes_on_for_another_is_nobodys_alone(lan: FakeSite) -> None:
    node = await fresh(lan, "a")
    lone, heir = node.forming.founded(), node.forming.founded(was="e")
    assert (lone.lone, lone.was) == (True, "")
    assert (heir.lone, heir.was) == (False, "e")
    assert lone.key != heir.key and lone.cluster_id != heir.cluster_id
    assert heir.born == lan.clock.now()
    assert heir.doors == {node.me.id: node.door}


# -- copies ---------------------------------------------------------------------------------------------------------


def remembering(site: FakeSite, name: str, *others: SiteNode, **doors: str) -> SiteNode:
    """A node that starts again; it remembers these others, and where it was itself (`was_at`)."""
    node = SiteNode(site, name)
    known = {other.me.id: other.door for other in others}
    mine = {node.me.id: doors["was_at"]} if "was_at" in doors else {}
    node.cluster.membership = msgspec.structs.replace(WELCOME, doors={**known, **mine})
    return node


@pytest.fixture
def site() -> FakeSite:
    """Without multicast: copies are found there too."""
    return FakeSite()


def answering_at(site: FakeSite, node: SiteNode, door: str) -> None:
    site.peers.clusters[door] = node.cluster


async def refused(node: SiteNode, where: str) -> None:
    with pytest.raises(StartFailed, match=rf"{node.me.id}\) runs already, .* at {where}.*empty data folder"):
        await node.forming.form()
    assert node.remembered == []


async def test_a_copy_where_this_node_was_last_is_noticed(site: FakeSite) -> None:
    original = SiteNode(site, "a")
    copied = remembering(site, "a", was_at="old:8000")
    answering_at(site, original, "old:8000")
    await refused(copied, original.door)


async def test_a_copy_that_the_others_know_is_noticed(site: FakeSite) -> None:
    [member] = await site.up("m")
    original = SiteNode(site, "a")
    original.cluster.me = msgspec.structs.replace(original.me, address="old")
    member.lan.note(original.cluster.announcement())
    copied = remembering(site, "a", member, was_at="a:8000")
    answering_at(site, original, "old:8000")
    await refused(copied, "old:8000")


async def test_a_copy_that_announces_itself_is_noticed(lan: FakeSite) -> None:
    original = SiteNode(lan, "a")
    copied = remembering(lan, "a")
    assert copied.discovery
    copied.discovery.twins = ("old:8000",)
    answering_at(lan, original, "old:8000")
    await refused(copied, original.door)


async def test_this_very_node_under_its_old_address_is_no_copy(site: FakeSite) -> None:
    """The machine has two addresses, or was given another one: who answers at the old one is this run of it."""
    node = remembering(site, "a", was_at="old:8000")
    answering_at(site, node, "old:8000")
    assert await node.forming.form() == node.cluster.membership
    assert ("meet", "old:8000") in site.peers.asked


async def test_another_node_at_the_old_address_is_no_copy(site: FakeSite) -> None:
    node, other = remembering(site, "a", was_at="old:8000"), SiteNode(site, "b")
    answering_at(site, other, "old:8000")
    assert await node.forming.form() == node.cluster.membership
    assert ("meet", "old:8000") in site.peers.asked


async def test_where_it_is_now_it_does_not_ask_itself(site: FakeSite) -> None:
    node = remembering(site, "a", was_at="a:8000")
    await node.forming.form()
    assert site.peers.asked == []


async def test_when_nobody_answers_it_goes_on(site: FakeSite) -> None:
    gone = SiteNode(site, "m")
    node = remembering(site, "a", gone, was_at="old:8000")
    site.peers.shut |= {gone.door, "old:8000"}
    before: Membership | None = node.cluster.membership
    assert await node.forming.form() == before
    assert set(site.peers.asked) == {("meet", gone.door), ("meet", "old:8000")}
    assert node.remembered == []


async def test_the_members_of_a_cluster_learn_that_it_is_back(site: FakeSite) -> None:
    [member] = await site.up("m")
    node = remembering(site, "a", member, was_at="old:8000")
    await node.forming.form()
    assert [heard.door for heard in member.lan.heard()] == [node.door]
