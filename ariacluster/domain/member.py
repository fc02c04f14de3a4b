"""A member: what the table knows of a node, and what its reports say of it."""

import msgspec


def at(address: str, port: int) -> str:
    """`host:port`, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Tuning(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What people set of a running node. `slots`: None leaves it to the node's own settings. Limits in bytes per second over
    all its downloads, 0: none."""

    slots: int | None = None
    download_limit: int = 0
    upload_limit: int = 0


class Member(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A node as the cluster knows it. The id is for life; name, addresses and the rest may change.

    `address:port` is where its API answers, `raft` (`host:port`) where its consensus does; both as last registered.
    `witness`: it votes and downloads nothing. `speaks`: the newest commands that it understands (`commands.LANGUAGE`).
    `missed_since`: when the leader heard it last (ms since the epoch) if it has been lost since; 0 while it is there.
    `resigned`: it stopped in an orderly way and gave up its vote until it is back. `drain_until`: it is being emptied, and
    may finish what it can until then (ms since the epoch); None: it is not. `slots` are those of its settings;
    `Policy.slots_of` tells what counts. `ui_port`: where its web app answers; 0: it has none.
    """

    id: str
    name: str
    address: str
    port: int
    raft: str
    slots: int = 5
    tags: dict[str, str] = {}
    version: str = ""
    witness: bool = False
    speaks: int = 1
    joined_at: int = 0
    missed_since: int = 0
    resigned: bool = False
    drain_until: int | None = None
    tuning: Tuning = Tuning()
    ui_port: int = 0

    @property
    def door(self) -> str:
        """`host:port` of its API."""
        return at(self.address, self.port)

    def registered(self, known: "Member") -> "Member":
        """What is written down when it registers as this, and was known as that: what the cluster knows of it, and not it of
        itself, stays."""
        return msgspec.structs.replace(
            self,
            joined_at=known.joined_at,
            missed_since=known.missed_since,
            drain_until=known.drain_until,
            tuning=known.tuning,
        )


class Progress(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How far one attempt is. Soft: never in the log. Bytes and bytes per second."""

    attempt: int
    completed: int = 0
    total: int = 0
    speed: int = 0
    connections: int = 0
    active: bool = False


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a node says of itself once a second. Soft: a lost one costs a second of staleness.

    `trouble` is empty while the node takes tasks, else the sentence that says why it does not. `pressed`: running downloads
    should go elsewhere, too: its disk is almost full, or the trouble lasts. `peak_speed`: what it reached lately (bytes/s),
    `pace`: tasks that it finishes per second, lately.
    """

    node: str
    download_speed: int = 0
    upload_speed: int = 0
    disk_free: int = 0
    disk_total: int = 0
    cpu: float = 0.0
    memory: float = 0.0
    uptime: float = 0.0
    engine: str = ""
    trouble: str = ""
    pressed: bool = False
    peak_speed: int = 0
    pace: float = 0.0
    tasks: dict[str, Progress] = {}

    def progress_of(self, task: str, attempt: int) -> Progress | None:
        """What it says of that attempt, if it knows of it."""
        progress = self.tasks.get(task)
        return progress if progress is not None and progress.attempt == attempt else None


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A member with its latest report and the time since it was heard (seconds; None: never)."""

    member: Member
    report: Report | None
    silent_for: float | None
    online: bool
