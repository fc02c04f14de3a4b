"""Leaving a cluster for another one, with all that this node knows, while its downloads run on.

One way for four reasons: a founder that has only ever been alone hears another cluster of its name; two clusters are merged
by a word; a cluster that lost its majority is begun anew (`recover`), and its other members come back to that. What is true
before is in the log, or on the LAN; this decides, and `move` carries it out:

1. the consensus of the old cluster is stopped: nothing changes its table any more;
2. the table is written down as this node's heritage, then the membership of the new cluster: the one step that counts;
3. the consensus of the new cluster is started, and the heritage proposed there, row by row (`domain.heritage`).

Whoever is killed before the second step is still where it was; after it, it goes on with the third. Meanwhile the worker
rests, for it would not find its rows in the new table.
"""

import asyncio
from itertools import islice

import msgspec
import structlog

from ariacluster.domain import formation, snapshot
from ariacluster.domain.commands import Adopt, Command, Proposal, Refusal, Succeed
from ariacluster.domain.errors import AriaClusterError, Conflict, InvalidInput, Moved, NotFound, NotReady
from ariacluster.domain.formation import Heard, Join, Membership
from ariacluster.domain.heritage import carried
from ariacluster.domain.table import TaskTable
from ariacluster.domain.union import slim
from ariacluster.wire import codec
from ariacluster_node.ports import Clock, Heritage, Memory

from .cluster import Cluster
from .forming import Forming
from .lan import Lan
from .replica import Replica
from .secrets import Secrets

log = structlog.get_logger()

LOOK_PERIOD = 1.0
"""Seconds between looks at who else is there."""

ASK_PERIOD = 3.0
"""Seconds after which a node that is alone asks the LAN anew: multicast may have begun to work."""

HESITATE_S = 1.5
"""Seconds for which a lone founder has heard of others before it moves: till then it may hear of a better place."""

STRANDED_S = 5.0
"""Seconds without a leader after which a node asks whether its cluster lives on elsewhere."""

TRY_PAUSE = 0.5
"""Seconds between tries to be rid of the heritage."""

ROWS_AT_ONCE = 200
"""Rows that are proposed together."""

ARRIVED_S = 20.0
"""Seconds that a person waits for a move to be done; it goes on after that."""


class Moving:
    """Where this node is bound for, and what it brings there."""

    def __init__(
        self,
        cluster: Cluster,
        replica: Replica,
        lan: Lan,
        forming: Forming,
        memory: Memory,
        clock: Clock,
        secrets: Secrets,
    ) -> None:
        self._cluster = cluster
        self._replica = replica
        self._lan = lan
        self._forming = forming
        self._memory = memory
        self._clock = clock
        self._secrets = secrets
        self._bound: asyncio.Future[Membership] | None = None
        self._arrived = asyncio.Event()
        self._others_since: float | None = None
        self._leaderless_since: float | None = None
        self._asked_at = float("-inf")
        self._told: frozenset[str] = frozenset()

    # -- whereto ------------------------------------------------------------------------------------------------

    async def departure(self) -> Membership:
        """Wait until this node shall leave its cluster; where it goes."""
        self._bound = asyncio.get_running_loop().create_future()
        self._others_since = self._leaderless_since = None
        self._cluster.leaving = False
        while not self._bound.done():
            if (into := await self._whereto()) and not self._bound.done():
                self._bound.set_result(into)
            await asyncio.wait({self._bound}, timeout=LOOK_PERIOD)
        return self._bound.result()

    async def _whereto(self) -> Membership | None:
        status, mine = self._replica.status, self._cluster.membership
        if status is None or mine is None:
            return None
        if self._replica.table.successor is not None:
            return self._replica.table.successor
        self._say_who_else_is_there()
        now = self._clock.monotonic()
        if status.leader is not None:
            self._leaderless_since = None
            if self._replica.leads and status.missing and now - self._asked_at >= STRANDED_S:
                # One of them may have begun the cluster anew, where no multicast tells of it.
                self._asked_at = now
                await self._lan.meet(mine.doors[node] for node in status.missing if node in mine.doors)
            return await self._dissolve(mine, now)
        if self._leaderless_since is None:
            self._leaderless_since = now
        if now - max(self._leaderless_since, self._asked_at) >= STRANDED_S:
            self._asked_at = now
            return await self._come_back(mine)
        return None

    async def _dissolve(self, mine: Membership, now: float) -> Membership | None:
        """Of a cluster that works: it goes on elsewhere, or it was only ever this node and has found company."""
        heard = self._lan.heard()
        announced = self._cluster.announcement()
        if heirs := formation.succeeded(announced, heard):
            if self._replica.leads and (into := await self._knock(heirs, mine)):
                log.info("this cluster was recovered elsewhere; dissolving into that one", cluster=into.cluster_id)
                await self._leave_for(into)
            return None
        if not mine.lone:
            return None
        if now - self._asked_at >= ASK_PERIOD:
            self._asked_at = now
            self._lan.ask()
        if not formation.yields(announced, heard):
            self._others_since = None
            return None
        if self._others_since is None:
            self._others_since = now
            await self._lan.meet(h.door for h in heard if h.cluster_name == mine.cluster_name)
        if now - self._others_since < HESITATE_S:
            return None
        # From here on it lets nobody in; and if it has let somebody in meanwhile, it stays.
        self._cluster.leaving = True
        better = formation.yields(self._cluster.announcement(), self._lan.heard())
        into = await self._knock(better, mine) if better else None
        if into is None or not (self._cluster.membership and self._cluster.membership.lone):
            self._cluster.leaving = False
            return None
        log.info("this node was alone, and joins those that it found", cluster=into.cluster_id)
        return into

    async def _come_back(self, mine: Membership) -> Membership | None:
        """Of a cluster without a leader: it may have been recovered, or merged, while this node was away."""
        await self._lan.meet(door for node, door in mine.doors.items() if node != self._cluster.me.id)
        self._lan.ask()
        heard = self._lan.heard()
        if heirs := formation.succeeded(self._cluster.announcement(), heard):
            return await self._knock(heirs, mine)
        for others in formation.others(self._cluster.announcement(), heard):
            if into := await self._knock(Join(others), mine, stranded=True):
                return into
        return None

    async def _knock(self, doors: Join, mine: Membership, *, stranded: bool = False) -> Membership | None:
        for heard in doors.doors:
            welcome = await self._forming.knock(heard.door, leaves=mine.cluster_id, stranded=stranded)
            if welcome is not None and welcome.cluster_id != mine.cluster_id:
                return welcome
        return None

    async def _leave_for(self, into: Membership) -> None:
        """Say the last word of this cluster's log; everybody who applies it moves."""
        try:
            await self._replica.change(Succeed(into))
        except AriaClusterError as error:
            log.info("not dissolved yet", reason=error.detail)

    # -- what people say ----------------------------------------------------------------------------------------

    def others(self) -> list[tuple[Heard, ...]]:
        """The other clusters of this one's name, each as its nodes that are heard; the one that comes first, first."""
        return formation.others(self._cluster.announcement(), self._lan.heard())

    def find(self, into: str) -> tuple[Heard, ...]:
        """The cluster that a person means by the beginning of its id, or by nothing if there is only one. `NotFound`,
        `Conflict`."""
        found = [nodes for nodes in self.others() if nodes[0].cluster_id.startswith(into)]
        if not found:
            raise NotFound(
                f"No other cluster called {self._cluster.cluster_name!r} is heard here; `ariacluster doctor` says why not.",
                field="into",
            )
        if len(found) > 1:
            ids = " and ".join(nodes[0].cluster_id for nodes in found)
            raise Conflict(f"There are {len(found)} others: say into which, {ids}.", field="into")
        return found[0]

    async def merge(self, into: str) -> None:
        """Dissolve this cluster into another one, with all its members; returns once this node has arrived there."""
        mine = self._cluster.membership
        if mine is None or self._bound is None:
            raise NotReady("This node belongs to no cluster yet; ask again in a few seconds.")
        nodes = self.find(into)
        welcome = await self._knock(Join(nodes), mine)
        if welcome is None:
            raise Conflict(f"The cluster {nodes[0].cluster_id} does not let this one in now; its nodes' logs say why.")
        self._arrived.clear()
        await self._replica.change(Succeed(welcome))
        await self._arrive()

    async def recover(self) -> None:
        """Begin the cluster anew from what this node knows, for its majority is lost; returns once that is so."""
        if self._cluster.membership is None or self._bound is None or self._bound.done():
            raise NotReady("This node belongs to no cluster yet, or is moving; ask again in a few seconds.")
        if not self._replica.quorum_lost():
            raise Conflict("This cluster has its majority: there is nothing to recover.")
        into = self._forming.founded(was=self._cluster.membership.cluster_id)
        log.warning("recovering: a new cluster begins with what this node knows", cluster=into.cluster_id, was=into.was)
        self._arrived.clear()
        self._bound.set_result(into)
        await self._arrive()

    async def _arrive(self) -> None:
        try:
            async with asyncio.timeout(ARRIVED_S):
                await self._arrived.wait()
        except TimeoutError:
            raise NotReady("It is still under way; `ariacluster status` tells when it is done.") from None

    def _say_who_else_is_there(self) -> None:
        others = {nodes[0].cluster_id: nodes for nodes in self.others()}
        for cluster_id in others.keys() - self._told:
            names = sorted(heard.node_name for heard in others[cluster_id])
            log.warning(
                "another cluster of this name is here",
                cluster=cluster_id,
                nodes=names,
                hint="a lone one joins by itself; of two grown ones `ariacluster cluster merge` makes one",
            )
        self._told = frozenset(others)

    # -- the move -----------------------------------------------------------------------------------------------

    async def move(self, into: Membership) -> None:
        """Belong to `into` from now on. The consensus must have been stopped."""
        left = self._cluster.membership
        assert left is not None
        await self._memory.save_heritage(await self._pack(left, into))
        await self._cluster.keep(into)
        self._replica.settled = False
        self._replica.clear()
        await self._memory.tidy(into.cluster_id)
        log.info("moved", cluster=into.cluster_id, left=left.cluster_id)

    async def _pack(self, left: Membership, into: Membership) -> Heritage:
        """With its secrets sealed for the other cluster."""
        table = self._replica.table
        if (before := await self._memory.heritage(left.cluster_id)) is not None:
            # What it brought into the cluster that it leaves may not all be there yet.
            older = await asyncio.to_thread(codec.decode_snapshot, before.chunks)
            table = await asyncio.to_thread(_together, table, older, before.of)
        taken = snapshot.take(table)
        chunks = await asyncio.to_thread(self._sealed_for, taken, bytes.fromhex(left.key), bytes.fromhex(into.key))
        return Heritage(of=left.cluster_id, into=into.cluster_id, chunks=chunks)

    def _sealed_for(self, taken: snapshot.Snapshot, old: bytes, new: bytes) -> list[bytes]:
        return list(codec.encode_snapshot(self._secrets.resealed(taken, old, new)))

    async def unpack(self) -> None:
        """Once this node is written down: bring what it carries into the cluster's table, if it carries anything."""
        mine = self._cluster.membership
        heritage = await self._memory.heritage(mine.cluster_id) if mine else None
        if heritage is not None:
            table = await asyncio.to_thread(codec.decode_snapshot, heritage.chunks)
            # Of a closed table all carry the same, and once is enough. One that was begun anew has only what the survivor knew.
            if table.successor is None or not self._replica.table.absorbed.get(heritage.of):
                await self._bring(table, heritage.of)
            await self._memory.drop_heritage()
            log.info("all that this node brought is in the table", tasks=len(table.tasks), of=heritage.of)
        self._replica.settled = True
        self._arrived.set()

    async def _bring(self, table: TaskTable, of: str) -> None:
        commands = carried(table, of)
        while batch := list(islice(commands, ROWS_AT_ONCE)):
            await self._bring_these(batch)

    async def _bring_these(self, commands: list[Command]) -> None:
        while True:
            try:
                outcomes = await self._replica.propose(commands)
                if any(isinstance(outcome, Refusal) and outcome.code == Moved.code for outcome in outcomes):
                    raise Moved("This cluster is dissolving itself; all of it goes along.")  # `departure` ends this
                return
            except InvalidInput as error:  # a row that fits the log by itself, and not with all of its story
                if len(commands) > 1:
                    middle = len(commands) // 2
                    await self._bring_these(commands[:middle])
                    await self._bring_these(commands[middle:])
                    return
                slimmer = [_slim(command) for command in commands]
                if slimmer == commands:
                    log.error("left behind: too large for the log", what=_name(commands[0]), reason=error.detail)
                    return
                commands = slimmer
            except AriaClusterError as error:
                log.info("what this node brought is not in the table yet", reason=error.detail)
                await asyncio.sleep(TRY_PAUSE)


def _together(table: TaskTable, older: TaskTable, of: str) -> TaskTable:
    """A copy of `table` with what `older` adds to it. Not closed, even if `table` is: the others of its cluster do not carry
    the same, so it must be brought whoever was there before."""
    both = codec.decode_snapshot(codec.encode_snapshot(snapshot.take(table)))
    both.successor = None
    both.apply(Proposal(id="together", at=0, by="", commands=tuple(carried(older, of))))
    both.recent.pop("together")
    return both


def _slim(command: Command) -> Command:
    return msgspec.structs.replace(command, row=slim(command.row)) if isinstance(command, Adopt) else command


def _name(command: Command) -> str:
    return command.row.id if isinstance(command, Adopt) else type(command).__name__
