"""What the web app knows of a cluster, and how it tells its tabs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any, Self

import msgspec
import pytest

from ariacluster.client.stream import Lost
from ariacluster.wire import events
from ariacluster.wire.resources import HistoryEntry, NamedId, TaskResource
from ariacluster_ui.live import BEHIND, TOTAL_DOWN, Shown, Store
from ariacluster_ui.push import FAST, LOADS, Push, Tab, as_script, difference
from ariacluster_ui.series import Series
from tests.support.fake_node import node, running, task
from tests.support.lively_world import World

NOW = 1_000_000.0


class Wire:
    """A stream that tells what a test puts into it, and hears what is to be watched."""

    url = "http://node"

    def __init__(self) -> None:
        self.watched: list[list[str]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> events.Frame | Lost:
        await asyncio.Event().wait()
        raise StopAsyncIteration

    async def watch(self, ids: Iterable[str], *, top: int | None = None) -> None:
        self.watched.append(list(ids))


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def store(clock: Clock, wire: Wire) -> AsyncIterator[Store]:
    made = Store([wire.url], opening=lambda _: wire, clock=clock)
    running = asyncio.create_task(made.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def whole(*nodes: Any) -> events.Nodes:
    return events.Nodes(nodes=[msgspec.to_builtins(one) for one in nodes], whole=True)


def some(frame: TaskResource, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(frame, **changes))
    return {"id": frame.id} | {name: row[name] for name in changes}


class TestSeries:
    def test_what_comes_later_was_nothing_before(self) -> None:
        series = Series(3)
        series.take(1, {"a": 5})
        series.take(2, {"a": 6, "b": 1})
        assert series.rows() == {"a": [5, 6], "b": [0, 1]}

    def test_only_the_last_minutes_are_kept_and_what_is_gone_is_forgotten(self) -> None:
        series = Series(3)
        series.take(1, {"a": 5, "b": 9})
        for second in range(4):
            series.take(second, {"b": second})
        assert series.rows() == {"b": [1, 2, 3]}
        assert series.length == 3


class TestStore:
    async def test_nodes_are_told_in_parts(self, store: Store) -> None:
        await store.hear(whole(node("a"), node("b")))
        await store.hear(events.Nodes(nodes=[{"id": "id-a", "download_speed": 7}], gone=["id-b"]))
        assert store.nodes["id-a"].download_speed == 7
        assert store.nodes["id-a"].name == "a"
        assert list(store.nodes) == ["id-a"]

    async def test_a_whole_takes_the_place_of_what_was_told_before(self, store: Store) -> None:
        await store.hear(whole(node("a")))
        await store.hear(whole(node("b")))
        assert list(store.nodes) == ["id-b"]

    async def test_colours_stay_when_nodes_come_and_go(self, store: Store) -> None:
        await store.hear(whole(node("b"), node("c")))
        await store.hear(events.Nodes(nodes=[msgspec.to_builtins(node("a"))], gone=["id-b"]))
        assert store.colours == {"id-b": 0, "id-c": 1, "id-a": 2}

    async def test_it_knows_how_old_it_is_while_nobody_speaks(self, store: Store, clock: Clock) -> None:
        assert store.age is None and store.lost
        await store.hear(whole(node("a")))
        await store.hear(Lost("the connection was refused"))
        clock.now += 12
        assert store.lost == "the connection was refused"
        assert store.age == 12
        await store.hear(events.Summary(status=World(nodes=1, tasks=1).status()))
        assert store.lost is None and store.age is None

    async def test_a_lost_node_downloads_nothing_that_we_know_of(self, store: Store) -> None:
        await store.hear(whole(node("a", download_speed=5)))
        await store.hear(events.Summary(status=World(nodes=1, tasks=9).status()))
        store.measure()
        await store.hear(Lost("gone"))
        store.measure()
        assert store.series.row("id-a") == [5, 0]
        assert store.series.row(TOTAL_DOWN)[1] == 0

    async def test_watched_rows_are_the_union_of_all_tabs(self, store: Store, wire: Wire) -> None:
        await store.watch("tab 1", ["b", "a"])
        await store.watch("tab 2", ["a"])
        await store.watch("tab 1", [])
        assert wire.watched == [["a", "b"], ["a"]]

    async def test_rows_are_told_in_parts_and_forgotten_when_nobody_watches(self, store: Store) -> None:
        one = task(1, **running(10, 100))
        await store.watch("tab", [one.id])
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(one)]))
        await store.hear(events.Tasks(tasks=[some(one, completed_bytes=60)]))
        assert store.tasks[one.id].completed_bytes == 60
        await store.watch("tab", [])
        assert store.tasks == {}

    async def test_a_task_that_is_gone_is_no_longer_shown(self, store: Store) -> None:
        one = task(1)
        await store.watch("tab", [one.id])
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(one)]))
        await store.hear(events.Tasks(tasks=[], gone=[one.id]))
        assert store.tasks == {}


@pytest.mark.parametrize("later", range(6))
async def test_an_end_is_heard_at_whatever_moment_the_history_comes(
    store: Store, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def history(**_: Any) -> list[HistoryEntry]:
        asked.set()
        await answer.wait()
        return []

    monkeypatch.setattr(store.client, "history", history)
    hello = events.Hello(node=NamedId("a", "a"), version="0", seq=0, resumed=False)
    hearing = asyncio.create_task(store.hear(hello))
    await asked.wait()
    answer.set()
    for _ in range(later):
        await asyncio.sleep(0)
    if hearing.cancel():
        with pytest.raises(asyncio.CancelledError):
            await hearing


class TestShown:
    async def test_what_was_read_stands_until_the_stream_is_as_new(self, store: Store, clock: Clock) -> None:
        before = task(1, status="downloading")
        after = msgspec.structs.replace(before, status="paused", updated_at=before.updated_at + timedelta(seconds=1))
        shown = Shown(store, clock=clock)
        await store.watch("tab", [before.id])
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(before)]))
        shown.read([after])
        assert shown.now() == {before.id: after}
        moved = msgspec.structs.replace(after, status="pending", updated_at=after.updated_at + timedelta(seconds=1))
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(moved)]))
        assert shown.now() == {before.id: moved}

    async def test_how_far_one_is_comes_with_the_stream(self, store: Store, clock: Clock) -> None:
        before = task(1, completed_bytes=1)
        shown = Shown(store, clock=clock)
        shown.read([before])
        await store.watch("tab", [before.id])
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(before) | {"completed_bytes": 2}]))
        assert shown.now()[before.id].completed_bytes == 2

    async def test_a_node_with_a_slow_clock_is_believed_a_moment_later(self, store: Store, clock: Clock) -> None:
        before = task(1, status="downloading")
        after = msgspec.structs.replace(before, status="paused", updated_at=before.updated_at - timedelta(seconds=60))
        shown = Shown(store, clock=clock)
        shown.read([before])
        await store.watch("tab", [before.id])
        await store.hear(events.Tasks(tasks=[msgspec.to_builtins(after)]))
        clock.now += BEHIND + 0.1
        assert shown.now() == {before.id: after}


class Browser:
    """A client of NiceGUI's as far as pushing needs one."""

    def __init__(self) -> None:
        self.id = "c1"
        self.has_socket_connection = True
        self.is_deleted = False
        self.scripts: list[str] = []

    def run_javascript(self, code: str) -> None:
        self.scripts.append(code)

    def on_delete(self, _: Any) -> None: ...
    def on_disconnect(self, _: Any) -> None: ...

    @property
    def last(self) -> tuple[int, dict[str, dict[str, Any]]]:
        """The number of the last push, and its news by kind."""
        number, _, news = self.scripts[-1].removeprefix("A.push(").removesuffix(")").partition(",")
        return int(number), {one["k"]: one for one in msgspec.json.decode(news)}


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def push(store: Store) -> Push:
    return Push(store)


@pytest.fixture
def tab(push: Push, browser: Browser) -> Tab:
    made = push.open(browser)  # type: ignore[arg-type]
    made.wants = frozenset({LOADS, FAST})
    return made


class TestPush:
    async def test_only_what_is_new_is_told(self, store: Store, push: Push, tab: Tab, browser: Browser) -> None:
        await store.hear(whole(node("a"), node("b")))
        push.tick()
        number, news = browser.last
        assert number == 1
        assert news["members"]["set"].keys() == {"id-a", "id-b"}
        push.tick()
        assert "members" not in browser.last[1]
        await store.hear(events.Nodes(nodes=[{"id": "id-a", "used_slots": 3}], gone=["id-b"]))
        push.tick()
        assert browser.last[1]["loads"]["set"] == {"id-a": {"used": 3}}
        assert browser.last[1]["members"] == {"k": "members", "set": {}, "gone": ["id-b"]}

    async def test_a_tab_is_told_what_it_wants(self, store: Store, push: Push, tab: Tab, browser: Browser) -> None:
        tab.wants = frozenset()
        await store.hear(whole(node("a")))
        push.tick()
        assert browser.last[1].keys() == {"glance", "members"}

    async def test_hidden_and_lost_tabs_are_left_alone(self, push: Push, tab: Tab, browser: Browser) -> None:
        tab.visible = False
        push.tick()
        tab.visible, browser.has_socket_connection = True, False
        push.tick()
        assert browser.scripts == []
        browser.has_socket_connection = True
        push.tick()
        assert browser.last[0] == 3  # the gap is seen, and everything is asked for

    async def test_history_is_told_once(self, store: Store, push: Push, tab: Tab, browser: Browser) -> None:
        tab.wants = frozenset({"history"})
        entry = HistoryEntry(seq=1, at=task(1).created_at, kind="node_lost", text="</script> is gone\u2028")
        await store.hear(events.History(entry=entry))
        push.tick()
        assert browser.last[1]["history"]["rows"][0]["text"] == "</script> is gone\u2028"
        push.tick()
        assert "history" not in browser.last[1]

    async def test_everything_at_once_is_made_once_a_tick(self, store: Store, push: Push) -> None:
        await store.hear(whole(node("a", download_speed=4_200_400)))
        await store.hear(events.Summary(status=World(nodes=1, tasks=9).status(), top=[task(1, **running(1, 2))]))
        store.measure()
        push.tick()
        first = push.boot()
        assert push.boot() is first
        told = msgspec.json.decode(first)
        assert told["n"] == 1
        assert told["series"]["nodes"] == {"id-a": [420]}
        assert len(told["fast"]) == 1
        push.tick()
        assert push.boot() is not first

    async def test_rows_of_a_page_go_along(self, push: Push, tab: Tab, browser: Browser) -> None:
        tab.rows = lambda: '{"k":"rows","rows":[]}'
        push.tick()
        assert browser.last[1]["rows"] == {"k": "rows", "rows": []}

    def test_text_of_people_cannot_end_a_script(self) -> None:
        assert as_script("\u2028\u2029") == '"\\u2028\\u2029"'

    def test_differences(self) -> None:
        assert difference(None, {"a": 1}) == {"a": 1}
        assert difference({"a": 1, "b": None}, {"a": 2, "b": None}) == {"a": 2}

    async def test_64_nodes_stay_within_the_budget(self, store: Store, push: Push, tab: Tab, browser: Browser) -> None:
        world = World(nodes=64, tasks=2000)
        await store.hear(whole(*world.nodes))
        await store.hear(events.Summary(status=world.status(), top=world.top(8)))
        push.tick()
        world.step()
        await store.hear(whole(*world.nodes))
        push.tick()
        assert len(browser.scripts[-1]) < 12_000
