"""The ground floor of the core: what it holds, who votes, who is there.

The core is pysyncobj's state machine with its dangerous parts replaced, in floors, each a subclass of the one below:
members, elections, leading, following, requests, core. The library's private parts are written `self.__name` in all of
them, as if they were ours: Python mangles such names with the name of the class without its leading underscores, and each
of these classes is called as the library's is. That is why the library is pinned exactly (`library`). No properties here: the
library evaluates every attribute while it is built. What is overridden, why, and which paragraph of the Raft paper that
restores stands in README.md beside this file.
"""

from collections.abc import Callable
from typing import Any

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node
from pysyncobj.syncobj import _COMMAND_TYPE

from ariacluster.domain.errors import AriaClusterError, Conflict

from . import configurations
from .configurations import Configurations, Voters
from .host import FollowerStatus, Given, Outcome, Timing
from .library import now
from .progress import Progress
from .store.wal import Wal

MAX_QUEUED = 10_000
"""Commands that wait to be written; above it callers are told to come back."""

REGULAR, NO_OP, MEMBERSHIP = (
    bytes([kind]) for kind in (_COMMAND_TYPE.REGULAR, _COMMAND_TYPE.NO_OP, _COMMAND_TYPE.MEMBERSHIP)
)
"""The first byte of a command in the log."""


CAUGHT_UP = 1000
"""A learner that lacks no more entries of what is committed may vote: it will have them in a moment."""


class Peer(Node):  # type: ignore[misc]  # the library has no types
    """The library's word for another node, known by its id alone. Hashed once: sets of nodes are asked all the time."""

    id = ""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.__dict__.update(id=node, hash=hash(node))

    def __hash__(self) -> int:
        return int(self.hash)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Peer) and self.id == other.id)


_NOBODY = Peer("")


class _Outbox:
    """Stands where the library expects a transport. The links are not its business; what it sends goes to `say`."""

    ready = True

    def __init__(self, say: Callable[[Node, dict[str, Any]], None]) -> None:
        self.send = say

    def _nothing(self, *_: Any) -> None:
        """Nothing to do."""

    setOnNodeConnectedCallback = setOnNodeDisconnectedCallback = setOnMessageReceivedCallback = _nothing
    setOnReadonlyNodeConnectedCallback = setOnReadonlyNodeDisconnectedCallback = _nothing
    setOnUtilityMessageCallback = addNode = dropNode = tryGetReady = destroy = _nothing


class _SyncObj(SyncObj):  # type: ignore[misc]  # the library has no types
    """Who is who."""

    # What of the library's inside all floors lean on.
    __selfNode: Node
    __otherNodes: set[Node]  # the other voters, and two more: see `_sort_out`
    __readonlyNodes: set[Node]  # who is there and does not vote
    __connectedNodes: set[Node]
    __raftState: int
    __raftLeader: Node | None
    __raftCurrentTerm: int
    __votedForNodeId: str | None
    __raftElectionDeadline: float
    __transferInProgress: bool
    __raftLog: Wal
    __raftCommitIndex: int
    __raftLastApplied: int
    __noopIDx: int
    __raftMatchIndex: dict[Node, int]
    __lastResponseTime: dict[Node, float]
    __commandsLocalCounter: int
    __commandsWaitingReply: dict[int, Callable[[Any, int], None]]
    __commandsWaitingCommit: dict[int, list[tuple[int, Callable[[Any, int], None]]]]

    def __init__(self, given: Given) -> None:
        self._me = given.me
        self._snapshots = given.snapshots
        self._links = given.links
        self._host = given.host
        self._dice = given.dice
        self._timing = given.timing
        self._configurations = Configurations()
        self._peers: list[Node] = []
        """Everybody whom a leader feeds, always in the same order."""
        self._progress: dict[Node, Progress] = {}
        """While this node leads: how far each follower is."""
        self.followers: tuple[FollowerStatus, ...] = ()
        """The same for others; may be read from any thread."""
        self._asked: dict[int, Any] = {}
        """Reads for which the leader was asked: the tokens by number."""
        self._refusal: AriaClusterError | None = None
        """Why the last change of the voters was not taken."""
        super().__init__(
            Peer(given.me), [], _settings(given.wal, given.timing), nodeClass=Peer, transport=_Outbox(self._say)
        )

    def _note_configuration(self, command: bytes, index: int) -> bool:
        voters = self.__parseChangeClusterRequest(command)
        if voters is not None:
            self._configurations.add(index, voters)
        return voters is not None

    def _sort_out(self) -> None:
        """Who votes and who is there has changed: sort the nodes into the library's sets."""
        voters = self._configurations.latest.voters
        me = self.__selfNode
        others = {Peer(voter) for voter in voters if voter != me.id}
        self.__readonlyNodes = {node for node in self.__connectedNodes if node not in others}
        self._peers = sorted(others | self.__readonlyNodes, key=lambda node: str(node.id))
        # The library counts the node itself among the voters, and as having all on disk. One that never has anything makes
        # up for that; if the node does vote, it stands among the others as well, with what it really has (`Leading`).
        self.__otherNodes = {*others, _NOBODY, me} if me.id in voters else {*others, _NOBODY}
        if self._isLeader():
            self._track()
        self._want()

    def _want(self) -> None:
        """Voters keep links with everybody; others with the voters, and with everybody while they hear no leader."""
        voters = self._configurations.latest.voters
        everybody = self._me in voters or not voters or self.__raftLeader is None
        self._links.want(None if everybody else voters)

    def _track(self) -> None:
        """As leader: keep count of each follower, old and new ones."""
        for node in self._peers:
            if node not in self._progress:
                self._progress[node] = Progress(self.__raftLog[-1][1] + 1, now())
            self.__raftMatchIndex[node] = self._progress[node].match
            self.__lastResponseTime.setdefault(node, now())
        for node in self._progress.keys() - set(self._peers):
            self._progress.pop(node).stop_sending()
        self._tell_followers()

    def _tell_followers(self) -> None:
        last = self.__raftLog[-1][1]
        self.followers = tuple(
            FollowerStatus(
                node=node.id,
                lag=last - progress.match,
                responded=progress.responded,
                connected=node in self.__connectedNodes,
            )
            for node, progress in self._progress.items()
        )

    def __changeCluster(self, voters: Voters) -> bool:
        """May it be appended? Effective at once if so (§4.1). The library's own guard is never armed."""
        quorum_since = now() - self._timing.quorum_s
        lately = {node.id for node, progress in self._progress.items() if progress.responded > quorum_since}
        here = {node.id for node in self.__connectedNodes} & lately
        enough = self.__raftCommitIndex - CAUGHT_UP
        fit = {node.id for node, progress in self._progress.items() if progress.match >= max(enough, 1)} & here
        if self.__raftCommitIndex < self.__noopIDx:
            self._refusal = Conflict("This leader has just been elected. Try again in a moment.")
        else:
            self._refusal = configurations.refusal(
                self._configurations.latest,
                voters,
                leader=self._me,
                commit=self.__raftCommitIndex,
                fit=fit,
                present=here,
            )
        if self._refusal is not None:
            return False
        self._configurations.add(self.__raftLog[-1][1] + 1, voters)
        self._sort_out()
        return True

    def __parseChangeClusterRequest(self, command: bytes) -> Voters | None:
        return configurations.decode(command[1:]) if command[:1] == MEMBERSHIP else None

    def _leader_gone(self) -> None:
        """Nobody leads as far as this node can tell: what was asked of the leader will not be answered."""
        if self.__raftLeader is not None:
            self.__raftLeader = None
            self._want()
        self.__onLeaderChanged()
        asked, self._asked = self._asked, {}
        for token in asked.values():
            self._host.settle(token, Outcome.NOT_TAKEN, None)

    def _say(self, node: Node, message: dict[str, Any]) -> None:
        """The library says something to another node."""
        raise NotImplementedError


Members = _SyncObj


def _settings(wal: Wal, timing: Timing) -> SyncObjConf:
    """For the parts of the library that still run; what it would do with files, sockets and threads is off."""
    low, high = timing.election_s
    return SyncObjConf(
        autoTick=False,
        journalFile=wal,  # see `library`
        raftMinTimeout=low,
        raftMaxTimeout=high,
        appendEntriesPeriod=timing.heartbeat_s,
        appendEntriesUseBatch=True,  # we send at the end of each tick
        leaderFallbackTimeout=timing.quorum_s,
        commandsQueueSize=MAX_QUEUED,
        commandsWaitLeader=False,  # a queued command would outlive the deadline of its caller
        dynamicMembershipChange=True,
    )
