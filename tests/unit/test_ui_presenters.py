"""What the web app makes of the wire's resources: rows for the browser, sentences for people."""

from datetime import UTC, datetime

import msgspec
import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.requests import NodePatch, SettingsPatch
from ariacluster.wire.resources import HistoryEntry, SettingsResource, StatusResource
from ariacluster_ui.catalogue import ENGLISH
from ariacluster_ui.pages.node_orders import patch_of
from ariacluster_ui.presenters import activity, cluster, nodes, settings, units
from ariacluster_ui.words import t
from tests.support.fake_node import node
from tests.support.lively_world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(nodes=5, tasks=120)


def status(world: World, **changes: object) -> StatusResource:
    return msgspec.structs.replace(world.status(), **changes)


class TestGlance:
    def test_it_counts_what_is_there(self, world: World) -> None:
        glance = cluster.glance(world.status(), {one.id: one for one in world.nodes})
        assert glance["online"] == glance["members"] == 5
        assert glance["active"] == world.status().tasks_by_status["downloading"]
        assert glance["slots"] == sum(one.total_slots for one in world.nodes)
        assert glance["leader"]["name"] == world.nodes[2].name

    def test_offline_nodes_and_witnesses_lend_neither_slots_nor_space(self, world: World) -> None:
        alpha, beta, gamma = node("alpha"), node("beta", status="offline"), node("gamma", witness=True, total_slots=0)
        glance = cluster.glance(world.status(), {one.id: one for one in (alpha, beta, gamma)})
        assert glance["slots"] == alpha.total_slots
        assert glance["disk_free"] == alpha.disk_free
        assert (glance["online"], glance["members"]) == (2, 3)


class TestProblems:
    def test_nothing_is_wrong(self, world: World) -> None:
        assert cluster.problems(world.status(), {one.id: one for one in world.nodes}) == []

    def test_no_leader_comes_first_and_says_whether_a_majority_is_there(self, world: World) -> None:
        now = world.status()
        gone = msgspec.structs.replace(now.cluster, leader=None, has_quorum=False)
        found = cluster.problems(status(world, cluster=gone), {"id-a": node("a", status="offline")})
        assert [one["tone"] for one in found] == ["error", "error"]
        assert "majority" in found[0]["text"]
        electing = msgspec.structs.replace(gone, has_quorum=True)
        assert "election" in cluster.problems(status(world, cluster=electing), {})[0]["text"]

    def test_a_node_that_is_away_is_named_and_linked(self, world: World) -> None:
        [problem] = cluster.problems(world.status(), {"id-nas": node("nas", status="offline")})
        assert problem["strong"] == "nas"
        assert problem["to"] == "/nodes/id-nas"

    def test_many_are_told_together(self, world: World) -> None:
        away = {f"id-{i}": node(f"n{i}", status="offline") for i in range(6)}
        [problem] = cluster.problems(world.status(), away)
        assert "6 nodes are offline: n0, n1, n2 and 3 more." in problem["text"]

    def test_what_the_node_says_leads_to_the_node_that_it_is_about(self, world: World) -> None:
        members = {"id-nas": node("nas"), "id-nas2": node("nas 2")}
        told = status(world, problems=["nas 2 takes no tasks: the disk is full.", "Something else."])
        about, else_ = cluster.problems(told, members)
        assert about["to"] == "/nodes/id-nas 2"
        assert else_["to"] is None

    def test_the_rest_is_counted(self, world: World) -> None:
        found = cluster.problems(status(world, problems=[f"Problem {i}." for i in range(9)]), {})
        assert len(found) == cluster.MAX_PROBLEMS
        assert found[-1]["text"] == "And 4 more to see to."


class TestNodes:
    def test_who_it_is(self) -> None:
        row = nodes.member_row(node("nas", tags={"disk": "ssd", "old": ""}, ui_port=8080), leader="id-nas", colour=9)
        assert row["leads"] and row["c"] == 1
        assert row["tags"] == ["disk=ssd", "old"]
        assert row["address"] == "192.0.2.7:8000"

    def test_an_address_of_ipv6_stands_in_brackets(self) -> None:
        assert nodes.member_row(node("a", address="fd00::7"), leader=None, colour=0)["address"] == "[fd00::7]:8000"

    @pytest.mark.parametrize(
        ("free", "total", "tone"), [(50, 100, "ok"), (12, 100, "warn"), (5, 100, "error"), (0, 0, "ok")]
    )
    def test_a_full_disk_is_seen(self, free: int, total: int, tone: str) -> None:
        assert nodes.disk_tone(free, total) == tone

    def test_what_changes_a_little_is_no_news(self) -> None:
        before = nodes.load_row(node("a", uptime=61.0, cpu_usage=7.2, disk_free=812_000_000_001))
        after = nodes.load_row(node("a", uptime=119.0, cpu_usage=7.4, disk_free=812_001_000_000))
        assert before == after


class TestActivity:
    def entry(self, **changes: object) -> HistoryEntry:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        fresh = HistoryEntry(seq=7, at=at, kind="task_completed", text="nas has downloaded a.iso.", task="1" * 16)
        return msgspec.structs.replace(fresh, **changes)

    def test_it_leads_to_the_task_and_knows_its_name_in_the_text(self) -> None:
        row = activity.entry_row(self.entry(task_name="a.iso", node="id-nas", node_name="nas"))
        assert (row["to"], row["strong"], row["icon"], row["tone"]) == ("/tasks/" + "1" * 16, "a.iso", "check", "ok")

    def test_what_is_gone_leads_nowhere(self) -> None:
        assert activity.entry_row(self.entry(kind="task_removed"))["to"] is None

    def test_a_kind_of_a_newer_node_is_shown_plainly(self) -> None:
        row = activity.entry_row(self.entry(kind="moon_landed", text="The moon landed.", task_name="x"))
        assert (row["icon"], row["strong"]) == ("info", "")

    def test_filters_name_known_kinds(self) -> None:
        assert {kind for kinds in activity.GROUPS.values() for kind in kinds} <= activity.LOOKS.keys()
        assert activity.shows("task_failed", "failed") and not activity.shows("task_failed", "nodes")
        assert activity.shows("anything", "")


class TestUnits:
    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 KB"),
            (999_600, "1.00 MB"),
            (12_345_678, "12.3 MB"),
            (123e9, "123 GB"),
        ],
    )
    def test_sizes(self, count: float, text: str) -> None:
        assert units.size(count) == text

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(8, "8 s"), (185, "3m 05s"), (7500, "2h 05m"), (86_400, "1 day"), (4 * 86_400 + 5, "4 days")],
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert units.duration(seconds) == text

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("50 MB/s", 50_000_000),
            ("5M", 5_000_000),
            ("1.5GiB", 1_610_612_736),
            ("12", 12),
            ("fast", None),
            ("5 i", None),
        ],
    )
    def test_sizes_that_people_write(self, text: str, count: int | None) -> None:
        assert units.bytes_of(text) == count

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("20 s", 20),
            ("10 min", 600),
            ("1h 30m", 5400),
            ("7 days", 604_800),
            ("90", 90),
            ("soon", None),
            ("5 m x", None),
        ],
    )
    def test_times_that_people_write(self, text: str, seconds: float | None) -> None:
        assert units.seconds_of(text) == seconds

    @pytest.mark.parametrize("seconds", [0.5, 1, 20, 90, 600, 3600, 86_400, 604_800])
    def test_what_is_written_is_read_again(self, seconds: float) -> None:
        assert units.seconds_of(units.span(seconds)) == seconds

    @pytest.mark.parametrize("count", [1, 999, 1000, 1_500_000, 2_000_000_000, 3 * 10**12])
    def test_no_size_is_rounded_away(self, count: int) -> None:
        assert units.bytes_of(units.plain_size(count)) == count


class TestSettings:
    BEFORE = SettingsResource(
        strategy="least_loaded", origin_connections=0, origin_limits={"a.example": 4, "b.example": 2}, min_free=10**9
    )

    def test_all_that_is_shown_is_read_again_as_it_was(self) -> None:
        patch = settings.patch(settings.texts(self.BEFORE), self.BEFORE)
        assert patch.strategy == "least_loaded"
        assert patch.min_free == 10**9
        assert patch.origin_limits == {"a.example": 4, "b.example": 2}
        assert patch.node_timeout is None

    def test_only_what_was_changed_is_named(self) -> None:
        assert settings.patch({"slots": "8"}, self.BEFORE) == SettingsPatch(slots=8)

    def test_a_server_that_is_taken_out_loses_its_limit(self) -> None:
        patch = settings.patch({"origin_limits": [["A.example ", "6"], ["", ""]]}, self.BEFORE)
        assert patch.origin_limits == {"a.example": 6, "b.example": None}

    @pytest.mark.parametrize(
        ("field", "value", "hint"),
        [
            ("min_free", "lots", "2 GB"),
            ("node_timeout", "a while", "10 min"),
            ("max_attempts", "-1", "whole number"),
            ("max_attempts", "0", "cannot be"),
            ("origin_limits", [["", "4"]], "name of its server"),
        ],
    )
    def test_what_makes_no_sense_is_named(self, field: str, value: object, hint: str) -> None:
        with pytest.raises(InvalidInput, match=hint) as refused:
            settings.patch({field: value}, self.BEFORE)
        assert refused.value.field == field


class TestTuning:
    def test_only_what_was_changed_is_asked_for(self) -> None:
        before = node("a", total_slots=5, download_limit=5_000_000)
        said = {"slots": "5", "download_limit": "", "upload_limit": "2 MB/s"}
        assert patch_of(said, before) == NodePatch(download_limit=0, upload_limit=2_000_000)
        assert patch_of({"slots": "", "download_limit": "5M"}, before) == NodePatch(slots=None)

    @pytest.mark.parametrize(("field", "text"), [("slots", "many"), ("slots", "0"), ("upload_limit", "quick")])
    def test_what_makes_no_sense_is_named(self, field: str, text: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            patch_of({"slots": "5", field: text}, node("a"))
        assert refused.value.field == field


class TestWords:
    def test_one_is_said_differently(self) -> None:
        assert t("node.left", n=1) == "1 task left"
        assert t("node.left", n=1200) == "1,200 tasks left"

    def test_one_of_something_belongs_to_many_of_it(self) -> None:
        assert not [key for key in ENGLISH if key.endswith(".one") and key.removesuffix(".one") not in ENGLISH]
