import asyncio
from collections.abc import AsyncIterator

import pytest

from ariacluster.domain.commands import Configure
from ariacluster.domain.history import Kind
from ariacluster.domain.member import Report
from ariacluster.domain.policy import Policy
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import attendance as attendance_room
from ariacluster_node.services.attendance import Attendance
from tests.support.fake_site import FakeSite, SiteNode, until

TIMEOUT, FORGET = 20.0, 100.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance_room, "TICK", 0.002)


class Looks:
    """How often the attendance of a node has looked."""

    def __init__(self, node: SiteNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = node.roster.views

        def views() -> object:
            self.count += 1
            return real()

        monkeypatch.setattr(node.roster, "views", views)


def attendance(site: FakeSite, node: SiteNode) -> Attendance:
    return Attendance(node.replica, node.roster, site.clock, node_timeout=TIMEOUT, forget_after=FORGET)


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    """Three voters of which `a` leads, each with its attendance."""
    site = FakeSite()
    nodes = await site.up("abc")
    hear(site, "abc")
    nodes[0].roster.lead(True)
    async with cancelled_at_exit(*(attendance(site, node).run() for node in nodes)):
        await until(lambda: led(site) == 1)
        yield site


def hear(site: FakeSite, names: str) -> None:
    """These report to whoever leads."""
    for name in names:
        site.leader().roster.hear(Report(node=site.nodes[name].me.id))


def led(site: FakeSite) -> int:
    """The term of the latest leader that is written down."""
    return site.leader().replica.table.term


def missed(site: FakeSite, name: str, *, at: str = "") -> int:
    table = site.nodes[at].replica.table if at else site.leader().replica.table
    return table.members[site.nodes[name].me.id].missed_since


async def away(site: FakeSite, name: str, seconds: float) -> None:
    """The others go on reporting, `name` does not."""
    site.clock.advance(seconds)
    hear(site, "abc".replace(name, ""))


async def looked(site: FakeSite, monkeypatch: pytest.MonkeyPatch, times: int = 3) -> None:
    looks = Looks(site.leader(), monkeypatch)
    await until(lambda: looks.count >= times)


async def test_the_leader_writes_down_who_is_away_and_who_is_back(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = site.clock.now()
    await away(site, "c", TIMEOUT)
    await looked(site, monkeypatch)
    assert missed(site, "c") == 0
    await away(site, "c", 1)
    await until(lambda: missed(site, "c", at="b") == since)
    entries = site.consensus.last
    await away(site, "c", 10)
    await looked(site, monkeypatch)
    assert site.consensus.last == entries, "once"
    hear(site, "abc")
    await until(lambda: missed(site, "c", at="b") == 0)
    assert missed(site, "a") == missed(site, "b") == 0


async def test_who_was_away_for_too_long_is_forgotten(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    await away(site, "c", TIMEOUT + 1)
    await until(lambda: missed(site, "c") > 0)
    await away(site, "c", FORGET - TIMEOUT - 1)
    await looked(site, monkeypatch)
    gone = site.nodes["c"].me.id
    assert gone in site.leader().replica.table.members
    await away(site, "c", 0.1)
    await until(lambda: gone not in site.nodes["b"].replica.table.members)


async def test_a_clock_that_jumps_forgets_nobody_who_is_there(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = site.consensus.last
    site.clock.jump(10**6)
    await looked(site, monkeypatch)
    assert site.consensus.last == entries


async def test_a_follower_writes_nothing(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hears less than the leader, and would take for gone whoever reports there."""
    said: list[object] = []
    for name in "bc":
        monkeypatch.setattr(site.nodes[name].replica, "propose", said.append)
        site.nodes[name].roster.hear(Report(node=site.nodes["a"].me.id))
        site.nodes[name].roster.lead(True)
    entries = site.consensus.last
    await away(site, "", TIMEOUT + 1)
    await looked(site, monkeypatch)
    assert (said, site.consensus.last) == ([], entries)


async def test_a_leader_that_is_not_sure_writes_nothing(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.consensus.leaseless.add(site.leader().me.id)
    entries = site.consensus.last
    await away(site, "c", TIMEOUT + 1)
    looks = Looks(site.leader(), monkeypatch)
    await asyncio.sleep(0.02)
    assert (looks.count, site.consensus.last) == (0, entries)
    site.consensus.leaseless.clear()
    await until(lambda: missed(site, "c") > 0)


async def test_the_next_leader_goes_on_counting(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    since = site.clock.now()
    await away(site, "c", TIMEOUT + 1)
    await until(lambda: missed(site, "c", at="b") == since)
    site.nodes["a"].roster.lead(False)
    site.consensus.lead(site.nodes["b"].me.id)
    site.nodes["b"].roster.lead(True)
    hear(site, "ab")
    await looked(site, monkeypatch)
    assert led(site) == 2, "it said that it leads, once"
    assert [e.kind for e in site.nodes["c"].replica.table.history.entries].count(Kind.LEADER_ELECTED) == 2
    assert missed(site, "c") == since, "that it has not heard it yet does not mean that it is back"
    await away(site, "c", FORGET - TIMEOUT - 0.9)
    await until(lambda: site.nodes["c"].me.id not in site.nodes["a"].replica.table.members)


async def test_times_that_people_set_hold_at_once(site: FakeSite) -> None:
    await site.say(Configure(Policy(node_timeout=6.0, forget_after=60.0)))
    await away(site, "c", 6.1)
    await until(lambda: missed(site, "c") > 0)
    await away(site, "c", 60)
    await until(lambda: site.nodes["c"].me.id not in site.nodes["a"].replica.table.members)


async def test_what_could_not_be_written_down_is_so_later(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.consensus.full = True
    since = site.clock.now()
    await away(site, "c", TIMEOUT + 1)
    await looked(site, monkeypatch)
    assert missed(site, "c") == 0
    site.consensus.full = False
    await until(lambda: missed(site, "c") == since)
