"""Reports coded against what the receiver has already: a frame bears what changed. The same coding in both directions."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, field

from ariacluster.domain.member import Progress, Report


class Lost(Exception):
    """A frame does not follow the one before: only a whole one helps. The one who sends must be told."""


class Changes(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Fields of a report that have another value now. The rest stays as it was."""

    download_speed: int | UnsetType = UNSET
    upload_speed: int | UnsetType = UNSET
    disk_free: int | UnsetType = UNSET
    disk_total: int | UnsetType = UNSET
    cpu: float | UnsetType = UNSET
    memory: float | UnsetType = UNSET
    uptime: float | UnsetType = UNSET
    engine: str | UnsetType = UNSET
    trouble: str | UnsetType = UNSET
    pressed: bool | UnsetType = UNSET
    peak_speed: int | UnsetType = UNSET
    pace: float | UnsetType = UNSET


class Step(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Fields of a progress that have another value now. There are many, each second: their names are short on the wire."""

    attempt: int | UnsetType = field(default=UNSET, name="a")
    completed: int | UnsetType = field(default=UNSET, name="c")
    total: int | UnsetType = field(default=UNSET, name="t")
    speed: int | UnsetType = field(default=UNSET, name="s")
    connections: int | UnsetType = field(default=UNSET, name="n")
    active: bool | UnsetType = field(default=UNSET, name="r")


class Delta(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """From one report of a node to a later one. `tasks`: progress that changed, or came to be; `gone`: ids without any now."""

    changes: Changes = Changes()
    tasks: dict[str, Step] = {}
    gone: tuple[str, ...] = ()


class NodeNews(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node has said since, `age` seconds ago."""

    node: str
    delta: Delta = Delta()
    age: float = 0.0


class News(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One frame of a stream. `number` grows by one with each. `whole`: nothing that was told before counts. `nodes`: those that
    were heard since the frame before; `gone`: ids of those of which nothing is told any more."""

    number: int
    whole: bool = False
    nodes: tuple[NodeNews, ...] = ()
    gone: tuple[str, ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """A report as its receiver has it, and how old it is (seconds)."""

    report: Report
    age: float


FIELDS = Changes.__struct_fields__
"""Of a report; its node and its tasks travel on their own."""

STEPS = Step.__struct_fields__

NO_PROGRESS = Progress(attempt=0)
"""What every download begins with."""


def delta(before: Report, after: Report) -> Delta:
    """What makes `after` of `before`."""
    known = before.tasks
    tasks = {}
    for task, now in after.tasks.items():
        then = known.get(task)
        if then != now:
            tasks[task] = Step(**_other(STEPS, then or NO_PROGRESS, now))
    return Delta(
        changes=Changes(**_other(FIELDS, before, after)),
        tasks=tasks,
        gone=tuple(task for task in known if task not in after.tasks),
    )


def apply(before: Report, delta: Delta) -> Report:
    """What `delta(before, after)` makes of `before`: `after`."""
    tasks = before.tasks
    if delta.tasks or delta.gone:
        tasks = dict(tasks)
        for task, step in delta.tasks.items():
            tasks[task] = msgspec.structs.replace(tasks.get(task, NO_PROGRESS), **_told(STEPS, step))
        for task in delta.gone:
            tasks.pop(task, None)
    return msgspec.structs.replace(before, tasks=tasks, **_told(FIELDS, delta.changes))


def _other(names: Sequence[str], before: object, after: object) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(after, name)) != getattr(before, name)}


def _told(names: Sequence[str], changes: object) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(changes, name)) is not UNSET}


class Memo:
    """The last delta of each node, for tellers that tell the same to many."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Report, Report, Delta]] = {}

    def delta(self, before: Report, after: Report) -> Delta:
        last = self._last.get(after.node)
        if last is not None and last[0] is before and last[1] is after:
            return last[2]
        made = delta(before, after)
        self._last[after.node] = (before, after, made)
        return made

    def keep(self, nodes: Collection[str]) -> None:
        """Forget all other nodes."""
        for node in [node for node in self._last if node not in nodes]:
            del self._last[node]


class Teller:
    """The sending end: knows what the other end has. The first frame is whole."""

    def __init__(self, memo: Memo | None = None) -> None:
        self.number = 0
        """Of the last frame."""
        self._told: dict[str, tuple[Report, float]] = {}
        self._whole = True
        self._memo = memo or Memo()

    def forget(self) -> None:
        """The other end lost track: the next frame is whole."""
        self._whole = True

    def tell(self, heard: Mapping[str, tuple[Report, float]], now: float) -> News:
        """The next frame: every node's last report and the moment it was heard, on the clock of `now` (s)."""
        told = {} if self._whole else self._told
        nodes = []
        for node, (report, at) in heard.items():
            before = told.get(node)
            if before is None:
                news = delta(Report(node=node), report)
            elif before[1] != at or before[0] is not report:
                news = self._memo.delta(before[0], report)
            else:
                continue
            nodes.append(NodeNews(node, news, max(0.0, now - at)))
        gone = tuple(node for node in told if node not in heard)
        self.number += 1
        frame = News(number=self.number, whole=self._whole, nodes=tuple(nodes), gone=gone)
        self._told, self._whole = dict(heard), False
        return frame


class Listener:
    """The receiving end. `known`: each node's report as of the last frame that was taken. `lost`: only a whole frame helps."""

    def __init__(self) -> None:
        self.known: dict[str, Report] = {}
        self._number = 0
        self.lost = True

    def hear(self, news: News) -> list[Heard]:
        """What is new by this frame. `Lost` if it is not the one that is due: nothing is taken until a whole one comes."""
        if news.number <= self._number or not (news.whole or (news.number == self._number + 1 and not self.lost)):
            self.lost = True
            raise Lost
        known = {} if news.whole else self.known
        told = [
            Heard(apply(known.get(node.node) or Report(node=node.node), node.delta), node.age) for node in news.nodes
        ]
        for node in news.gone:
            known.pop(node, None)
        known.update((heard.report.node, heard.report) for heard in told)
        self.known, self._number, self.lost = known, news.number, False
        return told
