"""A cluster that is none, simulated a second at a time: nodes, tasks that progress, fail and end, a leader, a history."""

import math
import random
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ariacluster.domain.errors import IllegalMove
from ariacluster.domain.task import MOVES
from ariacluster.wire import events
from ariacluster.wire.requests import TaskCreate, TaskFilter
from ariacluster.wire.resources import (
    AttemptResource,
    ClusterResource,
    FileResource,
    HistoryEntry,
    NamedId,
    NodeResource,
    ResultResource,
    SettingsResource,
    StatusResource,
    TaskResource,
)

STARS = [
    "atlas",
    "borealis",
    "cygnus",
    "draco",
    "eridanus",
    "fornax",
    "gemini",
    "hydra",
    "indus",
    "juno",
    "kepler",
    "lyra",
    "mira",
    "norma",
    "orion",
    "pavo",
    "quasar",
    "rigel",
    "sirius",
    "tauri",
    "ursa",
    "vega",
    "wega",
    "xi",
    "yildun",
    "zosma",
    "altair",
    "bellatrix",
    "capella",
    "deneb",
    "electra",
    "furud",
]
FILES = [
    "ubuntu-{}.04-live-server-amd64.iso",
    "debian-{}.0.0-amd64-netinst.iso",
    "Fedora-Workstation-Live-{}.x86_64.iso",
    "archlinux-2026.{}.01-x86_64.iso",
    "openstreetmap-planet-{}.osm.pbf",
    "wikipedia-en-2026{}.xml.bz2",
    "imagenet-shard-{}.tar",
    "librispeech-{}.flac.tar",
    "gutenberg-mirror-{}.zip",
    "blender-open-movie-{}-4k.mkv",
    "commoncrawl-2026-segment-{}.warc.gz",
]
TAGS = ("linux", "linux", "linux", "linux", "dataset", "dataset", "dataset", "dataset", "media", "media", "dataset")
GB = 1_000_000_000


class Row:
    """A task; what changes is set on it."""

    __slots__ = (
        "asked", "attempt", "created", "done", "error", "failures", "id", "name", "needs_link", "node", "not_before",
        "priority", "reason", "speed", "status", "tags", "total", "updated", "url",
    )  # fmt: skip

    def __init__(self, task_id: str, name: str, url: str, total: int, created: datetime) -> None:
        self.id, self.name, self.url, self.total, self.created = task_id, name, url, total, created
        self.status, self.done, self.speed, self.attempt = "pending", 0, 0, 0
        self.updated, self.priority = created, "normal"
        self.node: int | None = None
        self.error: str | None = None
        self.tags: dict[str, str] = {}
        self.reason = "waiting for a node with a free slot"
        self.failures: list[AttemptResource] = []
        self.needs_link = False
        self.not_before: datetime | None = None
        self.asked = TaskCreate(url=url)


class World:
    """`nodes` nodes with `tasks` tasks; `step` goes on by a second. `told` hears each frame of what happens at once."""

    def __init__(self, *, nodes: int = 8, tasks: int = 5000, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.now = datetime.now(UTC)
        self.told: Callable[[events.Frame], None] = lambda _: None
        self.term = 14
        self.revision = 1
        self.problems: list[str] = []
        self.history: deque[HistoryEntry] = deque(maxlen=10_000)
        self.settings = SettingsResource(
            strategy="least_loaded", origin_connections=0, origin_limits={"mirror.example.org": 4}, min_free=GB
        )
        self.nodes = [self._node(number, nodes) for number in range(nodes)]
        self.leader: int | None = min(2, nodes - 1)
        self.tasks: dict[str, Row] = {}
        self.active: dict[str, Row] = {}
        self.seq = 0
        self._serial = 0
        self._clock = 0
        self._fill(tasks)
        for _ in range(40):
            self.step(quietly=True)

    # -- the simulation

    def _node(self, number: int, count: int) -> NodeResource:
        r = self.random
        few = ("nas", "workstation", "pi-kitchen")
        plain = few[number] if count <= 3 else STARS[number % len(STARS)]
        name = plain if number < len(STARS) else f"{plain}-{number // len(STARS) + 1}"
        total = r.choice([500, 1000, 2000, 4000, 8000]) * GB
        tags = r.choice([{"disk": "ssd"}, {"place": "attic"}, {"disk": "ssd", "net": "fast"}, {"place": "nas"}, {}])
        return NodeResource(
            id=f"{number:02x}{r.getrandbits(56):014x}", name=name, address=f"192.168.1.{20 + number}", port=8000,
            status="online", role="voter" if number < 5 else "learner", tags=tags, total_slots=r.choice([4, 5, 6, 8]),
            used_slots=0, download_speed=0, upload_speed=0, disk_free=int(total * r.uniform(0.06, 0.8)), disk_total=total,
            cpu_usage=r.uniform(8, 50), memory_usage=r.uniform(12, 60), uptime=r.uniform(0.1, 40) * 86400,
            version="0.1.0", engine="1.37.0", trouble="", last_seen=self.now,
            download_limit=r.choice([0, 0, 0, 50_000_000, 100_000_000]), peak_speed=140_000_000, ui_port=8080,
        )  # fmt: skip

    def _fill(self, count: int) -> None:
        for number in range(count):
            row = self.add(
                self.random.choice(FILES).format(number + 10), at=self.now - timedelta(seconds=60 + number * 7)
            )
            kind = self.random.random()
            if kind < 0.66:
                row.status, row.done, row.attempt = "completed", row.total, 1
                row.node = self.random.randrange(len(self.nodes))
                row.reason = "the fewest downloads"
            elif kind < 0.72:
                self._fail(row, quietly=True)
            elif kind < 0.77:
                row.status, row.done, row.reason = "paused", int(row.total * self.random.random()), "paused by a person"

    def add(self, name: str, *, url: str = "", at: datetime | None = None) -> Row:
        """A new task, the newest of all."""
        self._serial += 1
        kind = next((i for i, file in enumerate(FILES) if name.split("-")[0] == file.split("-")[0]), 4)
        total = int(10 ** self.random.uniform(8.7, 11.0))
        scheme = "magnet:?xt=urn:btih:c9e15763f722f23e98a29decdfae341b98d53056&dn=" if self._serial % 7 == 0 else ""
        row = Row(
            f"{self._serial:04x}{self._serial * 2654435761 % 2**48:012x}",
            name, url or (scheme + name if scheme else f"https://mirror{self._serial % 5}.example.org/pub/{name}"),
            total, at or self.now,
        )  # fmt: skip
        row.tags = {"kind": TAGS[kind]}
        row.priority = self.random.choice(["normal"] * 8 + ["high", "low"])
        self.tasks[row.id] = row
        return row

    def _fail(self, row: Row, *, quietly: bool = False) -> None:
        row.status, row.speed, row.attempt = "failed", 0, 3
        row.error = self.random.choice(
            [
                "The server answers 404: the file is not there. Give another link with relink.",
                "The server refuses the link (403): it may have expired. Give a new one with relink.",
                "The checksum does not match after two tries: the mirror has another file.",
                "The name mirror9.example.org is not known.",
            ]
        )
        row.needs_link = "link" in row.error
        row.node = row.node if row.node is not None else self.random.randrange(len(self.nodes))
        node = self.nodes[row.node]
        row.failures = [
            AttemptResource(attempt=n, worker_id=node.id, worker_name=node.name, at=self.now - timedelta(minutes=9 - 3 * n),
                            kind="origin", error_code=3, message=row.error)
            for n in (1, 2, 3)
        ]  # fmt: skip
        row.updated, row.reason = self.now, row.error
        if not quietly:
            self.tell("task_failed", f"{row.name} failed: {row.error}", row)

    def step(self, *, quietly: bool = False) -> None:
        """One second."""
        self.now = datetime.now(UTC)
        self._clock += 1
        r = self.random
        waiting = iter([row for row in list(self.tasks.values())[-400:] if row.status in ("pending", "queued")])
        if self._clock == 1:
            waiting = iter([row for row in self.tasks.values() if row.status == "pending"])
        for number, node in enumerate(self.nodes):
            if node.status not in ("online", "busy") or self.leader is None:
                continue
            mine = sum(row.node == number for row in self.active.values())
            while mine < node.total_slots and (row := next(waiting, None)) is not None:
                row.status, row.node, row.attempt, row.updated = "downloading", number, 1, self.now
                row.reason = "the fewest downloads, and room for it"
                row.done = int(row.total * r.random() * 0.9) if quietly else 0
                self.active[row.id] = row
                mine += 1
                if not quietly:
                    self.tell("task_started", f"{node.name} began to download {row.name}.", row)
        wave = 1 + 0.25 * math.sin(self._clock / 13)
        for row in list(self.active.values()):
            if row.status != "downloading":
                del self.active[row.id]
                continue
            limit = 2e6 * (1 + int(row.id[-2:], 16) / 5)
            row.speed = int(max(2e5, limit * wave * r.uniform(0.9, 1.1)))
            row.done = min(row.total, row.done + row.speed)
            if row.done >= row.total and row.node is not None:
                row.status, row.speed, row.updated = "completed", 0, self.now
                del self.active[row.id]
                self.tell(
                    "task_completed", f"{self.nodes[row.node].name} has downloaded {row.name}.", row, quietly=quietly
                )
        for number, node in enumerate(self.nodes):
            busy = [row for row in self.active.values() if row.node == number]
            alive = node.status != "offline"
            status = node.status
            if status in ("online", "busy"):
                status = "busy" if len(busy) >= node.total_slots else "online"
            self.nodes[number] = msgspec.structs.replace(
                node,
                status=status,
                role="leader" if number == self.leader else "voter" if number < 5 else "learner",
                used_slots=len(busy),
                download_speed=sum(row.speed for row in busy) if alive else 0,
                upload_speed=int(15e6 * r.uniform(0.9, 1.3)) if alive and node.tags else 0,
                cpu_usage=min(97, max(3, node.cpu_usage + r.uniform(-4, 4))) if alive else 0,
                disk_free=node.disk_free - sum(row.speed for row in busy) // 40,
                uptime=node.uptime + 1 if alive else node.uptime,
                last_seen=self.now if alive else node.last_seen,
                tasks_left=len(busy),
            )
        self.revision += 1
        if not quietly and r.random() < 0.05 and self.active:
            self._fail(r.choice(list(self.active.values())))

    def tell(self, kind: str, text: str, row: Row | None = None, *, node: NodeResource | None = None, who: str = "",
             quietly: bool = False) -> None:  # fmt: skip
        """One more entry of the history."""
        self.seq += 1
        about = node or (self.nodes[row.node] if row is not None and row.node is not None else None)
        entry = HistoryEntry(
            seq=self.seq, at=self.now, kind=kind, text=text, who=who,
            task=row.id if row else None, task_name=row.name if row else None,
            node=about.id if about else None, node_name=about.name if about else None,
        )  # fmt: skip
        self.history.append(entry)
        if not quietly:
            self.told(events.History(entry=entry))

    def lose(self, number: int) -> None:
        """A node is not heard any more; another one leads if it led."""
        node = self.nodes[number]
        self.nodes[number] = msgspec.structs.replace(node, status="offline", download_speed=0, upload_speed=0)
        self.tell("node_lost", f"{node.name} is not heard any more.", node=node)
        for row in self.active.values():
            if row.node == number:
                row.status, row.node, row.speed = "pending", None, 0
        if self.leader == number:
            self.elect(next(i for i, other in enumerate(self.nodes) if other.status != "offline"))

    def back(self, number: int) -> None:
        node = self.nodes[number]
        self.nodes[number] = msgspec.structs.replace(node, status="online")
        self.tell("node_back", f"{node.name} is back.", node=node)

    def elect(self, number: int) -> None:
        self.leader, self.term = number, self.term + 1
        self.tell("leader_elected", f"{self.nodes[number].name} leads since term {self.term}.", node=self.nodes[number])

    # -- what is answered

    def resource(self, row: Row) -> TaskResource:
        node = self.nodes[row.node] if row.node is not None else None
        done = row.status == "completed"
        return TaskResource(
            id=row.id, url=row.url, urls=row.asked.urls or [row.url], name=row.name, status=row.status, priority=row.priority,
            worker_id=node.id if node else None, worker_name=node.name if node else None, aria2_gid=row.id,
            out=row.asked.out, dir=row.asked.dir, options={k: str(v) for k, v in row.asked.options.items()},
            checksum=row.asked.checksum, tags=row.tags, prefer_tags={}, node=row.asked.node,
            progress=round(100 * row.done / row.total, 2) if row.total else 0.0, completed_bytes=row.done,
            total_bytes=row.total, download_speed=row.speed, connections=5 if row.speed else 0,
            error_message=row.error if row.status == "failed" else None, attempt=row.attempt, max_attempts=5,
            reason=row.reason, failures=row.failures,
            files=[FileResource(path=row.name, length=row.total)] if done else [],
            result=ResultResource(total_bytes=row.total, file_count=1) if done else None,
            created_at=row.created, updated_at=row.updated, not_before=row.not_before, needs_link=row.needs_link,
        )  # fmt: skip

    def status(self) -> StatusResource:
        counts: dict[str, int] = {}
        for row in self.tasks.values():
            counts[row.status] = counts.get(row.status, 0) + 1
        slots = sum(node.total_slots for node in self.nodes if node.status != "offline")
        leader = self.nodes[self.leader] if self.leader is not None else None
        return StatusResource(
            node=NamedId(self.nodes[0].id, self.nodes[0].name),
            cluster=ClusterResource(
                id="c1", name="home", mode="open", leader=NamedId(leader.id, leader.name) if leader else None,
                term=self.term, voters=min(5, len(self.nodes)), members=len(self.nodes), has_quorum=leader is not None,
            ),
            active_workers=sum(node.status != "offline" for node in self.nodes), total_tasks=len(self.tasks),
            tasks_by_status=counts, system_load=100 * len(self.active) / slots if slots else 0.0,
            download_speed=sum(node.download_speed for node in self.nodes),
            upload_speed=sum(node.upload_speed for node in self.nodes), version="0.1.0", problems=self.problems,
            revision=self.revision,
        )  # fmt: skip

    def top(self, count: int) -> list[TaskResource]:
        fastest = sorted(self.active.values(), key=lambda row: -row.speed)[:count]
        return [self.resource(row) for row in fastest]

    def found(self, wanted: TaskFilter) -> list[Row]:
        """In the order of submission."""
        q = wanted.q.casefold()
        tags = [tag.partition("=") for tag in wanted.tag]
        rows: Iterable[Row] = self.tasks.values()
        if wanted.ids:
            rows = [row for i in wanted.ids if (row := self.tasks.get(i))]
        return [
            row
            for row in rows
            if (not wanted.state or row.status in wanted.state)
            and (not wanted.node or (row.node is not None and wanted.node in self._names(row.node)))
            and (not q or q in row.name.casefold() or q in row.url.casefold())
            and all(key in row.tags and (not sep or row.tags[key] == value) for key, sep, value in tags)
        ]

    def _names(self, place: int) -> tuple[str, str]:
        return self.nodes[place].id, self.nodes[place].name

    def do(self, row: Row, verb: str) -> None:
        """Say a verb to a task. `IllegalMove`."""
        if verb == "remove":
            self.tasks.pop(row.id, None)
            self.active.pop(row.id, None)
            row.status = "removed"
            return
        move = MOVES[verb]
        if row.status not in move.sources:
            raise IllegalMove(f"{row.name} is {row.status}; it cannot be told to {verb}.")
        self.now = datetime.now(UTC)
        row.status, row.updated, row.speed = move.target.value, self.now, 0
        if row.status == "pending":
            row.node, row.reason, row.error = None, "waiting for a node with a free slot", None
        self.tell(f"task_{verb.rstrip('e')}ed", f"{row.name} was {verb.rstrip('e')}ed.", row, who="192.168.1.50")


KEYS: dict[str, Callable[[Row], Any]] = {
    "created": lambda row: row.created,
    "name": lambda row: row.name.casefold(),
    "size": lambda row: row.total,
    "progress": lambda row: row.done / row.total if row.total else 0,
    "speed": lambda row: row.speed,
    "priority": lambda row: ("low", "normal", "high", "urgent").index(row.priority),
    "status": lambda row: row.status,
    "updated": lambda row: row.updated,
}
