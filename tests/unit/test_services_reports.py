import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import msgspec
import pytest

from ariacluster.domain.errors import InvalidInput, NoLeader
from ariacluster.domain.member import Report
from ariacluster.wire.deltas import Listener, News, Teller
from ariacluster.wire.peers import OverviewFrame, ReportFrame
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import EngineTotals
from ariacluster_node.services import reports as reports_room
from ariacluster_node.services.reports import HALF_LIFE, Peak, Talk
from ariacluster_node.services.worker import Worker
from tests.support.fake_site import FakeSite, SiteNode, turns, until, working

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 0.002)
    monkeypatch.setattr(reports_room, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(reports_room, "LONGEST_PAUSE", 0.002)


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


@contextlib.asynccontextmanager
async def reporting(*nodes: SiteNode) -> AsyncIterator[None]:
    async with cancelled_at_exit(*(node.reports.run() for node in nodes)):
        yield


def up(number: int, report: Report, *, whole: bool = False, got: int = 0, watching: bool = False) -> ReportFrame:
    """As a node that begins with this frame would send it."""
    news = Teller().tell({report.node: (report, 1.0)}, 1.0)
    return ReportFrame(news=msgspec.structs.replace(news, number=number, whole=whole), got=got, watching=watching)


async def soon(awaited: Awaitable[T]) -> T:
    async with asyncio.timeout(5):
        return await awaited


async def test_a_report_reaches_the_leader_and_tells_how_the_node_fares(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, node = await site.up("ab")
    for name, value in {"pressed": True, "pace": 1.5}.items():
        monkeypatch.setattr(Worker, name, value, raising=False)
    node.worker.trouble = "its disk is full"
    monkeypatch.setattr(node.downloader, "totals", lambda: EngineTotals(download_speed=5, upload_speed=6))
    site.clock.advance(60)
    async with reporting(node):
        await until(lambda: leader.roster.view(node.me.id).online)
        site.clock.advance(30)
        await until(lambda: (report := leader.roster.view(node.me.id).report) is not None and report.peak_speed == 5)
    report = leader.roster.view(node.me.id).report
    assert report
    assert (report.trouble, report.pressed, report.pace) == ("its disk is full", True, 1.5)
    assert (report.uptime, report.download_speed, report.upload_speed) == (90, 5, 6)
    assert (report.disk_free, report.engine) == (node.machine.now.disk_free, "1.37.0")


async def test_trouble_is_told_at_once(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, node = await site.up("ab")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    async with reporting(node):
        await until(lambda: leader.roster.view(node.me.id).online)
        told = leader.roster.heard()[node.me.id][0]
        assert told.trouble, "it is starting"
        async with working(node):
            await until(lambda: not leader.roster.heard()[node.me.id][0].trouble)


async def test_a_leader_hears_itself_without_asking(site: FakeSite) -> None:
    [leader] = await site.up("a")
    async with reporting(leader):
        await until(lambda: leader.roster.view(leader.me.id).online)
    assert site.peers.asked == []


async def test_all_reports_go_over_one_stream_and_bear_what_changed(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    async with reporting(node):
        await until(lambda: len(site.peers.frames) >= 5)
        node.machine.now = msgspec.structs.replace(node.machine.now, cpu=55.0)
        await until(lambda: leader.roster.heard()[node.me.id][0].cpu == 55.0)
    assert site.peers.asked == [("report", leader.door)]
    assert [frame.news.whole for frame in site.peers.frames[:5]] == [True] + [False] * 4
    changes = [told.delta.changes for frame in site.peers.frames[1:] for told in frame.news.nodes]
    assert {msgspec.msgpack.encode(change) for change in changes if change != type(change)()} == {
        msgspec.msgpack.encode({"cpu": 55.0})
    }


async def test_the_overview_comes_to_those_that_are_watched(site: FakeSite) -> None:
    leader, node, third = await site.up("abc")
    leader.roster.hear(Report(node=third.me.id, cpu=9.0))
    async with reporting(node):
        await until(lambda: len(site.peers.frames) >= 3)
        assert node.roster.view(third.me.id).report is None, "nobody looks, so nobody is told"
        node.roster.look()
        await until(lambda: node.roster.view(third.me.id).report == Report(node=third.me.id, cpu=9.0))
        site.clock.advance(0.1)
        leader.roster.hear(Report(node=third.me.id, cpu=8.0))
        await until(lambda: node.roster.view(third.me.id).report == Report(node=third.me.id, cpu=8.0))
    assert [frame.watching for frame in site.peers.frames][:3] == [False] * 3


async def test_a_leader_that_does_not_answer_is_asked_again(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    site.peers.shut.add(leader.door)
    async with reporting(node):
        await until(lambda: len(site.peers.asked) >= 6)
        assert node.roster.view(node.me.id).online, "it knows of itself all the same"
        site.peers.shut.clear()
        await until(lambda: leader.roster.view(node.me.id).online)


async def test_a_lost_stream_is_opened_anew_and_begins_whole(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    async with reporting(node):
        await until(lambda: len(site.peers.frames) >= 3)
        site.peers.frames.clear()
        site.peers.cut(leader.door)
        await until(lambda: any(frame.news.whole for frame in site.peers.frames))
    assert site.peers.asked == [("report", leader.door)] * 2


async def test_reports_follow_the_lead(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    old, node, new = await site.up("abc")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    async with reporting(old, node, new):
        await until(lambda: old.roster.view(node.me.id).online and old.roster.view(new.me.id).online)
        site.clock.advance(1)
        site.consensus.lead(new.me.id)
        await until(lambda: new.roster.view(node.me.id).online and new.roster.view(old.me.id).online)
        assert not old.reports._lines, "streams end with the lead"
        assert len(new.reports._lines) == 2
        site.consensus.depose()
        await until(lambda: not new.reports._lines)
        site.peers.asked.clear()
        await turns()
    assert site.peers.asked == []


async def test_a_new_leader_does_not_wait_for_a_slow_disk(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    old, node, new = await site.up("abc")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    async with reporting(node):
        await until(lambda: old.roster.view(node.me.id).online)
        monkeypatch.setattr(node.machine, "vitals", asyncio.Event().wait)
        site.consensus.lead(new.me.id)
        await until(lambda: new.roster.view(node.me.id).online)


async def test_a_node_that_was_elected_anew_is_reported_to_anew(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    async with reporting(leader, node):
        await until(lambda: leader.roster.view(node.me.id).online)
        site.clock.advance(1)
        site.consensus.depose()
        site.consensus.lead(leader.me.id)
        await until(lambda: leader.roster.view(node.me.id).online)
        await until(lambda: {line.term for line in leader.reports._lines} == {site.consensus.term})


async def test_only_the_leader_listens(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    with pytest.raises(NoLeader), node.reports.listen():
        pass
    with leader.reports.listen() as line:
        line.hear(up(1, Report(node=node.me.id), whole=True, watching=True))
        assert (await soon(line.next())).term == site.consensus.term
        site.consensus.leaseless.add(leader.me.id)
        with pytest.raises(NoLeader):
            line.hear(up(2, Report(node=node.me.id)))


async def test_a_stream_that_is_silent_ends_with_the_lead(site: FakeSite) -> None:
    leader, _ = await site.up("ab")
    async with reporting(leader):
        with leader.reports.listen() as line:
            waiting = asyncio.ensure_future(line.next())
            await turns()
            assert not waiting.done()
            site.consensus.depose()
            with pytest.raises(NoLeader):
                await soon(waiting)


async def test_streams_end_with_the_node(site: FakeSite) -> None:
    [leader] = await site.up("a")
    with leader.reports.listen() as line:
        async with reporting(leader):
            await until(lambda: leader.roster.view(leader.me.id).online)
        with pytest.raises(NoLeader):
            await soon(line.next())


async def test_who_reads_slowly_gets_the_latest_when_it_is_ready(site: FakeSite) -> None:
    leader, node, third = await site.up("abc")
    mine = Report(node=node.me.id)
    listener = Listener()
    with leader.reports.listen() as line:
        leader.roster.hear(Report(node=third.me.id, cpu=1.0))
        line.hear(up(1, mine, whole=True, watching=True))
        listener.hear((await soon(line.next())).news)
        for number in range(2, 6):
            leader.roster.hear(Report(node=third.me.id, cpu=float(number)))
            line.hear(up(number, mine, watching=True))
        waiting = asyncio.ensure_future(line.next())
        await turns()
        assert not waiting.done(), "one is on its way"
        assert leader.roster.heard()[node.me.id][0] == mine, "and it is heard all the while"
        line.hear(up(6, mine, got=1, watching=True))
        frame = await soon(waiting)
        assert (frame.news.number, frame.heard) == (2, 6)
        [told] = listener.hear(frame.news)
        assert told.report.cpu == 5.0
        assert node.me.id not in listener.known, "of itself it knows best"


async def test_who_does_not_watch_is_told_nothing(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    with leader.reports.listen() as line:
        line.hear(up(1, Report(node=node.me.id), whole=True))
        waiting = asyncio.ensure_future(line.next())
        await turns()
        assert not waiting.done()
        waiting.cancel()


async def test_a_leader_that_lost_track_asks_for_a_whole_report(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    with leader.reports.listen() as line:
        line.hear(up(1, Report(node=node.me.id, cpu=1.0), whole=True))
        line.hear(up(3, Report(node=node.me.id, cpu=3.0)))
        assert leader.roster.heard()[node.me.id][0].cpu == 1.0
        frame = await soon(line.next())
        assert (frame.again, frame.heard) == (True, 1)
        line.hear(up(4, Report(node=node.me.id, cpu=4.0), whole=True, got=1, watching=True))
        assert leader.roster.heard()[node.me.id][0].cpu == 4.0
        assert not (await soon(line.next())).again


async def test_a_node_that_lost_track_gets_a_whole_overview(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    mine = Report(node=node.me.id)
    leader.roster.hear(Report(node=leader.me.id))
    with leader.reports.listen() as line:
        line.hear(up(1, mine, whole=True, watching=True))
        assert (await soon(line.next())).news.whole
        line.hear(up(2, mine, watching=True, got=1))
        assert not (await soon(line.next())).news.whole
        line.hear(msgspec.structs.replace(up(3, mine, watching=True, got=2), again=True))
        news = (await soon(line.next())).news
        assert (news.number, news.whole, len(news.nodes)) == (3, True, 1)


async def test_a_report_counts_that_comes_before_the_leaders_first_round(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    with leader.reports.listen() as line:
        line.hear(up(1, Report(node=node.me.id), whole=True))
        site.clock.advance(1)
        leader.roster.lead(leader.replica.leads)
        assert leader.roster.view(node.me.id).online


async def test_who_hangs_up_is_offline_unless_it_has_called_again(site: FakeSite) -> None:
    leader, node = await site.up("ab")
    with contextlib.ExitStack() as later:
        with leader.reports.listen() as line:
            line.hear(up(1, Report(node=node.me.id), whole=True))
            again = later.enter_context(leader.reports.listen())
            again.hear(up(1, Report(node=node.me.id), whole=True))
        assert leader.roster.view(node.me.id).online, "the other stream is open"
    assert not leader.roster.view(node.me.id).online
    with leader.reports.listen():
        assert not leader.roster.view(node.me.id).online, "it has not said anything"


@pytest.mark.parametrize("nodes", [(), ("x", "y")])
async def test_a_node_reports_of_itself_alone(site: FakeSite, nodes: tuple[str, ...]) -> None:
    [leader] = await site.up("a")
    news = Teller().tell({node: (Report(node=node), 1.0) for node in nodes}, 1.0)
    with leader.reports.listen() as line, pytest.raises(InvalidInput):
        line.hear(ReportFrame(news=news))
    assert leader.roster.heard() == {}


class Script:
    """Fills `ReportStream` with what a test says."""

    def __init__(self) -> None:
        self.sent: list[ReportFrame] = []
        self.coming: list[OverviewFrame] = []

    async def send(self, frame: ReportFrame) -> None:
        self.sent.append(frame)

    async def receive(self) -> OverviewFrame:
        return self.coming.pop(0)


async def test_a_node_that_lost_track_asks_for_a_whole_overview() -> None:
    script, leader = Script(), Teller()
    talk, mine, other = Talk(script), Report(node="n"), Report(node="o", cpu=1.0)
    leader.tell({"o": (other, 1.0)}, 1.0)
    script.coming = [OverviewFrame(term=3, news=leader.tell({"o": (other, 2.0)}, 2.0), heard=0)]
    await talk.tell(mine, 1.0, watching=True)
    assert (await talk.hear()).nodes == ()
    assert talk.unclear
    await talk.tell(mine, 2.0, watching=True)
    assert [(frame.again, frame.got) for frame in script.sent] == [(False, 0), (True, 2)]
    assert not talk.unclear
    leader.forget()
    script.coming = [OverviewFrame(term=3, news=leader.tell({"o": (other, 2.0)}, 2.0), heard=2)]
    assert [heard.report for heard in (await talk.hear()).nodes] == [other]
    await talk.tell(mine, 3.0, watching=True)
    assert not script.sent[-1].again


async def test_a_node_sends_a_whole_report_when_it_is_asked_to() -> None:
    script, leader = Script(), Teller()
    talk = Talk(script)
    script.coming = [OverviewFrame(term=3, news=leader.tell({}, 1.0), again=True)]
    for _ in range(2):
        await talk.tell(Report(node="n"), 1.0, watching=False)
    await talk.hear()
    assert talk.unclear
    await talk.tell(Report(node="n"), 2.0, watching=False)
    assert [frame.news.whole for frame in script.sent] == [True, False, True]
    assert [frame.news.number for frame in script.sent] == [1, 2, 3]


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


async def test_a_look_asks_on_the_stream_that_is_there(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, node, third = await site.up("abc")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    async with reporting(node):
        await until(lambda: leader.roster.view(node.me.id).online)
        for turn in range(3):
            site.clock.advance(reports_room.FRESH)
            leader.roster.hear(Report(node=third.me.id, cpu=float(turn)))
            await node.reports.freshen()
            assert node.roster.heard()[third.me.id][0].cpu == turn
    assert site.peers.asked == [("report", leader.door)]


async def test_a_look_that_meets_a_change_of_the_lead_asks_the_new_leader(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, node, new = await site.up("abc")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    term, speak = site.consensus.term, reports_room.Line.next

    async def mute_at_first(line: reports_room.Line) -> OverviewFrame:
        return await asyncio.Future() if line.term == term else await speak(line)

    monkeypatch.setattr(reports_room.Line, "next", mute_at_first)
    async with reporting(old, node):
        await until(lambda: bool(old.reports._lines))
        new.roster.hear(Report(node=new.me.id, cpu=7.0))
        looking = asyncio.ensure_future(node.reports.freshen())
        await until(lambda: site.peers.frames[-1].watching)
        site.consensus.lead(new.me.id)
        async with asyncio.timeout(5):
            await looking
        assert node.roster.heard()[new.me.id][0].cpu == 7.0


async def test_a_look_is_not_held_up_by_a_stream_that_ends(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, node = await site.up("ab")
    monkeypatch.setattr(reports_room, "REPORT_PERIOD", 60.0)
    monkeypatch.setattr(reports_room, "ANSWER_WITHIN", 60.0)
    monkeypatch.setattr(reports_room.Line, "next", lambda _: asyncio.Event().wait())
    async with reporting(node):
        await until(lambda: leader.roster.view(node.me.id).online)
        looking = asyncio.ensure_future(node.reports.freshen())
        await until(lambda: site.peers.frames[-1].watching)
        assert not looking.done()
        site.peers.shut.add(leader.door)
        site.peers.cut(leader.door)
        async with asyncio.timeout(5):
            await looking


async def test_a_look_is_not_held_up_by_a_leader_that_cannot_tell(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, node = await site.up("ab")
    site.peers.shut.add(leader.door)
    await node.reports.freshen()
    await node.reports.freshen()
    assert len(site.peers.asked) == 1
    site.peers.shut.clear()
    site.clock.advance(60)
    monkeypatch.setattr(reports_room, "ANSWER_WITHIN", 0.01)
    monkeypatch.setattr(reports_room.Line, "next", lambda _: asyncio.Event().wait())
    async with asyncio.timeout(5):
        await node.reports.freshen()
    assert len(site.peers.asked) == 2
    site.consensus.depose()
    site.clock.advance(60)
    await node.reports.freshen()
    assert len(site.peers.asked) == 2


async def test_the_leader_is_fresh_by_itself(site: FakeSite) -> None:
    [leader] = await site.up("a")
    await leader.reports.freshen()
    assert site.peers.asked == []


def test_a_peak_is_what_was_kept_up_for_a_while() -> None:
    peak = Peak()
    assert peak.take(10_000, 0.0) == 0, "one look is no speed"
    for second in range(1, 31):
        reached = peak.take(1_000, float(second))
    assert reached == pytest.approx(1_000, rel=0.01)
    assert peak.take(5_000, 30.1) < 1_200, "a burst does not count"
    assert peak.take(5_000, 30.1) < 1_200, "and nothing comes of looking twice"


def test_a_peak_loses_half_of_its_worth_in_its_half_life() -> None:
    peak = Peak()
    for second in range(61):
        reached = peak.take(8_000, float(second))
    assert reached == pytest.approx(8_000, rel=0.01)
    for second in range(61, 61 + round(HALF_LIFE)):
        reached = peak.take(0, float(second))
    assert reached == pytest.approx(4_000, rel=0.02)
    for second in range(1_000, 1_060):
        reached = peak.take(6_000, float(second))
    assert reached == pytest.approx(6_000, rel=0.01), "it goes up at once"


def test_news_without_nodes_is_small() -> None:
    assert len(msgspec.msgpack.encode(ReportFrame(news=News(number=9)))) < 32
