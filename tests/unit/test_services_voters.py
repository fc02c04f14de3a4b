import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from ariacluster.domain.commands import Register, Unregister
from ariacluster.domain.errors import UnknownOutcome
from ariacluster.domain.voters import REPLACE_S, STEADY_S, Standing
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import voters as voters_room
from tests.support.fake_site import FakeSite, SiteNode, turns, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voters_room, "TICK", 0.005)
    look = voters_room.Voters._look

    def counted(self: voters_room.Voters) -> list[Standing]:
        LOOKS.append(self)
        return look(self)

    monkeypatch.setattr(voters_room.Voters, "_look", counted)


LOOKS: list[voters_room.Voters] = []
"""Whose loop has looked, in order."""


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """A leader `m` that alone votes, and its loop."""
    site = FakeSite()
    [leader] = await site.up("m")
    async with cancelled_at_exit(leader.voters.run()):
        yield site


def voting(site: FakeSite) -> str:
    return "".join(sorted(node[0] for node in site.consensus.voters))


async def learner(site: FakeSite, name: str) -> SiteNode:
    """One that follows, and is written down."""
    node = SiteNode(site, name)
    await node.join_log()
    site.nodes[name] = node
    await site.say(Register(node.me))
    return node


async def seen() -> None:
    """The loop has looked at what is, and has done what it made of it: it looks again."""
    before = len(LOOKS)
    await until(lambda: len(LOOKS) > before + 1)


async def three_vote(site: FakeSite, learners: str = "ab") -> None:
    """The first two of these vote with the leader."""
    for name in learners:
        await learner(site, name)
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "abm")


async def test_a_learner_votes_once_it_has_been_steady(site: FakeSite) -> None:
    await learner(site, "a")
    await seen()
    site.clock.advance(STEADY_S - 0.1)
    await seen()
    assert voting(site) == "m"
    site.clock.advance(0.2)
    await until(lambda: voting(site) == "am")


async def test_a_break_begins_the_count_anew(site: FakeSite) -> None:
    node = await learner(site, "a")
    await seen()
    site.clock.advance(STEADY_S - 0.1)
    site.consensus.cut(node.me.id)
    await seen()
    site.consensus.heal(node.me.id)
    await seen()
    site.clock.advance(STEADY_S - 0.1)
    await seen()
    assert voting(site) == "m"
    site.clock.advance(0.2)
    await until(lambda: voting(site) == "am")


async def test_who_is_far_behind_is_not_steady(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voters_room, "CLOSE_ENTRIES", 0)
    asked: list[str] = []
    leader = site.nodes["m"].consensus
    real = leader.add_voter

    async def noted(node: str, *, timeout: float) -> None:
        asked.append(node)
        await real(node, timeout=timeout)

    monkeypatch.setattr(leader, "add_voter", noted)
    node = await learner(site, "a")
    site.consensus.stuck.add(node.me.id)
    await leader.propose(b"", timeout=1)
    await seen()
    site.clock.advance(STEADY_S * 2)
    await seen()
    assert asked == []
    site.consensus.stuck.clear()
    site.consensus._settle()
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "am")


async def test_three_vote_and_more_follow(site: FakeSite) -> None:
    await three_vote(site, "abcd")
    await seen()
    site.clock.advance(STEADY_S)
    await seen()
    assert voting(site) == "abm"


async def test_a_silent_voter_is_replaced_once_a_learner_is_steady(site: FakeSite) -> None:
    await three_vote(site)
    site.consensus.cut(site.nodes["a"].me.id)
    site.consensus.silent[site.nodes["a"].me.id] = REPLACE_S
    await seen()
    assert voting(site) == "abm", "silence alone takes nobody's vote"
    await learner(site, "c")
    await seen()
    assert voting(site) == "abm"
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "bcm")


async def test_the_vote_of_who_was_taken_off_goes_too(site: FakeSite) -> None:
    await three_vote(site)
    await site.say(Unregister(site.nodes["b"].me.id))
    await until(lambda: voting(site) == "am")


async def test_a_leader_that_was_taken_off_hands_over_and_the_next_one_removes_it(site: FakeSite) -> None:
    await three_vote(site)
    async with cancelled_at_exit(*(site.nodes[name].voters.run() for name in "ab")):
        await site.say(Unregister(site.nodes["m"].me.id))
        await until(lambda: voting(site) == "ab")
    assert site.leader().me.name in "ab"


@pytest.mark.parametrize("hindered", ["leaseless", "follower"])
async def test_only_a_leader_that_is_sure_acts(site: FakeSite, hindered: str) -> None:
    leader = site.nodes["m"]
    node = await learner(site, "a")
    await seen()
    if hindered == "leaseless":
        site.consensus.leaseless.add(leader.me.id)
    else:
        site.consensus.voters.append(node.me.id)
        site.consensus.lead(node.me.id)
        await learner(site, "b")
    before = voting(site)
    await seen()
    site.clock.advance(STEADY_S * 2)
    await seen()
    assert voting(site) == before


async def test_a_new_leader_counts_steadiness_from_its_first_look(site: FakeSite) -> None:
    await learner(site, "a")
    await seen()
    site.clock.advance(STEADY_S - 0.1)
    site.consensus.depose()
    await seen()
    site.consensus.lead(site.nodes["m"].me.id)
    await seen()
    site.clock.advance(STEADY_S - 0.1)
    await seen()
    assert voting(site) == "m"
    site.clock.advance(0.2)
    await until(lambda: voting(site) == "am")


async def test_what_did_not_work_is_tried_again(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = site.nodes["m"]
    tries = 0
    real = leader.consensus.add_voter

    async def hesitant(node: str, *, timeout: float) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise UnknownOutcome("the fake does not tell")
        await real(node, timeout=timeout)

    monkeypatch.setattr(leader.consensus, "add_voter", hesitant)
    await learner(site, "a")
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "am")
    await turns()
    assert tries == 3


# -- saying goodbye -----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def pair(names: str = "mn") -> AsyncIterator[FakeSite]:
    """Nodes that all vote, and the loop of each but the last, which is about to stop (`main` ends its loops first)."""
    site = FakeSite()
    nodes = await site.up(names)
    async with cancelled_at_exit(*(node.voters.run() for node in nodes[:-1])):
        yield site


async def test_of_two_the_one_that_stops_gives_up_its_vote() -> None:
    async with pair() as site:
        goes = site.nodes["n"]
        await asyncio.wait_for(goes.voters.farewell(), 5)
        assert voting(site) == "m"
        assert site.nodes["m"].replica.table.members[goes.me.id].resigned
        assert site.leader().me.name == "m"


async def test_a_leader_that_stops_hands_over_first() -> None:
    async with pair() as site:
        goes = site.nodes["n"]
        site.consensus.lead(goes.me.id)
        await until(lambda: goes.replica.leads)
        await asyncio.wait_for(goes.voters.farewell(), 5)
        assert voting(site) == "m"
        assert site.leader().me.name == "m"
        await goes.consensus.stop()
        await site.leader().replica.change(Register(site.leader().me))  # it goes on alone


async def test_it_votes_again_when_it_is_back() -> None:
    async with pair() as site:
        back = site.nodes["n"]
        await back.voters.farewell()
        await seen()
        site.clock.advance(STEADY_S * 2)
        await seen()
        assert voting(site) == "m"
        await back.cluster.register()
        await seen()
        site.clock.advance(STEADY_S)
        await until(lambda: voting(site) == "mn")


@pytest.mark.parametrize("who", ["three", "alone", "a learner", "missing", "no cluster"])
async def test_else_it_just_stops(who: str) -> None:
    async with pair({"three": "mno", "alone": "m"}.get(who, "mn")) as site:
        goes = list(site.nodes.values())[-1]
        if who == "a learner":
            goes = await learner(site, "z")
        if who == "missing":
            site.consensus.cut(site.nodes["m"].me.id)
        if who == "no cluster":
            goes.replica.detach()
        before, entries = voting(site), site.consensus.last
        await asyncio.wait_for(goes.voters.farewell(), 0.5)  # it does not even try
        assert (voting(site), site.consensus.last) == (before, entries)


async def test_the_goodbye_does_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voters_room, "FAREWELL", 0.05)
    async with pair() as site:
        goes, stays = site.nodes["n"], site.nodes["m"]

        async def never(node: str, *, timeout: float) -> None:
            raise UnknownOutcome("the fake does not tell")

        monkeypatch.setattr(stays.consensus, "remove_voter", never)
        began = asyncio.get_running_loop().time()
        await asyncio.wait_for(goes.voters.farewell(), 5)
        assert 0.05 <= asyncio.get_running_loop().time() - began < 1
        assert voting(site) == "mn", "it stops with its vote"


async def test_a_goodbye_that_nobody_takes_raises_nothing() -> None:
    async with pair() as site:
        site.consensus.full = True
        await asyncio.wait_for(site.nodes["n"].voters.farewell(), 5)
        assert voting(site) == "mn"
