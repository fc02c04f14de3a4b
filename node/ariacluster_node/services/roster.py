"""Who is there and how they fare: the members of the table with their latest reports. Soft state, rebuilt in a second."""

import msgspec

from ariacluster.domain.member import NodeView, Progress, Report
from ariacluster.wire.peers import Overview
from ariacluster_node.ports import Clock

from .replica import Replica

OFFLINE_AFTER = 5.0
"""Seconds of silence after which a node is shown as offline and given nothing new: five report periods."""

WATCH_FOR = 15.0
"""Seconds for which one look at the roster keeps the overview coming from the leader."""


class Roster:
    """On the leader it hears every node; elsewhere it holds the overview that the leader sent last."""

    def __init__(self, replica: Replica, clock: Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._heard: dict[str, tuple[Report, float]] = {}
        self._direct: dict[str, float] = {}  # when each node itself was heard last, not by what a leader told of it
        self._hung_up: set[str] = set()  # by whom this leader will hear nothing until they call again
        self._leading_since: float | None = None
        self._watched = float("-inf")

    def hear(self, report: Report) -> None:
        """A node reported to this one."""
        now = self._clock.monotonic()
        self._heard[report.node] = (report, now)
        self._direct[report.node] = now
        self._hung_up.discard(report.node)

    def hung_up(self, node: str) -> None:
        """It ended its stream, as a program does that stops or is killed: it is given nothing more until it reports again.
        Its silence counts from its last report all the same."""
        self._hung_up.add(node)

    def hear_all(self, overview: Overview) -> None:
        """The leader told what it has heard; ages are counted on from there."""
        now = self._clock.monotonic()
        for heard in overview.nodes:
            known = self._heard.get(heard.report.node)
            if known is None or known[1] < now - heard.age:
                self._heard[heard.report.node] = (heard.report, now - heard.age)

    def heard(self) -> dict[str, tuple[Report, float]]:
        """Every member's last report and the moment it was heard: what watchers are told."""
        members = self._replica.table.members
        return {node: heard for node, heard in self._heard.items() if node in members}

    def lead(self, leads: bool) -> None:
        """Say each round whether this node leads: a new leader counts everyone's silence from its first moment, for it
        cannot know what was said to the one before. And it takes nobody for online who has not reported to it since."""
        if not leads:
            self._leading_since = None
            self._hung_up.clear()
        elif self._leading_since is None:
            self._leading_since = self._clock.monotonic()

    def views(self) -> list[NodeView]:
        """Every member, with its last report and its silence."""
        now = self._clock.monotonic()
        return [self._view(member_id, now) for member_id in self._replica.table.members]

    def view(self, node: str) -> NodeView:
        return self._view(node, self._clock.monotonic())

    def progress(self, node: str | None, task: str) -> Progress | None:
        """What `node` last said of a task; how fast it was counts no more once the node is not heard."""
        heard = self._heard.get(node) if node else None
        told = heard[0].tasks.get(task) if heard else None
        if told is None or node is None or not told.speed or node not in self._replica.table.members:
            return told
        return told if self.view(node).online else msgspec.structs.replace(told, speed=0, connections=0)

    def look(self) -> None:
        """Somebody looks: keep the overview coming."""
        self._watched = self._clock.monotonic()

    @property
    def watched(self) -> bool:
        return self._clock.monotonic() - self._watched < WATCH_FOR

    def _view(self, node: str, now: float) -> NodeView:
        report, at = self._heard.get(node, (None, None))
        silent = None if at is None else now - at
        online = silent is not None and silent < OFFLINE_AFTER
        if self._leading_since is not None:
            called = self._direct.get(node, float("-inf")) >= self._leading_since and node not in self._hung_up
            online = online and (node == self._replica.node_id or called)
            led = now - self._leading_since
            silent = led if silent is None else min(silent, led)
        return NodeView(member=self._replica.table.members[node], report=report, silent_for=silent, online=online)
