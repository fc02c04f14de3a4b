import asyncio
from collections.abc import AsyncIterator

import pytest

from ariacluster.domain.commands import Register, Unregister
from ariacluster.domain.errors import UnknownOutcome
from ariacluster.domain.voters import REPLACE_S, STEADY_S
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import voters as voters_room
from tests.support.fake_site import FakeSite, SiteNode, turns, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voters_room, "TICK", 0.005)


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
    """The loop has looked at what is."""
    await asyncio.sleep(0.02)


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
    for name in "abcd":
        await learner(site, name)
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "abm")
    await seen()
    site.clock.advance(STEADY_S)
    await seen()
    assert voting(site) == "abm"


async def test_a_silent_voter_is_replaced_once_a_learner_is_steady(site: FakeSite) -> None:
    for name in "ab":
        await learner(site, name)
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "abm")
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
    for name in "ab":
        await learner(site, name)
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "abm")
    await site.say(Unregister(site.nodes["b"].me.id))
    await until(lambda: voting(site) == "am")


async def test_a_leader_that_was_taken_off_hands_over_and_the_next_one_removes_it(site: FakeSite) -> None:
    for name in "ab":
        await learner(site, name)
    await seen()
    site.clock.advance(STEADY_S)
    await until(lambda: voting(site) == "abm")
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
