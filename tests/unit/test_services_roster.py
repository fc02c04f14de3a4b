import pytest

from ariacluster.domain.commands import Register
from ariacluster.domain.member import Progress, Report
from ariacluster.wire.deltas import Heard
from ariacluster.wire.peers import Overview
from ariacluster_node.services.roster import OFFLINE_AFTER, WATCH_FOR
from tests.support.fake_site import FakeSite, SiteNode


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("ab")
    return site


@pytest.fixture
def node(site: FakeSite) -> SiteNode:
    return site.nodes["a"]


def said(node: SiteNode, cpu: float = 0.0) -> Report:
    return Report(node=node.me.id, cpu=cpu)


async def test_a_member_that_was_never_heard_has_no_silence_and_is_offline(site: FakeSite, node: SiteNode) -> None:
    views = {view.member.name: view for view in node.roster.views()}
    assert set(views) == {"a", "b"}
    assert all((v.report, v.silent_for, v.online) == (None, None, False) for v in views.values())


async def test_silence_is_counted_from_the_last_report(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    node.roster.hear(said(b))
    site.clock.advance(OFFLINE_AFTER - 0.1)
    view = node.roster.view(b.me.id)
    assert view.online
    assert view.silent_for == pytest.approx(OFFLINE_AFTER - 0.1)
    site.clock.advance(0.2)
    assert not node.roster.view(b.me.id).online
    node.roster.hear(said(b))
    assert node.roster.view(b.me.id).online


async def test_who_hung_up_is_offline_until_it_calls_again_and_its_silence_counts_as_ever(
    site: FakeSite, node: SiteNode
) -> None:
    b = site.nodes["b"]
    node.roster.lead(True)
    node.roster.hear(said(b))
    site.clock.advance(1)
    node.roster.hung_up(b.me.id)
    view = node.roster.view(b.me.id)
    assert not view.online
    assert view.silent_for == pytest.approx(1)
    node.roster.hear(said(b))
    assert node.roster.view(b.me.id).online


async def test_only_the_leader_goes_by_who_hung_up(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    node.roster.lead(True)
    node.roster.hear(said(b))
    node.roster.hung_up(b.me.id)
    node.roster.lead(False)
    assert node.roster.view(b.me.id).online, "its streams ended with the lead"
    site.clock.advance(1)
    node.roster.lead(True)
    assert not node.roster.view(b.me.id).online, "it has to call this leader"


async def test_what_people_call_the_time_may_jump(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    node.roster.hear(said(b))
    site.clock.jump(3600)
    assert node.roster.view(b.me.id).silent_for == 0


async def test_a_new_leader_counts_silence_from_its_first_moment(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    node.roster.hear(said(b))
    site.clock.advance(100)
    node.roster.lead(True)
    site.clock.advance(2)
    node.roster.lead(True)
    view = node.roster.view(b.me.id)
    assert view.silent_for == pytest.approx(2)
    assert not view.online, "given time is not the same as being there"
    node.roster.lead(False)
    assert node.roster.view(b.me.id).silent_for == pytest.approx(102)
    node.roster.lead(True)
    assert node.roster.view(b.me.id).silent_for == 0


async def test_a_leader_counts_the_silence_of_a_node_that_it_never_heard(site: FakeSite, node: SiteNode) -> None:
    node.roster.lead(True)
    site.clock.advance(3)
    assert node.roster.view(site.nodes["b"].me.id).silent_for == pytest.approx(3)


async def test_an_overview_counts_ages_on_and_keeps_the_younger_report(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"], site.nodes["b"]
    node.roster.hear(said(a, cpu=1.0))
    site.clock.advance(1)
    node.roster.hear_all(Overview(7, (Heard(said(a, cpu=2.0), 3.0), Heard(said(b, cpu=3.0), 0.5))))
    site.clock.advance(1)
    mine, other = node.roster.view(a.me.id), node.roster.view(b.me.id)
    assert mine.report == said(a, cpu=1.0)
    assert mine.silent_for == pytest.approx(2)
    assert other.report == said(b, cpu=3.0)
    assert other.silent_for == pytest.approx(1.5)
    node.roster.hear_all(Overview(7, (Heard(said(a, cpu=4.0), 1.0),)))
    assert node.roster.view(a.me.id).report == said(a, cpu=4.0)


async def test_watchers_are_told_of_members_and_when_each_was_heard(site: FakeSite, node: SiteNode) -> None:
    a, b, stranger = site.nodes["a"], site.nodes["b"], SiteNode(site, "z")
    began = site.clock.monotonic()
    node.roster.hear(said(a))
    site.clock.advance(2)
    node.roster.hear(said(b))
    node.roster.hear(said(stranger))
    assert node.roster.heard() == {a.me.id: (said(a), began), b.me.id: (said(b), began + 2)}


async def test_a_new_leader_takes_nobody_for_online_who_has_not_reported_to_it(site: FakeSite, node: SiteNode) -> None:
    a, b = site.nodes["a"], site.nodes["b"]
    node.roster.hear(said(a))
    node.roster.hear(said(b, cpu=1.0))
    node.roster.hear_all(Overview(7, (Heard(said(b, cpu=2.0), 0.0),)))
    site.clock.advance(1)
    assert node.roster.view(b.me.id).online
    node.roster.lead(True)
    assert node.roster.view(a.me.id).online, "itself it knows"
    view = node.roster.view(b.me.id)
    assert not view.online
    assert (view.report, view.silent_for) == (said(b, cpu=1.0), 0), "what was said last stays visible"
    node.roster.hear_all(Overview(7, (Heard(said(b, cpu=3.0), 0.0),)))
    assert not node.roster.view(b.me.id).online, "what another one tells does not count"
    node.roster.hear(said(b))
    assert node.roster.view(b.me.id).online
    site.clock.advance(1)
    node.roster.lead(True)
    assert node.roster.view(b.me.id).online, "it leads on"
    node.roster.lead(False)
    node.roster.lead(True)
    assert not node.roster.view(b.me.id).online, "it leads again"


async def test_nobody_flickers_where_an_election_is_only_watched(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    node.roster.hear_all(Overview(7, (Heard(said(b), 1.0),)))
    site.consensus.lead(b.me.id)
    node.roster.lead(False)
    site.clock.advance(OFFLINE_AFTER - 1.1)
    assert node.roster.view(b.me.id).online
    node.roster.hear_all(Overview(8, (Heard(said(b), OFFLINE_AFTER - 0.5),)))
    assert node.roster.view(b.me.id).online
    assert node.roster.view(b.me.id).silent_for == pytest.approx(OFFLINE_AFTER - 0.5)


async def test_a_report_of_a_stranger_shows_once_it_is_a_member(site: FakeSite, node: SiteNode) -> None:
    stranger = SiteNode(site, "z")
    node.roster.hear(said(stranger))
    assert {view.member.name for view in node.roster.views()} == {"a", "b"}
    await site.say(Register(stranger.me))
    assert node.roster.view(stranger.me.id).online


async def test_progress_is_what_the_tasks_node_said(node: SiteNode) -> None:
    node.roster.hear(Report(node="x", tasks={"t": Progress(attempt=1, completed=5)}))
    assert node.roster.progress("x", "t") == Progress(attempt=1, completed=5)
    assert node.roster.progress("x", "u") is None
    assert node.roster.progress("y", "t") is None
    assert node.roster.progress(None, "t") is None


async def test_one_look_keeps_it_watched_for_a_while(site: FakeSite, node: SiteNode) -> None:
    assert not node.roster.watched
    node.roster.look()
    site.clock.advance(WATCH_FOR - 0.1)
    assert node.roster.watched
    site.clock.advance(0.2)
    assert not node.roster.watched


async def test_a_download_on_a_node_that_is_silent_has_its_bytes_and_no_speed(site: FakeSite, node: SiteNode) -> None:
    b = site.nodes["b"]
    fast = Progress(attempt=1, completed=5, total=9, speed=7, connections=2)
    node.roster.hear(Report(node=b.me.id, tasks={"t": fast}))
    assert node.roster.progress(b.me.id, "t") == fast
    site.clock.advance(OFFLINE_AFTER + 0.1)
    assert node.roster.progress(b.me.id, "t") == Progress(attempt=1, completed=5, total=9)
