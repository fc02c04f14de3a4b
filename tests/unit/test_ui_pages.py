"""The pages of the web app as elements: what they ask of a node, and what they say of its answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from nicegui import Client

from ariacluster_ui import visitors
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


class TestTraps:
    """What NiceGUI leaves open, and is closed here."""

    async def test_no_cookie_is_set_that_another_node_on_this_machine_would_overwrite(self, visitor: Visitor) -> None:
        answer = await visitor.user.http_client.get("/")
        assert "set-cookie" not in answer.headers

    async def test_a_strange_name_is_refused(self, visitor: Visitor) -> None:
        answer = await visitor.user.http_client.get("/", headers={"Host": "evil.example"})
        assert answer.status_code == 403

    async def test_visitors_without_a_websocket_are_soon_forgotten(
        self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            await visitor.user.http_client.get("/")
        assert len(Client.instances) == 3
        monkeypatch.setattr(visitors, "AGE", 0.0)
        monkeypatch.setattr(visitors, "PERIOD", 0.01)
        forgetting = asyncio.create_task(visitors.forget())
        await until(lambda: not Client.instances, "they are forgotten")
        forgetting.cancel()

    async def test_probes_do_not_make_a_page(self, visitor: Visitor) -> None:
        answer = await visitor.user.http_client.get("/healthz", headers={"Host": "probe.example"})
        assert (answer.status_code, answer.text) == (200, "ok\n")
        assert not Client.instances

    async def test_text_of_people_is_never_a_key_of_what_an_element_is_told(
        self, cluster: Lively, visitor: Visitor
    ) -> None:
        """NiceGUI evaluates what stands under a key that begins with a colon."""
        cluster.settings = msgspec.structs.replace(cluster.settings, origin_limits={":onclick": 1})
        await visitor.open("/settings")
        await visitor.emit(SettingsForm, "load")
        form = visitor.one(SettingsForm)
        await until(lambda: form.props["values"], "the settings are shown")
        assert [":onclick", "1"] in form.props["values"]["origin_limits"]
        assert not [key for key in _keys(dict(form.props)) if key.startswith(":")]

    async def test_a_proxy_s_path_is_written_into_the_page_harmlessly(self, visitor: Visitor) -> None:
        answer = await visitor.user.http_client.get(
            "/", headers={"X-Forwarded-Prefix": '/a"><script>alert(1)</script>'}
        )
        assert "<script>alert(1)" not in answer.text
        assert "/a%22%3E%3Cscript%3E" in answer.text


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
