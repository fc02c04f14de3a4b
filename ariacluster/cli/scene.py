"""What a watcher of the cluster knows: put together from the frames that a node tells, for a screen to draw."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ariacluster.client.stream import EventStream, Lost
from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire.events import Frame, Hello, History, Nodes, Summary
from ariacluster.wire.resources import HistoryEntry, NodeResource, StatusResource, TaskResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

REMEMBERED = 300
"""Speeds of the past, one a second: more than a terminal is wide."""

TOP = 30
"""Downloads that are followed, the fastest of them."""

LATEST = 20
"""Entries of the history that are kept to be shown."""

SMOOTHING = 0.3
"""Weight of the newest speed in the one that a remaining time is reckoned from."""


class Scene:
    """The cluster as last heard. `trouble` says why nothing is heard, empty while all is well."""

    def __init__(self, status: StatusResource, nodes: Sequence[NodeResource], latest: Sequence[HistoryEntry]) -> None:
        self.status = status
        self.nodes = {node.id: node for node in nodes}
        self.latest: deque[HistoryEntry] = deque(sorted(latest, key=lambda entry: entry.seq), maxlen=LATEST)
        self.top: list[TaskResource] = []
        self.stale = False
        self.trouble = ""
        self.speeds: deque[float] = deque(maxlen=REMEMBERED)
        self.node_speeds: dict[str, deque[float]] = {}
        self.pace: dict[str, float] = {}
        self.beat = 0

    def take(self, frame: Frame | Lost) -> None:
        """What was told counts from now on."""
        match frame:
            case Lost():
                self.trouble = frame.reason
            case Hello():
                self.trouble = ""
            case Summary():
                self.status, self.stale = frame.status, frame.stale
                # In an order that stays: lines that change places every second cannot be read.
                self.top = sorted(frame.top, key=lambda task: (task.created_at, task.id))
                self.pace = {task.id: self._pace(task) for task in frame.top}
            case Nodes():
                before = {} if frame.whole else self.nodes
                for told in frame.nodes:
                    known = msgspec.to_builtins(before[told["id"]]) if told["id"] in before else {}
                    # A node that is told in part and not known is told whole by the next frame.
                    with contextlib.suppress(msgspec.ValidationError):
                        before = {**before, told["id"]: msgspec.convert({**known, **told}, NodeResource)}
                self.nodes = {node_id: node for node_id, node in before.items() if node_id not in frame.gone}
            case History():
                self.latest.append(frame.entry)

    def tick(self) -> None:
        """A second has passed."""
        self.speeds.append(0.0 if self.trouble else float(self.status.download_speed))
        for node in self.nodes.values():
            speeds = self.node_speeds.setdefault(node.id, deque(maxlen=REMEMBERED))
            speeds.append(0.0 if self.trouble else float(node.download_speed))
        self.node_speeds = {node_id: self.node_speeds[node_id] for node_id in self.nodes}

    def _pace(self, task: TaskResource) -> float:
        before = self.pace.get(task.id, float(task.download_speed))
        return before + SMOOTHING * (task.download_speed - before)


async def first_look(client: "NodeClient") -> Scene:
    """What there is before anything changes. The node may be too old to remember what happened."""
    status, nodes = await client.status(), await client.nodes()
    latest: list[HistoryEntry] = []
    with contextlib.suppress(AriaClusterError):
        latest = await client.history(limit=LATEST)
    return Scene(status, nodes, latest)


def doors(url: str, nodes: Sequence[NodeResource]) -> list[str]:
    """Whom to listen to: the node at `url`, and should it go, the others that are there."""
    others = [
        f"http://[{node.address}]:{node.port}" if ":" in node.address else f"http://{node.address}:{node.port}"
        for node in nodes
        if node.status != "offline"
    ]
    return list(dict.fromkeys([url, *others]))


async def keep(scene: Scene, url: str, changed: asyncio.Event) -> None:
    """Keep it up to date, for ever."""
    async with EventStream(
        doors(url, list(scene.nodes.values())), topics=("summary", "nodes", "history"), top=TOP
    ) as stream:
        async for frame in stream:
            scene.take(frame)
            changed.set()
