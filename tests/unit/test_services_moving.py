"""From one cluster into another: who goes where, when, and that nothing is lost on the way."""

import asyncio

import msgspec
import pytest

from ariacluster.domain.commands import (
    MAX_PROPOSAL_BYTES,
    Absorb,
    Adopt,
    Assign,
    Command,
    Complete,
    Fail,
    Introduce,
    Proposal,
    Refusal,
    Register,
    Remove,
    Submit,
    Succeed,
)
from ariacluster.domain.errors import Conflict, InvalidInput, Moved, NotFound, NotReady
from ariacluster.domain.formation import Applicant, Membership
from ariacluster.domain.member import Member
from ariacluster.domain.snapshot import take
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import MAX_FILES, FailureKind, FileEntry, Result, TaskSpec
from ariacluster.wire import codec
from ariacluster.wire.requests import TaskCreate
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import Heritage
from ariacluster_node.services import moving as moving_room
from ariacluster_node.services import replica as replica_room
from ariacluster_node.services.moving import ASK_PERIOD, HESITATE_S, STRANDED_S
from tests.support.fake_consensus import FakeCluster, FakeConsensus
from tests.support.fake_site import SPEC, FakeSite, SiteNode, until

T, U, V = "1" * 16, "2" * 16, "3" * 16
ALONE, GROWN, THIRD = "a" * 16, "b" * 16, "c" * 16


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_room, "LOOK_PERIOD", 0.002)
    monkeypatch.setattr(moving_room, "TRY_PAUSE", 0.002)
    monkeypatch.setattr(moving_room, "ARRIVED_S", 2.0)
    monkeypatch.setattr(replica_room, "RETRY_PAUSE", 0.002)


class World:
    """A LAN with several clusters. `clusters` by id."""

    def __init__(self) -> None:
        self.site = FakeSite(multicast=True)
        self.clock = self.site.clock
        self.clusters: dict[str, FakeCluster] = {}

    async def node(self, name: str, cluster_id: str, *, lone: bool = False, born: int = 1, was: str = "") -> SiteNode:
        """A node that has been in that cluster for long: written down, a voter, announced."""
        kept = Membership(
            cluster_id=cluster_id,
            cluster_name="default",
            key=cluster_id,
            peers={name * 8: f"{name}:8001"},
            born=born,
            lone=lone,
            was=was,
        )
        node = SiteNode(self.site, name, membership=kept)
        await self.start(node)
        self.clusters[cluster_id].voters.append(node.me.id)
        self.clusters[cluster_id]._settle()
        await node.cluster.register()
        await self.announce(node)
        return node

    async def start(self, node: SiteNode) -> None:
        """As `main` does: take part in the cluster that it belongs to."""
        assert node.cluster.membership
        shared = self.clusters.setdefault(node.cluster.membership.cluster_id, FakeCluster())
        node.consensus = FakeConsensus(node.replica, cluster=shared, me=node.me.id, listens=node.me.raft)
        await node.consensus.start()
        node.replica.attach(node.consensus)

    async def stop(self, node: SiteNode) -> None:
        node.replica.detach()
        await node.consensus.stop()

    async def announce(self, node: SiteNode) -> None:
        assert node.discovery
        await node.discovery.start(node.cluster.announcement())

    async def lives(self, node: SiteNode) -> None:
        """The loop of `main`, from cluster to cluster."""
        while True:
            into = await node.moving.departure()
            await self.go(node, into)
            await node.cluster.register()
            await node.moving.unpack()
            await self.announce(node)

    async def go(self, node: SiteNode, into: Membership) -> None:
        """The step itself."""
        await self.stop(node)
        await node.moving.move(into)
        await self.start(node)
        shared = self.clusters[into.cluster_id]
        if not shared.voters:
            shared.voters.append(node.me.id)
            shared._settle()

    async def looks(self, node: SiteNode, monkeypatch: pytest.MonkeyPatch, times: int = 3) -> None:
        """Return once its `departure` has looked around that often from now on."""
        count = 0
        real = node.moving._whereto

        async def whereto() -> Membership | None:
            nonlocal count
            found = await real()
            count += 1
            return found

        monkeypatch.setattr(node.moving, "_whereto", whereto)
        await until(lambda: count >= times)


@pytest.fixture
async def world() -> World:
    return World()


def leaving(node: SiteNode) -> "asyncio.Task[Membership]":
    return asyncio.create_task(node.moving.departure())


async def ended(task: "asyncio.Task[Membership]") -> None:
    task.cancel()
    await asyncio.wait({task})


def belongs(node: SiteNode) -> str:
    assert node.cluster.membership
    return node.cluster.membership.cluster_id


def calls(world: World, what: str) -> list[str]:
    return [door for call, door in world.site.peers.asked if call == what]


def applicant(name: str, **changes: object) -> Applicant:
    plain = Applicant(node_id=name * 8, node_name=name, cluster_name="default", version="0.1.0")
    return msgspec.structs.replace(plain, **changes)


# -- a lone founder ---------------------------------------------------------------------------------------------


async def test_a_lone_founder_hesitates_and_then_joins_whom_it_hears(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = await world.node("g", GROWN)
    alone = await world.node("a", ALONE, lone=True, born=9)
    departure = leaving(alone)
    await until(lambda: ("meet", grown.door) in world.site.peers.asked)
    world.clock.advance(HESITATE_S - 0.1)
    await world.looks(alone, monkeypatch)
    assert not departure.done()
    assert calls(world, "knock") == []
    world.clock.advance(0.2)
    into = await asyncio.wait_for(departure, 5)
    assert (into.cluster_id, into.key) == (GROWN, GROWN)
    assert belongs(alone) == ALONE, "it has not moved yet"
    with pytest.raises(NotReady, match="dissolving"):
        await alone.cluster.welcome(applicant("x"))


async def test_of_two_lone_ones_exactly_the_younger_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = await world.node("z", ALONE, lone=True, born=1), await world.node("a", GROWN, lone=True, born=2)
    stays, goes = leaving(old), leaving(young)
    await until(lambda: ("meet", old.door) in world.site.peers.asked)
    world.clock.advance(HESITATE_S)
    assert (await asyncio.wait_for(goes, 5)).cluster_id == ALONE
    world.clock.advance(HESITATE_S * 9)
    await world.looks(old, monkeypatch)
    assert not stays.done()
    assert not old.cluster.leaving
    assert old.remembered[-1].lone is False, "it let somebody in"
    await ended(stays)


async def test_whoever_let_somebody_in_meanwhile_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.node("g", GROWN)
    alone = await world.node("a", ALONE, lone=True, born=9)
    departure = leaving(alone)
    await world.looks(alone, monkeypatch)
    await alone.cluster._amend(lone=False)
    world.clock.advance(HESITATE_S * 2)
    await world.looks(alone, monkeypatch)
    assert not departure.done()
    assert calls(world, "knock") == []
    await ended(departure)


async def test_whoever_lets_somebody_in_while_it_knocks_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was let in before it began to leave may have to wait for its disk."""
    await world.node("g", GROWN)
    alone = await world.node("a", ALONE, lone=True, born=9)
    knocks = 0
    real = alone.moving._knock

    async def late(*args: object, **options: object) -> Membership | None:
        nonlocal knocks
        knocks += 1
        assert alone.cluster.leaving, "from here on nobody new is let in"
        await alone.cluster._amend(lone=False)
        return await real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(alone.moving, "_knock", late)
    departure = leaving(alone)
    await world.looks(alone, monkeypatch)
    world.clock.advance(HESITATE_S)
    await until(lambda: knocks > 0)
    await world.looks(alone, monkeypatch)
    assert not departure.done()
    assert not alone.cluster.leaving, "it lets in again"
    await alone.cluster.welcome(applicant("x"))
    assert knocks == 1
    await ended(departure)


async def test_whoever_is_refused_stays_and_tries_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = await world.node("g", GROWN)
    alone = await world.node("a", ALONE, lone=True, born=9)
    world.site.peers.shut.add(grown.door)
    departure = leaving(alone)
    await world.looks(alone, monkeypatch)
    world.clock.advance(HESITATE_S)
    await until(lambda: len(calls(world, "knock")) >= 2)
    await world.looks(alone, monkeypatch)
    assert not alone.cluster.leaving
    world.site.peers.shut.clear()
    assert (await asyncio.wait_for(departure, 5)).cluster_id == GROWN


async def test_others_that_go_away_again_end_the_hesitation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = await world.node("g", GROWN)
    alone = await world.node("a", ALONE, lone=True, born=9)
    departure = leaving(alone)
    await world.looks(alone, monkeypatch)
    world.clock.advance(60)  # longer than hearsay lasts, so that muting is enough
    world.site.air.mute(grown.me.id)
    await world.looks(alone, monkeypatch)
    assert alone.moving._others_since is None
    world.site.air.unmute(grown.me.id)
    await world.looks(alone, monkeypatch)
    assert not departure.done(), "it counts from the beginning"
    await ended(departure)


async def test_who_is_alone_asks_the_lan_anew_now_and_then(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = await world.node("a", ALONE, lone=True)
    assert alone.discovery
    departure = leaving(alone)
    await world.looks(alone, monkeypatch)
    assert alone.discovery.asked == 1
    world.clock.advance(ASK_PERIOD)
    await until(lambda: alone.discovery is not None and alone.discovery.asked == 2)
    await ended(departure)


@pytest.mark.parametrize("grown_too", [True, False], ids=["two grown", "a lone one is there"])
async def test_a_grown_cluster_never_dissolves_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch, grown_too: bool
) -> None:
    await world.node("g", GROWN, born=1, lone=not grown_too)
    mine = await world.node("a", ALONE, born=9)
    departure = leaving(mine)
    await world.looks(mine, monkeypatch)
    world.clock.advance(3600)
    await world.looks(mine, monkeypatch)
    assert not departure.done()
    assert calls(world, "knock") == []
    await mine.cluster.welcome(applicant("x"))
    await ended(departure)


# -- dissolved, recovered ---------------------------------------------------------------------------------------


async def test_the_last_word_of_the_log_is_followed(world: World) -> None:
    leader, follower = await world.node("a", ALONE), await world.node("b", ALONE)
    both = leaving(leader), leaving(follower)
    into = Membership(cluster_id=GROWN, cluster_name="default", key="ab", peers={})
    await leader.replica.change(Succeed(into))
    assert list(await asyncio.wait_for(asyncio.gather(*both), 5)) == [into, into]


async def test_the_leader_of_a_cluster_that_was_recovered_elsewhere_dissolves_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    heir = await world.node("h", GROWN, was=ALONE)
    leader, follower = await world.node("a", ALONE), await world.node("b", ALONE)
    second = leaving(follower)
    await world.looks(follower, monkeypatch)
    assert leader.replica.table.successor is None, "that is the leader's to say"
    assert calls(world, "knock") == []
    first = leaving(leader)
    one, other = await asyncio.wait_for(asyncio.gather(first, second), 5)
    assert one == other == leader.replica.table.successor
    assert (one.cluster_id, one.was) == (GROWN, ALONE)
    assert calls(world, "knock") == [heir.door]


async def test_without_a_leader_it_asks_and_joins_where_its_cluster_went(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = await world.node("g", GROWN)
    await into.replica.change(Absorb(ALONE))
    left = await world.node("a", ALONE)
    await left.cluster._amend(doors={"b" * 8: "b:8000", left.me.id: left.door})
    world.clusters[ALONE].depose()
    departure = leaving(left)
    await world.looks(left, monkeypatch)
    world.clock.advance(STRANDED_S - 0.1)
    await world.looks(left, monkeypatch)
    assert world.site.peers.asked == []
    world.clock.advance(0.2)
    assert (await asyncio.wait_for(departure, 5)).cluster_id == GROWN
    assert world.site.peers.asked == [("meet", "b:8000"), ("knock", into.door)], "the members first; not itself"


async def test_without_a_leader_it_joins_the_heir_of_its_cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it knows only from where the other member was."""
    heir = await world.node("b", GROWN, was=ALONE)
    left = await world.node("a", ALONE)
    world.site.air.mute(left.me.id)
    await left.cluster._amend(doors={heir.me.id: heir.door, left.me.id: left.door})
    world.clusters[ALONE].depose()
    departure = leaving(left)
    await world.looks(left, monkeypatch)
    world.clock.advance(STRANDED_S)
    into = await asyncio.wait_for(departure, 5)
    assert (into.cluster_id, into.was) == (GROWN, ALONE)


async def test_a_stranded_node_is_refused_where_nobody_knows_its_cluster(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown = await world.node("g", GROWN)
    left = await world.node("a", ALONE)
    with pytest.raises(Conflict, match="cluster merge") as caught:
        await grown.cluster.welcome(applicant("a", leaves=ALONE, stranded=True))
    assert caught.value.field == "leaves"
    world.clusters[ALONE].depose()
    departure = leaving(left)
    await world.looks(left, monkeypatch)
    for tries in (1, 2):
        world.clock.advance(STRANDED_S)
        await until(lambda: calls(world, "knock") == [grown.door] * tries)  # noqa: B023
        await world.looks(left, monkeypatch)
    assert not departure.done()
    assert len(calls(world, "knock")) == 2, "and not more often"
    await ended(departure)


async def test_a_leader_that_is_back_ends_the_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.node("g", GROWN)
    left = await world.node("a", ALONE)
    departure = leaving(left)
    world.clusters[ALONE].depose()
    await world.looks(left, monkeypatch)
    world.clock.advance(STRANDED_S - 1)
    world.clusters[ALONE].lead(left.me.id)
    await world.looks(left, monkeypatch)
    world.clusters[ALONE].depose()
    await world.looks(left, monkeypatch)
    world.clock.advance(2)
    await world.looks(left, monkeypatch)
    assert calls(world, "knock") == []
    await ended(departure)


async def test_a_leader_asks_where_the_missing_ones_were(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may have begun the cluster anew, where no multicast tells of it."""
    leader = await world.node("a", ALONE)
    world.clusters[ALONE].voters += ["b" * 8, "c" * 8]
    await world.node("b", ALONE)
    heir = await world.node("c", GROWN, was=ALONE)
    world.clusters[ALONE]._settle()
    world.site.air.mute(leader.me.id)
    assert leader.replica.leads
    await leader.cluster._amend(doors={node * 8: f"{node}:8000" for node in "abc"})
    departure = leaving(leader)
    assert (await asyncio.wait_for(departure, 5)).was == ALONE
    assert calls(world, "meet") == [heir.door], "who is there need not be asked"


# -- by a word --------------------------------------------------------------------------------------------------


async def test_two_clusters_are_merged(world: World) -> None:
    grown = await world.node("g", GROWN)
    leader, follower = await world.node("a", ALONE), await world.node("b", ALONE)
    await grown.replica.change(Submit(U, SPEC))
    await leader.replica.propose([Submit(T, SPEC), Assign(T, 1, follower.me.id, ""), Submit(V, SPEC), Remove(V)])
    async with cancelled_at_exit(world.lives(leader), world.lives(follower)):
        await until(lambda: follower.moving._bound is not None)
        await asyncio.wait_for(follower.moving.merge(GROWN[:3]), 5)
        assert belongs(follower) == GROWN
        await until(lambda: belongs(leader) == GROWN and leader.replica.settled)
        await until(lambda: set(leader.replica.table.members) == {"g" * 8, "a" * 8, "b" * 8})
    table = grown.replica.table
    assert list(table.tasks) == [U, T]
    assert table.tasks[T].node == follower.me.id
    assert (list(table.absorbed), list(table.removed)) == ([ALONE], [V])
    assert follower.memory.kept == leader.memory.kept == {}


async def test_merge_needs_another_cluster(world: World) -> None:
    mine = await world.node("a", ALONE)
    departure = leaving(mine)
    await asyncio.sleep(0)
    with pytest.raises(NotFound, match="No other cluster called 'default'") as caught:
        await mine.moving.merge("")
    assert caught.value.field == "into"
    one, two = await world.node("g", GROWN), await world.node("h", THIRD)
    with pytest.raises(Conflict, match=f"{GROWN} and {THIRD}") as ambiguous:
        await mine.moving.merge("")
    assert ambiguous.value.field == "into"
    with pytest.raises(NotFound):
        await mine.moving.merge("d")
    world.site.peers.shut |= {one.door, two.door}
    with pytest.raises(Conflict, match="does not let this one in"):
        await mine.moving.merge(GROWN[:1])
    assert mine.replica.table.successor is None
    assert not departure.done()
    await ended(departure)


async def test_merge_needs_a_cluster_of_its_own(world: World) -> None:
    fresh = SiteNode(world.site, "f", membership=None)
    with pytest.raises(NotReady):
        await fresh.moving.merge("")


async def test_merge_tells_when_it_takes_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_room, "ARRIVED_S", 0.01)
    mine = await world.node("a", ALONE)
    await world.node("g", GROWN)
    departure = leaving(mine)
    await asyncio.sleep(0)
    with pytest.raises(NotReady, match="under way"):
        await mine.moving.merge("")
    assert (await asyncio.wait_for(departure, 5)).cluster_id == GROWN, "it goes on all the same"
    with pytest.raises((Moved, Conflict, NotReady)):
        await mine.moving.merge("")


async def test_the_other_clusters_are_told(world: World) -> None:
    mine = await world.node("a", ALONE)
    for name, cluster in (("h", THIRD), ("g", GROWN), ("i", GROWN)):
        await world.node(name, cluster)
    await world.announce(await world.node("k", GROWN))  # now three members: it comes first
    assert [[heard.node_name for heard in nodes] for nodes in mine.moving.others()] == [["g", "i", "k"], ["h"]]
    assert [heard.node_name for heard in mine.moving.find(THIRD)] == ["h"]


async def test_recovering_is_for_who_lost_the_majority(world: World) -> None:
    mine = await world.node("a", ALONE)
    with pytest.raises(NotReady):
        await mine.moving.recover()
    await mine.replica.change(Submit(T, SPEC))
    async with cancelled_at_exit(world.lives(mine)):
        await until(lambda: mine.moving._bound is not None)
        with pytest.raises(Conflict, match="has its majority"):
            await mine.moving.recover()
        world.clusters[ALONE].voters += ["x" * 8, "y" * 8]
        world.clusters[ALONE]._settle()
        await asyncio.wait_for(mine.moving.recover(), 5)
    now = mine.cluster.membership
    assert now and now.cluster_id != ALONE
    assert (now.was, now.lone, now.peers) == (ALONE, False, {mine.me.id: mine.me.raft})
    assert now.key != ALONE
    assert list(mine.replica.table.tasks) == [T]
    assert list(mine.replica.table.absorbed) == [ALONE], "so that the others may come"


# -- the move ---------------------------------------------------------------------------------------------------

INTO = Membership(cluster_id=GROWN, cluster_name="default", key="ab", peers={}, doors={})


async def test_the_heritage_is_on_the_disk_before_the_membership(world: World) -> None:
    mine = await world.node("a", ALONE)
    await mine.replica.change(Submit(T, SPEC))
    mine.memory.saved.clear()
    await world.stop(mine)
    await mine.moving.move(INTO)
    assert mine.memory.saved == ["heritage", "membership", "tidy"]
    assert mine.cluster.membership == INTO
    assert (mine.replica.table.tasks, mine.replica.table.members, mine.replica.settled) == ({}, {}, False)
    heritage = mine.memory.kept[GROWN]
    assert (heritage.of, heritage.into) == (ALONE, GROWN)
    assert list(codec.decode_snapshot(heritage.chunks).tasks) == [T]


async def test_killed_before_the_membership_is_saved_it_is_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await world.node("a", ALONE)
    await mine.replica.change(Submit(T, SPEC))

    async def killed(_: Membership) -> None:
        raise KeyError("killed")

    monkeypatch.setattr(mine.cluster, "keep", killed)
    with pytest.raises(KeyError):
        await mine.moving.move(INTO)
    assert belongs(mine) == ALONE
    assert list(mine.replica.table.tasks) == [T]
    assert mine.replica.settled
    await mine.memory.tidy(ALONE)  # as at the next start
    assert mine.memory.kept == {}
    entries = world.clusters[ALONE].last
    await mine.moving.unpack()
    assert world.clusters[ALONE].last == entries


async def test_killed_while_it_moves_on_it_still_has_what_it_brought_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await world.node("a", ALONE)
    await mine.memory.save_heritage(packed(THIRD, ALONE, Submit(U, SPEC)))

    async def killed(_: Membership) -> None:
        raise KeyError("killed")

    monkeypatch.setattr(mine.cluster, "keep", killed)
    with pytest.raises(KeyError):
        await mine.moving.move(INTO)
    await mine.memory.tidy(ALONE)
    await mine.moving.unpack()
    assert list(mine.replica.table.tasks) == [U]


# -- what it brings ---------------------------------------------------------------------------------------------


def table_of(*commands: Command) -> TaskTable:
    table = TaskTable()
    outcomes = table.apply(Proposal(id="old", at=5, by="a", commands=commands)).outcomes
    assert set(outcomes) <= {None}
    return table


def packed(of: str, into: str, *commands: Command, table: TaskTable | None = None) -> Heritage:
    chunks = list(codec.encode_snapshot(take(table or table_of(*commands))))
    return Heritage(of=of, into=into, chunks=chunks)


def said(world: World, cluster: str) -> list[Command]:
    """Every command in that cluster's log."""
    return [c for payload in world.clusters[cluster]._log for c in codec.decode_proposal(payload).commands]


BOB = Member(id="b" * 8, name="b", address="b", port=8000, raft="b:8001")


@pytest.fixture
async def arriving(world: World) -> SiteNode:
    """A node that has come into the cluster GROWN, and is written down there."""
    node = await world.node("a", GROWN)
    node.replica.settled = False
    return node


async def test_all_that_it_carries_arrives(world: World, arriving: SiteNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving_room, "ROWS_AT_ONCE", 2)
    rows = [Submit(f"{n:016x}", SPEC) for n in range(9)]
    given = Assign(rows[3].task, 1, BOB.id, "there")
    old: list[Command] = [Register(BOB), *rows, given, Remove(rows[0].task), Absorb(THIRD)]
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, *old)
    before = len(said(world, GROWN))
    await arriving.moving.unpack()
    table = arriving.replica.table
    assert list(table.tasks) == [row.task for row in rows[1:]], "in their order"
    assert table.tasks[rows[3].task].assigned_to == BOB.id
    assert (BOB.id in table.members, list(table.removed)) == (True, [rows[0].task])
    assert list(table.absorbed) == [THIRD, ALONE]
    commands = said(world, GROWN)[before:]
    assert isinstance(commands[0], Introduce), "no row names a stranger"
    assert commands[-2:] == [Absorb(THIRD), Absorb(ALONE)]
    assert arriving.memory.kept == {}
    assert arriving.replica.settled
    assert arriving.moving._arrived.is_set()


async def test_who_carries_nothing_is_settled_at_once(world: World, arriving: SiteNode) -> None:
    arriving.memory.kept[THIRD] = packed(ALONE, THIRD, Submit(T, SPEC))  # never got there
    before = world.clusters[GROWN].last
    await arriving.moving.unpack()
    assert world.clusters[GROWN].last == before
    assert arriving.replica.settled
    assert arriving.moving._arrived.is_set()


async def test_it_tries_until_all_is_there(world: World, arriving: SiteNode) -> None:
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, Submit(T, SPEC))
    world.clusters[GROWN].full = True
    unpacking = asyncio.create_task(arriving.moving.unpack())
    await asyncio.sleep(0.01)
    assert not unpacking.done()
    assert not arriving.replica.settled
    assert arriving.memory.kept, "a crash now loses nothing"
    world.clusters[GROWN].full = False
    await asyncio.wait_for(unpacking, 5)
    assert list(arriving.replica.table.tasks) == [T]
    assert arriving.memory.kept == {}


async def test_what_another_member_brought_already_is_not_brought_again(world: World, arriving: SiteNode) -> None:
    """Of a table that was closed all carry the same."""
    closed = table_of(Submit(T, SPEC), Succeed(INTO))
    await arriving.replica.propose([Absorb(ALONE, whole=True)])
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, table=closed)
    before = world.clusters[GROWN].last
    await arriving.moving.unpack()
    assert world.clusters[GROWN].last == before
    assert arriving.memory.kept == {}
    assert arriving.replica.settled


@pytest.mark.parametrize(
    ("closed", "absorbed"),
    [(True, None), (False, Absorb(ALONE, whole=True)), (True, Absorb(ALONE))],
    ids=["the first", "an open one", "only what a survivor knew is there"],
)
async def test_else_everyone_brings_what_it_has(
    world: World, arriving: SiteNode, closed: bool, absorbed: Absorb | None
) -> None:
    """The first of a closed table; and of one that was not, everyone: each may know something that the others do not."""
    table = table_of(Submit(T, SPEC), *((Succeed(INTO),) if closed else ()))
    if absorbed:
        await arriving.replica.propose([absorbed])
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, table=table)
    await arriving.moving.unpack()
    assert list(arriving.replica.table.tasks) == [T]


async def test_brought_twice_it_is_there_once(world: World, arriving: SiteNode) -> None:
    for _ in range(2):  # killed before the heritage was dropped
        arriving.memory.kept[GROWN] = packed(ALONE, GROWN, Register(BOB), Submit(T, SPEC), Submit(U, SPEC), Remove(U))
        await arriving.moving.unpack()
    table = arriving.replica.table
    assert (list(table.tasks), list(table.removed), list(table.absorbed)) == ([T], [U], [ALONE])
    assert table.next_seq == 2


async def test_what_is_still_to_be_brought_goes_along_when_it_moves_on(world: World) -> None:
    mine = await world.node("a", ALONE)
    await mine.replica.change(Submit(T, SPEC))
    mine.memory.kept[ALONE] = packed(THIRD, ALONE, Register(BOB), Submit(U, SPEC), Submit(V, SPEC), Remove(V))
    await world.go(mine, INTO)
    assert list(mine.memory.kept) == [GROWN]
    await mine.cluster.register()
    await mine.moving.unpack()
    table = mine.replica.table
    assert list(table.tasks) == [T, U]
    assert (list(table.absorbed), list(table.removed), BOB.id in table.members) == ([THIRD, ALONE], [V], True)


async def test_what_is_still_to_be_brought_goes_along_out_of_a_closed_cluster(world: World) -> None:
    """Another member is there first, with all that the closed table had: and that was not all that this one carries."""
    mine, other = await world.node("a", ALONE), await world.node("b", ALONE)
    await mine.replica.change(Submit(T, SPEC))
    mine.memory.kept[ALONE] = packed(THIRD, ALONE, Submit(U, SPEC))
    grown = await world.node("g", GROWN)
    into = await grown.cluster.welcome(applicant("b", leaves=ALONE))
    await mine.replica.change(Succeed(into))
    await until(lambda: other.replica.table.successor is not None)
    for node in (other, mine):
        await world.go(node, into)
        await node.cluster.register()
        await node.moving.unpack()
    assert list(grown.replica.table.tasks) == [T, U]
    assert set(grown.replica.table.absorbed) == {ALONE, THIRD}


async def test_nothing_is_dropped_where_it_was_refused(world: World, arriving: SiteNode) -> None:
    """The cluster that it came into is itself dissolving: what it brought must go along."""
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, Submit(T, SPEC))
    third = await world.node("h", THIRD)
    into = await third.cluster.welcome(applicant("a", leaves=GROWN))
    await arriving.replica.change(Succeed(into))
    unpacking = asyncio.create_task(arriving.moving.unpack())
    await asyncio.sleep(0.02)
    unpacking.cancel()
    await asyncio.wait({unpacking})
    await world.go(arriving, into)
    await arriving.cluster.register()
    await arriving.moving.unpack()
    assert list(third.replica.table.tasks) == [T]


LONG = TaskSpec(urls=(f"http://origin/{'x' * (MAX_PROPOSAL_BYTES - 4000)}",))
RESULT = Result(total_bytes=1, file_count=MAX_FILES, files=tuple(FileEntry(f"{n}" * 30, 1) for n in range(MAX_FILES)))


async def test_a_row_that_is_too_large_for_the_log_loses_the_long_parts_of_its_story(
    world: World, arriving: SiteNode
) -> None:
    old = (Register(BOB), Submit(T, SPEC), Submit(U, LONG), Assign(U, 1, BOB.id, ""), Complete(U, 1, RESULT))
    heritage = packed(ALONE, GROWN, *old)
    row = codec.decode_snapshot(heritage.chunks).tasks[U]
    assert len(msgspec.msgpack.encode(Adopt(row))) > MAX_PROPOSAL_BYTES
    arriving.memory.kept[GROWN] = heritage
    await asyncio.wait_for(arriving.moving.unpack(), 5)
    there = arriving.replica.table.tasks
    assert list(there) == [T, U]
    assert there[U].spec == LONG
    assert there[U].result == msgspec.structs.replace(RESULT, files=())


async def test_a_row_that_is_too_large_even_so_stops_nothing(world: World, arriving: SiteNode) -> None:
    """A task may fill the log's entry by itself; its row has more to tell."""
    spec = TaskSpec(urls=(f"http://origin/{'x' * (MAX_PROPOSAL_BYTES - 200)}",))
    hopeless = Fail(U, 1, FailureKind.LINK, 3, "It is gone. " * 30, 0.5)
    old = (Register(BOB), Submit(T, SPEC), Submit(U, spec), Assign(U, 1, BOB.id, ""), hopeless, Submit(V, SPEC))
    [outcome] = await arriving.replica.propose([Submit("4" * 16, spec)])
    assert not isinstance(outcome, Refusal), "such a task may be there"
    arriving.memory.kept[GROWN] = packed(ALONE, GROWN, *old)
    tries = 0
    real = arriving.replica.propose

    async def propose(commands: list[Command]) -> object:
        nonlocal tries
        tries += 1
        assert tries < 50, "it tries for ever, and nothing else on the loop can run"
        return await real(commands)

    arriving.replica.propose = propose  # type: ignore[method-assign,assignment]
    await asyncio.wait_for(arriving.moving.unpack(), 5)
    assert {T, V} <= set(arriving.replica.table.tasks)
    assert arriving.replica.settled


async def test_secrets_are_sealed_anew_for_where_they_go(world: World) -> None:
    """Each cluster has its own key: what came along is opened with the new one, and with no other."""
    node, other = await world.node("m", ALONE), await world.node("n", GROWN)
    create = TaskCreate(url="http://ada:s3cret@origin/f", headers=["Cookie: s3cret"], tags={"no": "node"})
    spec = (await node.tasks.submit(create, None)).id
    before = node.task(spec).spec
    into = other.cluster.membership
    assert into
    await world.go(node, into)
    await node.moving.unpack()
    await until(lambda: spec in other.replica.table.tasks)
    there = other.task(spec).spec
    assert there != before and "s3cret" not in repr(there)
    for member in (node, other):
        opened = member.secrets.opened(there)
        assert (opened.urls, opened.headers) == (("http://ada:s3cret@origin/f",), ("Cookie: s3cret",))
    with pytest.raises(InvalidInput, match="another cluster"):
        other.secrets.opened(before)
