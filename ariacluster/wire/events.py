"""What `GET /events` tells, frame by frame: over server-sent events (the frame's `type` is the event's) and over a WebSocket.

Every subscription begins with `Hello`. Numbers are the history's: the same on every node, so that a reader who lost its
connection goes on at any of them with `Last-Event-ID` (or `since`). Speeds and loads have no numbers; only the latest counts.
"""

from typing import Any

import msgspec

from .resources import HistoryEntry, NamedId, StatusResource, TaskResource

TOPICS = ("summary", "nodes", "tasks", "history")
"""What one may ask for with `topics`; all of it if one does not say."""

PERIOD = 1.0
"""Seconds between two frames of what changes all the time."""

MAX_TOP = 50


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """The first frame. `seq`: the newest number there is. `resumed`: everything after `since` follows; otherwise some of it
    is forgotten here, or nothing was asked for: read anew what you show."""

    node: NamedId
    version: str
    seq: int
    resumed: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag="summary"):
    """The cluster at a glance, when something in it is new. `top`: as many of the fastest downloads as were asked for
    (`top=8`), the fastest first."""

    status: StatusResource
    top: list[TaskResource] = []
    stale: bool = False


class Nodes(msgspec.Struct, frozen=True, kw_only=True, tag="nodes"):
    """Nodes that changed, each as an object with its `id` and those fields of a `NodeResource` that are new; with `whole` it is
    everything, and what was told before does not count. `gone`: ids of those that left."""

    nodes: list[dict[str, Any]]
    gone: list[str] = []
    whole: bool = False


class Tasks(msgspec.Struct, frozen=True, kw_only=True, tag="tasks"):
    """Rows of the watched tasks, told as in `Nodes`. The first frame after a task is watched has all of it."""

    tasks: list[dict[str, Any]]
    gone: list[str] = []


class History(msgspec.Struct, frozen=True, kw_only=True, tag="history"):
    """Something happened. Its `seq` is the number of the event."""

    entry: HistoryEntry


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag="bye"):
    """The node ends the subscription: `reason` is a sentence, `code` one of a problem's (`slow_reader`, `not_ready` …)."""

    code: str
    reason: str


Frame = Hello | Summary | Nodes | Tasks | History | Bye


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a reader may say over its WebSocket at any time: the ids of the tasks to follow from now on, in place of those
    before, and how many of the fastest."""

    watch: list[str] = []
    top: int = 0
