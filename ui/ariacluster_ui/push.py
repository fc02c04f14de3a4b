"""From the store to the tabs: once a second, one string for each kind of news, made once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from nicegui import Client

from ariacluster.wire.events import PERIOD

from .live import TOTAL_DOWN, TOTAL_UP, Store
from .presenters import activity, cluster, nodes, tasks

ALWAYS = frozenset({"glance", "members"})
"""Kinds that every page shows a part of."""

LOADS, FAST, HISTORY = "loads", "fast", "history"
"""Kinds that a page has to ask for: what nodes do now, the fastest downloads, what happened."""

COARSE = 10_000
"""Bytes a second that are one in the series of `boot`; `static/js/index.js` counts the same."""

SHOWN_AT_FIRST = 100
"""Entries of the history that a page begins with."""


class Tab:
    """One page in one browser: what it wants to be told, and whether anybody looks at it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.visible = True
        self.wants: frozenset[str] = frozenset()
        self.rows: Callable[[], str | None] | None = None
        """Asked once a tick, by a page that shows rows of its own: its news as JSON with a `k`, or None."""
        self.on_leave: Callable[[], Awaitable[None]] = _nothing
        """Awaited when the browser is gone, or the program ends: what was put off is done now or never."""

    @property
    def listens(self) -> bool:
        return self.visible and self.client.has_socket_connection and not self.client.is_deleted


class Push:
    """`run` tells all tabs; `boot` is everything at once, for a tab that has just come or has missed a tick."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tabs: dict[str, Tab] = {}
        self.number = 0
        """Of the last tick. A tab that misses one asks for `boot`."""
        self._told: dict[str, dict[str, Any]] = {"members": {}, "loads": {}}
        self._seq = 0
        self._boot: tuple[int, bytes] | None = None

    def open(self, client: Client) -> Tab:
        """Begin to tell a client; it is forgotten when it is deleted."""
        tab = self.tabs[client.id] = Tab(client)
        client.on_disconnect(lambda: tab.on_leave())
        client.on_delete(lambda: self._close(client.id))
        return tab

    def _close(self, client_id: str) -> None:
        self.tabs.pop(client_id, None)

    async def leave(self) -> None:
        """The program ends."""
        await asyncio.gather(*(tab.on_leave() for tab in self.tabs.values()))

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            at = max(at + PERIOD, loop.time())
            await asyncio.sleep(at - loop.time())
            self.store.measure()
            self.tick()

    def tick(self) -> None:
        """Tell what is new. A row that did not change is not told again."""
        self.number += 1
        self._boot = None
        news = self._news()
        cache: dict[frozenset[str], str] = {}
        for tab in [*self.tabs.values()]:
            if not tab.listens:
                continue
            wants = tab.wants | ALWAYS
            if wants not in cache:
                cache[wants] = ",".join(news[kind] for kind in sorted(wants) if kind in news)
            said = cache[wants]
            if tab.rows is not None and (rows := tab.rows()) is not None:
                said = f"{said},{rows}"
            tab.client.run_javascript(f"A.push({self.number},[{said}])")

    def boot(self) -> bytes:
        """Everything, as JSON; the same bytes for all who ask between two ticks."""
        if self._boot is None or self._boot[0] != self.number:
            self._boot = (self.number, _encode(self._everything()))
        return self._boot[1]

    def _news(self) -> dict[str, str]:
        """By kind, as JSON; kinds of which nothing is new are missing."""
        store = self.store
        news = {"glance": as_script(self._glance())}
        if told := self._differences("members", self._members()):
            news["members"] = as_script(told)
        loads = {node.id: nodes.load_row(node) for node in store.nodes.values()}
        told = self._differences("loads", loads) or {"k": "loads", "set": {}, "gone": []}
        speeds = {node.id: [node.download_speed, node.upload_speed] for node in store.nodes.values()}
        news["loads"] = as_script(told | {"speeds": speeds if not store.lost else {}})
        news["fast"] = as_script({"k": "fast", "rows": [tasks.fast_row(task) for task in store.top]})
        fresh = [entry for entry in store.history if entry.seq > self._seq]
        if fresh:
            self._seq = fresh[-1].seq
            rows = [activity.entry_row(entry) for entry in fresh[-SHOWN_AT_FIRST:]]
            news["history"] = as_script({"k": "history", "rows": rows})
        return news

    def _everything(self) -> dict[str, Any]:
        store = self.store
        series = store.series
        entries = [*store.history][-SHOWN_AT_FIRST:]
        return {
            "n": self.number,
            "glance": self._glance(),
            "members": self._members(),
            "loads": {node.id: nodes.load_row(node) for node in store.nodes.values()},
            "speeds": {node.id: [node.download_speed, node.upload_speed] for node in store.nodes.values()},
            "fast": [tasks.fast_row(task) for task in store.top],
            "history": [activity.entry_row(entry) for entry in entries],
            "series": {
                "at": series.at,
                "down": _coarse(series.row(TOTAL_DOWN)),
                "up": _coarse(series.row(TOTAL_UP)),
                "nodes": {
                    name: _coarse(row) for name, row in series.rows().items() if name not in (TOTAL_DOWN, TOTAL_UP)
                },
            },
        }

    def _glance(self) -> dict[str, Any]:
        store = self.store
        said: dict[str, Any] = {
            "k": "glance",
            "now": round(store.series.at, 1),
            "lost": store.lost,
            "age": store.age,
            "stale": store.stale,
            "url": store.url,
        }
        if store.status is not None:
            said |= cluster.glance(store.status, store.nodes)
        if store.lost:
            said |= {"down": 0, "up": 0}
        return said

    def _members(self) -> dict[str, dict[str, Any]]:
        store = self.store
        leads = store.status.cluster.leader if store.status else None
        leader = leads.id if leads else None
        return {
            node.id: nodes.member_row(node, leader=leader, colour=store.colours.get(node.id, 0))
            for node in store.nodes.values()
        }

    def _differences(self, kind: str, now: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
        before, self._told[kind] = self._told[kind], now
        changed = {name: new for name, row in now.items() if (new := difference(before.get(name), row))}
        gone = sorted(before.keys() - now.keys())
        return {"k": kind, "set": changed, "gone": gone} if changed or gone else None


async def _nothing() -> None:
    return None


def difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `now` that `before` does not have so; all of them if there was nothing."""
    if before is None:
        return dict(now)
    return {name: value for name, value in now.items() if before.get(name, _MISSING) != value}


_MISSING = object()


def _coarse(row: list[int]) -> list[int]:
    """In 10 kB/s and to three digits: a fourth of the text, and no picture shows the difference."""
    return [round(value, 3 - len(str(value))) for value in (one // COARSE for one in row)]


def _encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def as_script(value: Any) -> str:
    """JSON that is also JavaScript, wherever it is put."""
    return _encode(value).decode().replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
