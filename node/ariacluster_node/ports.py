"""What the services need from outside, in the house's own words. One adapter and one fake stand behind each port.

Everything here is called on the event loop, and calls back on the event loop.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.domain.reconcile import Download, Receipt, Staged
from ariacluster.wire.peers import Overview, ReportFrame


class Clock(Protocol):
    """Time, read here and nowhere else."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class StateMachine(Protocol):
    """What a consensus drives. The same calls in the same order on every node; none of them may raise."""

    def apply(self, index: int, payload: bytes) -> None:
        """Take the committed entry `index`; each index once, in order."""

    def snapshot(self) -> Callable[[], bytes]:
        """The state after the last `apply`, frozen now; the returned function encodes it and may run in a thread."""

    def restore(self, data: bytes) -> None:
        """Replace the state with a snapshot's."""


class ConsensusStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node stands. Members are `host:port` of the consensus port.

    `has_quorum`: as far as this node can tell, a majority of the voters can be reached. `ready`: the log that was on disk
    and what the leader had when it was first heard are applied.
    """

    me: str
    leader: str | None
    term: int
    voters: tuple[str, ...]
    applied: int
    has_quorum: bool
    ready: bool

    @property
    def is_leader(self) -> bool:
        return self.leader == self.me


class Consensus(Protocol):
    """The replicated log. Entries are opaque bytes; nodes are named by their consensus address for now."""

    async def start(self) -> None:
        """Open the log, bind the port, begin to take part. `StartFailed` if the port is taken or the log unusable."""

    async def stop(self) -> None:
        """Hand leadership over if it is here, stop, and close everything. Idempotent."""

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        """Return once the entry is committed *and* applied on this node.

        Raises `NoLeader` or `Overloaded` if it was certainly not taken, `UnknownOutcome` if nobody can tell (proposing the
        same bytes again must then be harmless), `InvalidInput` if it is larger than `MAX_PROPOSAL_BYTES`.
        Never takes longer than `timeout` seconds.
        """

    async def add_voter(self, address: str, *, timeout: float) -> None:
        """On the leader: make `address` (`host:port`) a voter; returns once that is committed. Idempotent.

        Raises `NoLeader` where this node does not lead, `Conflict` while another change is under way, `Unavailable` if
        nothing with the cluster's key listens there (nothing was changed), `InvalidInput`, `UnknownOutcome`.
        """

    def status(self) -> ConsensusStatus:
        """As of now; cheap."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back soon after leader, term, voters or `ready` changed."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A download for the engine. `folder` is its own and exists; `options` are aria2's, checked already."""

    gid: str
    urls: tuple[str, ...]
    folder: Path
    out: str | None = None
    options: Mapping[str, str] = {}
    headers: tuple[str, ...] = ()
    checksum: str | None = None


class EngineTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes per second over all downloads."""

    download_speed: int = 0
    upload_speed: int = 0


class Downloader(Protocol):
    """The engine of this node: one aria2c, kept alive. After a restart it is empty; the worker fills it again."""

    version: str
    """The engine's version, digits and dots; empty before `start`."""

    async def start(self) -> None:
        """Start the engine. `StartFailed` if there is none, it is too old, or it does not come up."""

    async def stop(self) -> None:
        """End the engine; its downloads keep their bytes and control files. Idempotent."""

    async def add(self, job: Job) -> None:
        """Begin or resume a download under `job.gid`; a leftover result of that gid is dropped first.

        Raises `InvalidInput` with aria2's text if it refuses the job, `Unavailable` while the engine is down.
        """

    async def remove(self, gid: str) -> None:
        """Stop a download and forget it, followed ones too; its files stay. Unknown gid: no-op. `Unavailable` if down."""

    async def poll(self) -> dict[str, Download]:
        """Every download by gid, followed ones folded into the one they follow. `Unavailable` while the engine is down."""

    def totals(self) -> EngineTotals:
        """As of the last `poll`."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back soon after a download began, ended or failed, and after the engine was restarted."""


class Discovery(Protocol):
    """Who is on this LAN. A service entry per node; hearing is continuous once started."""

    async def start(self, mine: Heard) -> None:
        """Announce `mine` and begin to listen. Where multicast does not work it hears nobody, and says so in the log."""

    async def update(self, mine: Heard) -> None:
        """Announce what changed under the same entry."""

    def heard(self) -> list[Heard]:
        """The others that are announced now."""

    async def stop(self) -> None:
        """Say goodbye. Idempotent."""


class Doors(Protocol):
    """Asking other nodes over their API."""

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        """Ask the node at `door` (`host:port` of its API) what is needed to join.

        Raises `Unavailable` if it does not answer or cannot say now, another error of ours if it refuses.
        """

    async def enter(self, door: str, applicant: Applicant) -> None:
        """Ask to be made a voter, once this node's own consensus listens. Raises as `knock` does."""


class Reporting(Protocol):
    """Telling the leader how this node fares."""

    async def report(self, leader: str, frame: ReportFrame) -> Overview | None:
        """Send one report to the leader's API at `leader` (`host:port`); answers the overview if `frame.watching`.

        Raises an error of ours if the leader cannot be reached or leads no more.
        """


class Folders(Protocol):
    """The download folder of this node and the staging folder of each task in it."""

    root: Path

    async def staged(self) -> dict[str, Staged]:
        """Every staging folder by task id, with its receipt if it was published."""

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        """The staging folder of a task, made if missing, emptied if `fresh`. Partial files that lack their control file
        are removed: resuming them would corrupt. `Unavailable` with the reason if the disk refuses."""

    async def publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        """Move what the task's folder holds to `dir` below the root by rename, never over another file; answers what
        lies where. Repeatable after a crash. `Unavailable` with the reason if the disk refuses."""

    async def discard(self, task_id: str, *, published: bool) -> None:
        """Remove the staging folder, and what its receipt says was published if `published`. Unknown id: no-op."""

    async def trouble(self) -> str:
        """Why no task can be downloaded here now (missing, not writable), as a sentence; empty if one can."""


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """The machine's state. Bytes; cpu and memory in percent."""

    disk_free: int
    disk_total: int
    cpu: float
    memory: float


class Machine(Protocol):
    """What the system tells of this machine."""

    async def vitals(self) -> Vitals:
        """As of now, for the disk of the download folder."""
