"""What the services need from outside, in the house's own words. One adapter and one fake stand behind each port.

Everything here is called on the event loop, and calls back on the event loop.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from ariacluster.domain.errors import AriaClusterError, Unavailable
from ariacluster.domain.formation import Applicant, Heard, Membership
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Download, Receipt, Staged
from ariacluster.domain.task import TaskSpec
from ariacluster.wire.peers import OverviewFrame, ReportFrame
from ariacluster.wire.resources import LiveResource


class Clock(Protocol):
    """Time, read here and nowhere else."""

    def now(self) -> int:
        """Milliseconds since the epoch, UTC; may jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class StateMachine(Protocol):
    """What a consensus drives. The same calls in the same order on every node; none of them may raise but as they say."""

    def apply(self, index: int, payload: bytes) -> None:
        """Take the committed entry `index`; each index once, in order. On the loop. `NotSpoken`, and nothing else, if it was
        written by a newer version: this node cannot go on."""

    def admits(self, payload: bytes) -> bool:
        """Does this node understand it? Asked of a leader before it takes in what others send. In any thread, and quick."""

    def snapshot(self) -> Callable[[], Iterable[bytes]]:
        """The state after the last `apply`, frozen now, on the loop and quickly (25 ms at 100,000 tasks).

        The returned function yields it encoded, in chunks of a bounded number of rows, and may run in a thread: between
        two chunks it lets others go on. Called again it yields the same.
        """

    def load(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        """Decode the chunks of a snapshot, aside from the present state, in a thread.

        What it returns puts that state in place of the present one; it is called on the loop, at most once, and is
        quick. `ValueError` or `UnknownSchema` with a sentence for a person if the chunks are not whole, or of another
        version; the present state is untouched then. What `chunks` raises is passed on.
        """


class ConsensusStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where this node stands. Nodes are named by their ids.

    `leader`: None while this node knows of none, and on a leader that has lost its majority. `voters`: sorted, as this
    node's log has them, the last change counting before it is committed (Raft §4.1); empty on a learner that no leader
    has fed yet. `applied`: the index of the last applied entry. `has_quorum`: as far as this node can tell, a majority of
    the voters can be reached; `missing`: the voters that cannot. `ready`: the log that was on disk and what the leader had
    when it was first heard are applied.
    """

    me: str
    leader: str | None
    term: int
    voters: tuple[str, ...]
    applied: int
    has_quorum: bool
    ready: bool
    missing: tuple[str, ...] = ()

    @property
    def is_leader(self) -> bool:
        return self.leader == self.me


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """How the leader sees another node, voter or learner.

    `lag`: how many entries of the leader's log it is not known to hold. `silent_for`: seconds since it was last heard,
    counted from the beginning of this leadership at the earliest. `connected`: there is a link to it now.
    """

    node: str
    lag: int
    silent_for: float
    connected: bool


class Consensus(Protocol):
    """The replicated log of one cluster. Entries are opaque bytes.

    A node is its id, for life; where it can be reached is told by `learn` and by the node itself, and may change. Whoever
    has the cluster's key may take part: as a learner, which is fed the log and applies it, proposes and reads like any
    other, but neither votes nor counts. The leader makes voters of learners, and the other way round, one at a time. A
    node whose log was lost must come back under a new id: with its log it has lost what it voted.

    No call takes longer than its `timeout` (s) by more than a moment. Before `start` and after `stop` all that is asked of
    the cluster is refused with `NoLeader`.
    """

    async def start(self) -> None:
        """Open the log and begin to take part. `StartFailed` if the log cannot be used; nothing is left open then."""

    async def stop(self) -> None:
        """Hand leadership over if it is here, stop, and close everything, the listening socket too. The vote stays.
        Idempotent."""

    async def propose(self, payload: bytes, *, timeout: float) -> None:
        """Return once the entry is committed *and* applied on this node.

        Raises `NoLeader` or `Overloaded` if it was certainly not taken, `UnknownOutcome` if nobody can tell (proposing the
        same bytes again must then be harmless), `InvalidInput` if it is larger than `MAX_PROPOSAL_BYTES`.
        """

    async def barrier(self, *, timeout: float) -> None:
        """Return once a read of this node's copy is fresh: all that was committed anywhere before the call is applied here
        (Raft §6.4). `NoLeader` or `UnknownOutcome` if nobody can vouch for that in time; nothing was changed either way.
        """

    async def add_voter(self, node: str, *, timeout: float) -> None:
        """On the leader: make the learner `node` a voter; returns once that is committed. A voter already: returns too.

        Raises `NoLeader` where this node does not lead, `Conflict` while another change is not finished, `Unavailable` if
        `node` is not connected or lacks too much of the log (nothing was changed), `UnknownOutcome` if nobody can tell.
        """

    async def remove_voter(self, node: str, *, timeout: float) -> None:
        """On the leader: take the vote of `node`, which stays as a learner; returns once that is committed. No voter: returns
        too.

        Raises `NoLeader` where this node does not lead, `Conflict` while another change is not finished, if the voters left
        would lack a connected majority, or for this node itself (`transfer` first); `UnknownOutcome` if nobody can tell.
        """

    async def transfer(self, *, timeout: float, to: str | None = None) -> None:
        """On the leader: hand the leadership to the voter `to`, or to the one that is closest behind; returns once this node
        sees another one lead.

        Raises `NoLeader` where this node does not lead, `Unavailable` if no such voter is there to take it or none took it
        in time; this node may lead on then.
        """

    def followers(self) -> list[Follower]:
        """On the leader: every other voter, and every learner that has been connected, by id. Empty elsewhere."""

    def learn(self, node: str, address: str) -> None:
        """`node` can be reached at `address` (`host:port`, IPv6 in brackets); replaces what was known. Never raises."""

    def addresses(self) -> dict[str, str]:
        """Where the others can be reached, by node id, as last learned or heard of themselves."""

    def status(self) -> ConsensusStatus:
        """As of now; cheap."""

    def holds_lease(self) -> bool:
        """This node leads, and until now no other one can have been elected: a majority has answered it so lately. Cheap, and
        never true on two nodes at once, as far as their clocks run at about the same speed (Raft §6.4.1)."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back soon after leader, term, voters or `ready` changed."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A download for the engine. `folder` is its own and exists; `options` are aria2's, checked already. `connections`: at most
    so many to each of its origins; 0: as the options say."""

    gid: str
    urls: tuple[str, ...]
    folder: Path
    out: str | None = None
    options: Mapping[str, str] = {}
    headers: tuple[str, ...] = ()
    checksum: str | None = None
    connections: int = 0


class EngineLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`slots`: downloads at a time. Bytes per second over all downloads, 0: no limit."""

    slots: int
    download_limit: int = 0
    upload_limit: int = 0


class EngineTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes per second over all downloads."""

    download_speed: int = 0
    upload_speed: int = 0


class DetailFile(msgspec.Struct, frozen=True):
    """A file of a download: its path relative to the folder of the job, bytes in all and so far, and whether it is wanted."""

    path: str
    length: int
    completed: int
    selected: bool


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a download that runs. `pieces`: a bit for each in hex, the first one highest; empty while nobody
    knows. `servers`: URIs and peers (`address:port`) that bytes come from, with their speed (bytes/s). `uploaded` in bytes."""

    piece_length: int = 0
    piece_count: int = 0
    pieces: str = ""
    files: tuple[DetailFile, ...] = ()
    servers: tuple[tuple[str, int], ...] = ()
    seeders: int = 0
    upload_speed: int = 0
    uploaded: int = 0


class Downloader(Protocol):
    """The engine of this node: one aria2c, kept alive. After a restart it is empty; the worker fills it again."""

    version: str
    """The engine's version, digits and dots; empty before `start`."""

    deaths: int
    """How often the engine has ended by itself since `start`."""

    async def start(self) -> None:
        """Start the engine. `StartFailed` if there is none, it is too old, or it does not come up."""

    async def stop(self) -> None:
        """End the engine; its downloads keep their bytes and control files. Idempotent."""

    async def add_all(self, jobs: Sequence[Job]) -> list[AriaClusterError | None]:
        """Begin or resume downloads, each under the gid of its job; a leftover result of that gid is dropped first.

        Answers what was in the way of each, in order: `InvalidInput` with aria2's text if it refuses the job, `Unavailable`
        while the engine is down, None if it was added.
        """

    async def remove_all(self, gids: Sequence[str]) -> list[AriaClusterError | None]:
        """Stop downloads and forget them, followed ones too; their files stay. Unknown gid: no-op. Answers what was in the way
        of each, in order: `Unavailable` if down, else None."""

    async def poll(self) -> dict[str, Download]:
        """Every download by gid, followed ones folded into the one they follow. `Unavailable` while the engine is down."""

    async def detail(self, gid: str) -> Detail | None:
        """What there is to know of one download; None if it does not run. `Unavailable` while the engine is down."""

    async def tune(self, limits: EngineLimits) -> None:
        """Work within these from now on, after a restart of the engine too. What runs goes on. `Unavailable` while it is down:
        they are kept all the same."""

    def totals(self) -> EngineTotals:
        """As of the last `poll`."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back soon after a download began, ended or failed, and after the engine was restarted."""


class Heritage(msgspec.Struct, frozen=True, kw_only=True):
    """What a node carries from the cluster `of` into the cluster `into` (ids): the chunks of its table's snapshot."""

    of: str
    into: str
    chunks: list[bytes]


class Memory(Protocol):
    """What this node keeps on its disk beside the log. What is saved is there when the call returns; `StartFailed` names the
    file that cannot be read or written."""

    async def save_membership(self, membership: Membership) -> None:
        """This node belongs to that cluster from now on: the one step by which it moves."""

    async def note_log(self, cluster_id: str) -> None:
        """It has the log of that cluster from now on, before it can become a voter: without it, it must not come back."""

    async def save_heritage(self, heritage: Heritage) -> None:
        """What it carries; it counts once the membership of that cluster is saved."""

    async def heritage(self, into: str) -> Heritage | None:
        """What is still to be brought into that cluster, if anything is."""

    async def drop_heritage(self) -> None:
        """It is in the cluster's table. Idempotent."""

    async def tidy(self, cluster_id: str) -> None:
        """Remove what belongs to clusters that this node has left."""


class Discovery(Protocol):
    """Who is on this LAN. A service entry per node; hearing is continuous once started."""

    async def start(self, mine: Heard) -> None:
        """Announce `mine` and begin to listen. Where multicast does not work it hears nobody, and says so in the log."""

    async def update(self, mine: Heard) -> None:
        """Announce what changed under the same entry."""

    def heard(self) -> list[Heard]:
        """The others that are announced now."""

    def ask(self) -> None:
        """Ask the LAN anew who is there: answers are heard within a second. Cheap enough for once every few seconds."""

    @property
    def twins(self) -> tuple[str, ...]:
        """`host:port` of those that announce this node's own id now: its data folder was copied."""

    async def stop(self) -> None:
        """Say goodbye. Idempotent."""


class Doors(Protocol):
    """Asking other nodes over their API."""

    async def knock(self, door: str, applicant: Applicant) -> Membership:
        """Ask the node at `door` (`host:port` of its API) what is needed to join.

        Raises `Unavailable` if it does not answer or cannot say now, another error of ours if it refuses.
        """

    async def meet(self, door: str, mine: Heard) -> list[Heard]:
        """Tell the node at `door` of this one; it answers with itself first, then whom it knows. `Unavailable` if it does not
        answer."""


class ReportStream(Protocol):
    """This node's end of a stream to the leader. One task sends and one receives."""

    async def send(self, frame: ReportFrame) -> None:
        """Returns once the network has room for more; whether it arrives, the answers tell. `Unavailable` once the stream has
        ended, `PayloadTooLarge` if it has more than `MAX_REPORT` bytes."""

    async def receive(self) -> OverviewFrame:
        """The next frame of the leader. An error of ours once the stream has ended: `NoLeader` if that node leads no more,
        `Unavailable` if the connection is lost, which is noticed within seconds."""


class Reporting(Protocol):
    """Telling the leader how this node fares, and hearing of the others."""

    def stream(self, leader: str) -> AbstractAsyncContextManager[ReportStream]:
        """A stream to the leader's API at `leader` (`host:port`), open while the block runs.

        Entering raises `NoLeader` if that node does not lead, `Forbidden` if this one does not know the cluster's key,
        `Unavailable` if it does not answer.
        """


class Relay(Protocol):
    """Asking a member for what only it can say or do. Errors are those that it answers, and `Unavailable` if it does not."""

    async def live(self, door: str, task_id: str) -> LiveResource:
        """What the engine of the node at `door` (`host:port` of its API) says of a task."""

    async def transfer(self, door: str, node: str) -> None:
        """Have the leader at `door` hand over to the voter with the id `node`; empty: to any."""


class Partials(Protocol):
    """Fetching what another node has of a download."""

    async def look(self, door: str, task_id: str, attempt: int) -> Partial:
        """What the node at `door` has for attempt number `attempt` of the task, which is this node's.

        Raises `NotReady` while its engine has not let go of it or its table does not know of that attempt yet: ask again.
        `NotFound` if it has nothing; `Unavailable` if it does not answer.
        """

    async def read(self, door: str, task_id: str, attempt: int, file: PartialFile, offset: int, length: int) -> bytes:
        """So many bytes of `file` from `offset` on, verified against the digest that the other node sends along. Errors as
        `look`."""


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What an origin says of a file. `size` in bytes, 0 if it does not say; `validator`: its ETag, else its Last-Modified, else
    empty. `status`: HTTP's; `retry_after`: for so long (ms) it wants to be left alone, 0 if it did not say."""

    size: int = 0
    validator: str = ""
    status: int = 0
    retry_after: int = 0


class Origins(Protocol):
    """Asking the servers behind the links."""

    def asks(self, spec: TaskSpec) -> bool:
        """Is there anybody to ask about it? Cheap, and never raises."""

    async def probe(self, spec: TaskSpec) -> Probe | None:
        """What the origin of the task says of its file, without fetching it; None if it cannot be asked (other schemes than
        HTTP, proxies) or does not answer in time. Never raises."""


class Vault(Protocol):
    """Sealing secrets with a key of any length that others know, too. Quick."""

    def seal(self, key: bytes, text: str) -> str:
        """In letters, digits, `-` and `_`; the same text under the same key always alike."""

    def open(self, key: bytes, sealed: str) -> str:
        """What was sealed; `Unavailable` if it was with another key, or is damaged."""


class DocumentStore(Protocol):
    """Uploaded documents on this node's disk, by the SHA-256 of what is in them (hex)."""

    async def put(self, digest: str, data: bytes) -> None:
        """On the disk when this returns. `InvalidInput` if it is not what it is called, `Unavailable` if the disk refuses."""

    async def get(self, digest: str) -> bytes | None:
        """None if it is not here, or was damaged (it is not here then). `Unavailable` if the disk refuses."""

    async def known(self) -> set[str]:
        """Which are here. `Unavailable` if the disk refuses."""

    async def remove(self, digest: str) -> None:
        """Let go of it. Unknown: no-op."""


class DocumentPeers(Protocol):
    """Uploaded documents of the other members; `door` is `host:port` of a node's API."""

    async def push(self, door: str, digest: str, data: bytes) -> None:
        """Returns once that node has it on its disk. `Unavailable` if it does not answer, another error if it refuses."""

    async def fetch(self, door: str, digest: str) -> bytes:
        """Errors as `push`; `NotFound` if it is not there."""


class Opening(NamedTuple):
    """A staging folder that is to be opened; see `Folders.open`."""

    task_id: str
    fresh: bool


class Publishing(NamedTuple):
    """What is to be published; see `Folders.publish_all`."""

    task_id: str
    attempt: int
    dir: str


class Discarding(NamedTuple):
    """A staging folder that is to be removed; see `Folders.discard_all`."""

    task_id: str
    published: bool


class Folders(Protocol):
    """The download folder of this node and the staging folder of each task in it."""

    root: Path

    async def staged(self) -> dict[str, Staged]:
        """Every staging folder by task id, with its receipt if it was published."""

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        """The staging folder of a task, made if missing, emptied if `fresh`. Partial files that lack their control file
        are removed: resuming them would corrupt. `Unavailable` with the reason if the disk refuses."""

    async def open_all(self, works: Sequence[Opening]) -> list[Path | Unavailable]:
        """`open` for many tasks at once: what it would have answered or raised for each, in order."""

    async def partial(self, task_id: str) -> Partial | None:
        """What can be resumed of a download that nothing writes to; None if there is nothing. `Unavailable` if the disk
        refuses."""

    async def begun_as(self, task_id: str) -> str | None:
        """What the file is called that can be resumed; None if it is not one alone, outside of any folder. `Unavailable` if the
        disk refuses."""

    async def read(self, task_id: str, file: PartialFile, offset: int, length: int) -> bytes:
        """Bytes of one of its files. `Unavailable` if they are not there."""

    async def receive(self, task_id: str, partial: Partial) -> None:
        """Make the staging folder ready for `partial`, emptied first. `InvalidInput` if a path leads out of it,
        `Unavailable` if the disk refuses."""

    async def write(self, task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        """Write a part of one of those files. `Unavailable` if the disk refuses."""

    async def received(self, task_id: str, partial: Partial) -> None:
        """All of it was written: bring it to the disk, and only then put its control files in place. `Unavailable` if the disk
        refuses."""

    async def settle(self, task_id: str) -> None:
        """Bring what nothing writes to any more to the disk: it takes as long as the disk needs, and nothing else waits for it.
        What is published is brought there in any case. Unknown id: no-op. `Unavailable` if the disk refuses: nothing of it is
        published then before it is opened anew, which empties it."""

    async def publish_all(self, works: Sequence[Publishing]) -> list[Receipt | Unavailable]:
        """Move what the folder of each task holds to its `dir` below the root by rename, never over another file; the more at
        once, the less often the disk is waited for. Repeatable after a crash.

        Answers in order what of each lies where, or `Unavailable` with the reason if the disk refuses, or if the folder was
        not opened or discarded since another attempt was published.
        """

    async def discard_all(self, works: Sequence[Discarding]) -> list[Unavailable | None]:
        """Remove the staging folder of each task, and what its receipt says was published if `published`. Unknown id: no-op.
        Answers in order `Unavailable` with the reason if the disk refuses, else None."""

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
