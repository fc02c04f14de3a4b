"""What the core meets outside itself, and the values that pass between them. Two of each stand behind: real and simulated."""

import enum
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import msgspec

from ariacluster.domain.errors import AriaClusterError

from .configurations import Voters
from .store.snapshots import SnapshotMeta, Snapshots
from .store.wal import Wal
from .store.write import Write
from .wire.messages import Message


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. The defaults were measured on a LAN: a new leader about 0.4 s after the old one fell."""

    tick_s: float = 0.05
    """Between two looks at the clock, at most."""
    heartbeat_s: float = 0.05
    election_s: tuple[float, float] = (0.3, 0.6)
    quorum_s: float = 0.6
    """A leader that no majority has answered for so long leads no more."""
    lease_s: float = 0.24
    """For so long after a majority was reached nobody else can be elected: less than `election_s[0]`, as clocks drift."""


class Outcome(enum.Enum):
    """What became of something that was asked of the core."""

    DONE = "done"
    NOT_TAKEN = "not taken"  # certainly without effect
    FULL = "full"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node stands. `ready`: what the leader had committed when it was first heard is applied."""

    leader: str | None = None
    leads: bool = False
    term: int = 0
    voters: Voters = ()
    changing: bool = False
    """The last change of the voters is not committed yet, as far as this node knows."""
    has_quorum: bool = False
    ready: bool = False
    missing: Voters = ()
    """Voters that this node has no link to."""


class FollowerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A follower as the leader sees it: entries that it lacks, when it last answered (the core's clock)."""

    node: str
    lag: int
    responded: float
    connected: bool


class Links(Protocol):
    """What the core needs of its links to others."""

    def send(self, node: str, message: Message) -> bool: ...
    def flush(self) -> None: ...
    def congested(self, node: str) -> bool: ...
    def want(self, nodes: Collection[str] | None) -> None: ...


class Host(Protocol):
    """What the core tells, in its own thread. Nothing here may raise."""

    def write(self, write: Write) -> None:
        """Run it, in another thread if that may take long, and call for a turn once it is done."""

    def admits(self, payload: bytes) -> bool:
        """Is this, which another node asks to be taken in, something that this one understands?"""

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> None:
        """These were committed: index and payload, in order, each index once."""

    def settle(self, token: Any, outcome: Outcome, said: AriaClusterError | None) -> None:
        """What became of that submission, change or read; after `apply` of its entry. `said` explains a refusal."""

    def restore(self, meta: SnapshotMeta) -> None:
        """The state is now that of the latest snapshot, and `apply` goes on behind it."""

    def freeze(self, meta: SnapshotMeta) -> None:
        """Make a snapshot of the state after what was applied so far, then call `snapshot_written` or `snapshot_failed`."""

    def changed(self, status: Status) -> None:
        """Something about this node's place is different now."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a core is made of. See `Core`."""

    me: str
    wal: Wal
    snapshots: Snapshots
    links: Links
    host: Host
    dice: Callable[[], float]
    timing: Timing


class Inconsistent(Exception):
    """What must never be true is: this node ends before it does harm."""
