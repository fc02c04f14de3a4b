"""The pages of the web app as elements: what they ask of a node, and what they say of its answer."""

from collections.abc import AsyncIterator

import pytest

from ariacluster_ui.shell import Frame, PageHead
from ariacluster_ui.widgets.ask import Ask
from ariacluster_ui.widgets.empty import Empty
from ariacluster_ui.widgets.nodes import NodeCards, NodeHero
from ariacluster_ui.widgets.rooms import Activity, SettingsForm
from tests.support.lively import Lively
from tests.support.processes import until
from tests.support.visit import Visitor, visit


@pytest.fixture
async def cluster() -> AsyncIterator[Lively]:
    async with Lively(nodes=3, tasks=50, pace=0) as lively:
        yield lively


@pytest.fixture
async def visitor(cluster: Lively) -> AsyncIterator[Visitor]:
    async with visit(cluster) as one:
        yield one


@pytest.mark.parametrize("path", ["/", "/tasks", "/nodes", "/activity", "/settings"])
async def test_every_page_has_its_head(visitor: Visitor, path: str) -> None:
    await visitor.open(path)
    assert visitor.one(PageHead).props["title"]
    assert visitor.one(Frame)


async def test_a_page_that_is_none_is_told_inside_the_frame(visitor: Visitor) -> None:
    await visitor.open("/")
    await visitor.go("/nothing/of/ours")
    assert visitor.one(Frame)
    assert visitor.one(Empty).props["heading"] == "There is no such page"


class TestNodes:
    async def test_a_node_is_drained_after_a_question_and_taken_back_by_undo(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        node = cluster.nodes[0]
        await visitor.open("/nodes")
        await visitor.emit(NodeCards, "act", {"verb": "drain", "id": node.id})
        assert node.name in (await visitor.shown(Ask)).props["heading"]
        await visitor.emit(Ask, "yes", {"within": "3600"})
        toast = await visitor.told("is being emptied")
        assert cluster.said[-1] == ("POST", f"/nodes/{node.id}/drain", {"finish_within": 3600.0})
        await until(lambda: not visitor.all(Ask), "the dialog is gone")
        await visitor.emit(Frame, "toast", toast["id"])
        await until(lambda: cluster.said[-1][1].endswith("/undrain"), "it is taken back")

    async def test_limits_are_set_and_nonsense_is_said_in_the_dialog(self, cluster: Lively, visitor: Visitor) -> None:
        node = cluster.nodes[1]
        await visitor.open(f"/nodes/{node.name}")
        await visitor.emit(NodeHero, "act", {"verb": "tune", "id": node.id})
        said = {field["name"]: field["value"] for field in (await visitor.shown(Ask)).props["fields"]}
        await visitor.emit(Ask, "yes", said | {"download_limit": "quick"})
        await until(lambda: visitor.one(Ask).props["errorField"] == "download_limit", "the field is named")
        await visitor.emit(Ask, "yes", said | {"download_limit": "20 MB/s"})
        await visitor.told("new limits")
        assert cluster.said[-1][2] == {"download_limit": 20_000_000}

    async def test_what_the_node_refuses_is_said_and_may_be_tried_again(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        node = cluster.nodes[1]
        await visitor.open("/nodes")
        await visitor.emit(NodeCards, "act", {"verb": "remove", "id": node.id})
        await visitor.emit(Ask, "yes", {"force": False})
        await until(lambda: "Drain it" in visitor.one(Ask).props["error"], "the refusal is shown")
        await visitor.emit(Ask, "yes", {"force": True})
        await visitor.told("off the cluster")

    async def test_leadership_is_handed_over(self, cluster: Lively, visitor: Visitor) -> None:
        await visitor.open("/nodes")
        await visitor.emit(NodeCards, "act", {"verb": "lead", "id": cluster.nodes[0].id})
        await visitor.told("asked to lead")

    async def test_a_node_that_is_none_is_told(self, visitor: Visitor) -> None:
        await visitor.open("/nodes/nobody")
        await visitor.emit(NodeHero, "act", {"verb": "drain", "id": "nobody"})
        await visitor.told("not a member")


class TestActivity:
    async def test_older_entries_come_by_kind(self, cluster: Lively, visitor: Visitor) -> None:
        cluster.elect(1)
        await visitor.open("/activity")
        await visitor.emit(Activity, "older", {"show": "leader", "node": "", "before": None, "key": "leader|"})
        news = await visitor.news("older")
        assert [row["kind"] for row in news["rows"]] == ["leader_elected"]
        assert news["ended"]


class TestSettings:
    async def test_they_are_shown_saved_and_shown_again(self, cluster: Lively, visitor: Visitor) -> None:
        await visitor.open("/settings")
        await visitor.emit(SettingsForm, "load")
        await until(lambda: visitor.one(SettingsForm).props["values"], "the settings are shown")
        await visitor.emit(SettingsForm, "save", {"strategy": "round_robin", "min_free": "2 GB"})
        await visitor.told("Saved")
        assert cluster.said[-1] == ("PATCH", "/settings", {"strategy": "round_robin", "min_free": 2_000_000_000})
        assert visitor.one(SettingsForm).props["values"]["min_free"] == "2 GB"

    async def test_nonsense_is_named_and_nothing_is_saved(self, cluster: Lively, visitor: Visitor) -> None:
        await visitor.open("/settings")
        await visitor.emit(SettingsForm, "save", {"node_timeout": "a while"})
        form = visitor.one(SettingsForm)
        await until(lambda: form.props["errorField"] == "node_timeout", "the field is named")
        assert cluster.said == []
