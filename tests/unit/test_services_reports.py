import asyncio

import pytest

from ariacluster.domain.errors import NoLeader
from ariacluster.domain.member import Report
from ariacluster.wire.peers import ReportFrame
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import reports as reports_room
from tests.support.fake_site import FakeSite, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 0.002)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


async def test_a_report_reaches_the_leader_and_tells_how_the_node_fares(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    node.worker.trouble = "its disk is full"
    site.clock.advance(60)
    async with cancelled_at_exit(node.reports.run()):
        await until(lambda: leader.roster.view(node.me.id).online)
    report = leader.roster.view(node.me.id).report
    assert report
    assert report.trouble == "its disk is full"
    assert report.uptime == 60
    assert (report.disk_free, report.engine) == (node.machine.now.disk_free, "1.37.0")


async def test_a_leader_hears_itself_without_asking(site: FakeSite) -> None:
    [leader] = await site.up("a")
    async with cancelled_at_exit(leader.reports.run()):
        await until(lambda: leader.roster.view(leader.me.id).online)
    assert site.peers.asked == []


async def test_the_overview_comes_to_those_that_are_watched(site: FakeSite) -> None:
    leader, node, third = await site.up("abc")
    leader.roster.hear(Report(node=third.me.id, cpu=9.0))
    async with cancelled_at_exit(node.reports.run()):
        await until(lambda: len(site.peers.frames) >= 3)
        assert node.roster.view(third.me.id).report is None, "nobody looks, so nobody is told"
        node.roster.look()
        await until(lambda: node.roster.view(third.me.id).report == Report(node=third.me.id, cpu=9.0))
    assert [frame.watching for frame in site.peers.frames][:3] == [False] * 3


async def test_a_leader_that_does_not_answer_is_asked_again(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    site.peers.shut.add(leader.door)
    async with cancelled_at_exit(node.reports.run()):
        await until(lambda: len(site.peers.asked) >= 3)
        assert node.roster.view(node.me.id).online, "it knows of itself all the same"
        site.peers.shut.clear()
        await until(lambda: leader.roster.view(node.me.id).online)


async def test_reports_follow_the_lead(site: FakeSite) -> None:
    old, node, new = await site.up("abc")
    async with cancelled_at_exit(node.reports.run()):
        await until(lambda: old.roster.view(node.me.id).online)
        site.consensus.lead(new.me.id)
        await until(lambda: new.roster.view(node.me.id).online)
        site.consensus.depose()
        site.peers.asked.clear()
        await until(lambda: node.replica.status is not None and node.replica.status.leader is None)
    assert len(site.peers.asked) <= 1


async def test_only_the_leader_takes_reports(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    frame = ReportFrame(Report(node="x"), watching=True)
    with pytest.raises(NoLeader):
        node.reports.receive(frame)
    overview = leader.reports.receive(frame)
    assert overview
    assert overview.term == site.consensus.term
    assert [heard.report.node for heard in overview.nodes] == ["x"]


async def test_who_is_about_to_look_gets_a_fresh_overview(site: FakeSite) -> None:
    leader, node, third = await site.up("abc")
    leader.roster.hear(Report(node=third.me.id))
    await node.reports.freshen()
    assert node.roster.view(third.me.id).online
    assert node.roster.watched
    assert len(site.peers.frames) == 1
    await node.reports.freshen()
    assert len(site.peers.frames) == 1, "it is fresh still"
    site.clock.advance(reports_room.FRESH)
    await asyncio.gather(*(node.reports.freshen() for _ in range(5)))
    assert len(site.peers.frames) == 2, "who comes meanwhile waits for the same answer"


async def test_a_look_is_not_held_up_by_a_leader_that_cannot_tell(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    site.peers.shut.add(leader.door)
    await node.reports.freshen()
    await node.reports.freshen()
    assert len(site.peers.asked) == 1
    site.consensus.depose()
    site.clock.advance(60)
    await node.reports.freshen()
    assert len(site.peers.asked) == 1


async def test_the_leader_is_fresh_by_itself(site: FakeSite) -> None:
    [leader] = await site.up("a")
    await leader.reports.freshen()
    assert site.peers.asked == []
