"""This node's copy of the table: driven by the log, and the one way to change it.

Everything runs on the event loop, so a reader between two awaits sees one consistent table.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence

import structlog

from ariacluster.domain import snapshot
from ariacluster.domain.commands import (
    LANGUAGE,
    MAX_PROPOSAL_BYTES,
    SINCE,
    Command,
    Outcome,
    Proposal,
    Refusal,
    language,
)
from ariacluster.domain.errors import (
    AriaClusterError,
    InvalidInput,
    NoLeader,
    NoQuorum,
    NotReady,
    NotSpoken,
    Unavailable,
    UnknownOutcome,
    by_code,
)
from ariacluster.domain.table import Applied, TaskTable
from ariacluster.wire import codec
from ariacluster_node.ports import Clock, Consensus, ConsensusStatus

from . import caller

log = structlog.get_logger()

PROPOSE_TIMEOUT = 8.0
"""Seconds until a caller is told that the outcome is unknown: longer than an election, shorter than clients wait."""

FRESH_TIMEOUT = 5.0
"""Seconds until a reader who wants the latest is told that nobody can vouch for it: longer than an election."""

CAUGHT_UP_TIMEOUT = 0.5
"""Seconds until a reader who wants an answer in any case gets what there is: a leader that answers at all does so within
milliseconds, and one that is lost is known to be within this time."""

QUORUM_TIMEOUT = 1.0
"""Seconds for which a majority may be away until a caller is told so: longer than an election, which needs none of it."""

RETRY_PAUSE = 0.1
"""Seconds between tries while there is no leader."""

HEAD_BYTES = 512
"""Of a proposal, for what is not its commands: ids, times, whose word it is."""

FEW_COMMANDS = 64
"""So many are mostly small enough for one proposal: it is made, and looked at."""


MOST_COMMANDS = 500
"""In one proposal, however small they are: it is applied in one go, which takes some 5 ms then."""


ON_THEIR_WAY = 8
"""Log entries of one request that are written at a time: a disk and a network need not wait for each other, and others still
come in between."""


class Replica:
    """Fills `StateMachine`; `table` is to be read by all and changed by none."""

    def __init__(self, node_id: str, clock: Clock) -> None:
        self.table = TaskTable()
        self.node_id = node_id
        self._clock = clock
        self._consensus: Consensus | None = None
        self._waiting: dict[str, asyncio.Future[tuple[Outcome, ...]]] = {}
        self._watchers: list[Callable[[Applied | None], None]] = []
        self._timers: list[Callable[[float], None]] = []
        self.settled = True
        """False while rows that this node brought from another cluster are not in the table yet: until then it is not to be
        judged by."""

    # -- driven by the consensus --------------------------------------------------------------------------------

    def apply(self, index: int, payload: bytes) -> None:
        try:
            proposal = codec.decode_proposal(payload)
        except NotSpoken:
            raise  # others can read it: going on without it, this copy would be another one
        except AriaClusterError as error:
            # The same bytes are unreadable everywhere, so skipping them keeps the copies equal.
            log.error("log entry skipped", index=index, reason=error.detail)
            return
        applied = self.table.apply(proposal)
        waiter = self._waiting.pop(proposal.id, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(applied.outcomes)
        self._tell(applied)

    def admits(self, payload: bytes) -> bool:
        return codec.language_of(payload) <= LANGUAGE

    def snapshot(self) -> Callable[[], Iterable[bytes]]:
        taken = snapshot.take(self.table)
        return lambda: codec.encode_snapshot(taken)

    def load(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        table = codec.decode_snapshot(chunks)
        return lambda: self._replace(table)

    def _replace(self, table: TaskTable) -> None:
        old, self.table = self.table, table
        if old.tasks:
            # Letting go of 100,000 rows at once would hold up the loop; `clear` in a thread does it bit by bit.
            asyncio.get_running_loop().run_in_executor(None, old.clear)
        for proposal_id in [known for known in self._waiting if known in self.table.recent]:
            # What this node proposed came back inside the snapshot: `apply` will not be called for it.
            waiter = self._waiting.pop(proposal_id)
            if not waiter.done():
                waiter.set_result(self.table.recent[proposal_id])
        self._tell(None)

    # -- for the services ---------------------------------------------------------------------------------------

    def attach(self, consensus: Consensus) -> None:
        """Propose through this consensus from now on."""
        self._consensus = consensus

    def detach(self) -> None:
        self._consensus = None

    def clear(self) -> None:
        """Forget the table, which is another cluster's from now on."""
        self._replace(TaskTable())

    def watch(self, callback: Callable[[Applied | None], None]) -> None:
        """Call back after every applied proposal; with None after the whole table was replaced."""
        self._watchers.append(callback)

    def on_commit(self, callback: Callable[[float], None]) -> None:
        """Call back with the seconds that each proposal of this node took until it was applied here."""
        self._timers.append(callback)

    @property
    def consensus(self) -> Consensus:
        """The attached consensus; `NotReady` while there is none."""
        if self._consensus is None:
            raise NotReady("This node belongs to no cluster yet; try again in a few seconds.")
        return self._consensus

    @property
    def status(self) -> ConsensusStatus | None:
        """The consensus's, or None while this node belongs to no cluster."""
        return self._consensus.status() if self._consensus else None

    @property
    def ready(self) -> bool:
        status = self.status
        return status is not None and status.ready

    @property
    def leads(self) -> bool:
        """May this node act for the cluster? It leads, has applied what came before, and no other one can lead now."""
        status = self.status
        return status is not None and status.is_leader and status.ready and self.consensus.holds_lease()

    def quorum_lost(self) -> str:
        """That the cluster cannot decide anything, and whom it needs for that, as a sentence; empty if it can."""
        status = self.status
        if status is None or status.has_quorum or not status.voters:
            return ""
        names = [self.table.name_of(node) for node in status.missing]
        return (
            f"Of the cluster's {len(status.voters)} voters {' and '.join(names) or 'too many'} cannot be reached, and a "
            "majority is needed to decide anything. Running downloads go on."
        )

    @property
    def stale(self) -> bool:
        """Does nobody vouch for this copy? It follows no leader, or has not caught up with it."""
        status = self.status
        return status is None or status.leader is None or not status.ready

    async def fresh(self, *, timeout: float = FRESH_TIMEOUT) -> None:
        """Return once a read of the table shows all that was committed before this call. `NoQuorum`, `NoLeader`,
        `NotReady` or `UnknownOutcome` if the cluster cannot vouch for that in time."""
        try:
            await self.consensus.barrier(timeout=timeout)
        except (NoLeader, UnknownOutcome) as error:
            status = self.status
            if status is not None and not status.has_quorum:
                raise NoQuorum(
                    "This node cannot reach a majority of the voters, so it cannot tell whether it has the latest. "
                    "Ask without fresh=true for what it has."
                ) from None
            raise error

    async def caught_up(self, *, timeout: float = CAUGHT_UP_TIMEOUT) -> bool:
        """As `fresh`, for a reader who takes what there is if nobody can vouch for it soon: whether somebody did."""
        if self.stale:
            return False
        try:
            await self.consensus.barrier(timeout=timeout)
        except (NoLeader, NotReady, UnknownOutcome):
            return False
        return True

    async def abreast(self, *, timeout: float = PROPOSE_TIMEOUT) -> None:
        """As `fresh`, for a writer who goes by what is there. `NoLeader`, `NoQuorum`, `NotReady`, as the write itself would be
        refused."""
        deadline = self._clock.monotonic() + timeout
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                return await self.consensus.barrier(timeout=min(left, QUORUM_TIMEOUT))
            except (NoLeader, UnknownOutcome):
                if lost := self.quorum_lost():
                    raise NoQuorum(f"{lost} Nothing was changed.") from None
            await asyncio.sleep(RETRY_PAUSE)
        raise NoLeader("No leader could vouch for what this node knows. Nothing was changed; try again in a moment.")

    async def propose(self, commands: Sequence[Command], *, timeout: float = PROPOSE_TIMEOUT) -> list[Outcome]:
        """Commit the commands in order, in as few log entries as fit; each one's outcome once applied here.

        Raises `NoLeader`, `NoQuorum`, `Overloaded`, `NotReady` if none of it was taken for certain, `UnknownOutcome` if that
        cannot be told or only a part was, `InvalidInput` if one command alone is too large, `NotSpoken` if a member does not
        understand it; nothing is proposed then.
        """
        self._check_language(commands)
        outcomes: list[Outcome] = []
        for proposal, payload in self._parts(tuple(commands)):
            try:
                outcomes += await self._commit(proposal, payload, timeout)
            except Unavailable as error:
                if not outcomes:
                    raise
                raise _only_a_part(error) from None
        return outcomes

    async def propose_many(
        self, commands: Sequence[Command], *, at_once: int, timeout: float = PROPOSE_TIMEOUT
    ) -> list[Outcome]:
        """As `propose`, with so many log entries on their way at a time: thousands of commands need not wait for a disk and a
        network once for each. The order holds unless a leader is lost meanwhile."""
        self._check_language(commands)
        parts = self._parts(tuple(commands))
        taken: dict[int, tuple[Outcome, ...]] = {}
        troubles: list[Unavailable | UnknownOutcome] = []
        left = iter(enumerate(parts))

        async def carry() -> None:
            for number, (proposal, payload) in left:
                if troubles:
                    return
                try:
                    taken[number] = await self._commit(proposal, payload, timeout)
                except (Unavailable, UnknownOutcome) as error:
                    troubles.append(error)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(carry())
        if troubles:
            doubt = next((error for error in troubles if isinstance(error, UnknownOutcome)), None)
            if taken or doubt:
                raise _only_a_part(doubt or troubles[0]) from None
            raise troubles[0]
        return [outcome for number in range(len(parts)) for outcome in taken[number]]

    async def change(self, command: Command) -> None:
        """Propose one command; a refusal is raised as the error it names."""
        [outcome] = await self.propose([command])
        if isinstance(outcome, Refusal):
            raise by_code(outcome.code)(outcome.detail, task=outcome.task or None)

    def understood(self, command: type) -> bool:
        """Would every member that is written down understand such a command?"""
        return all(member.speaks >= SINCE.get(command, 1) for member in self.table.members.values())

    def _check_language(self, commands: Sequence[Command]) -> None:
        """The members are asked here, where the sentence can name them; the leader asks itself again, see `admits`."""
        needed = language(commands)
        behind = [member.name for member in self.table.members.values() if member.speaks < needed]
        if behind:
            raise NotSpoken(
                f"That needs version {needed} of the commands, which {' and '.join(behind)} cannot understand: update Aria "
                "Cluster there first."
            )

    def _parts(self, commands: tuple[Command, ...]) -> list[tuple[Proposal, bytes]]:
        """As few proposals as fit. `InvalidInput` if a command alone does not."""
        if len(commands) <= FEW_COMMANDS:
            whole = self._part(commands)
            if len(whole[1]) <= MAX_PROPOSAL_BYTES:
                return [whole]
        parts: list[tuple[Proposal, bytes]] = []
        begin, room = 0, MAX_PROPOSAL_BYTES - HEAD_BYTES
        for place, command in enumerate(commands):
            size = codec.size_of(command)
            if (size > room and place > begin) or place - begin == MOST_COMMANDS:
                parts.append(self._part(commands[begin:place]))
                begin, room = place, MAX_PROPOSAL_BYTES - HEAD_BYTES
            room -= size
        parts.append(self._part(commands[begin:]))
        if any(len(payload) > MAX_PROPOSAL_BYTES for _, payload in parts):
            raise InvalidInput(f"This is too large for the cluster's log; it may have {MAX_PROPOSAL_BYTES} bytes.")
        return parts

    def _part(self, commands: tuple[Command, ...]) -> tuple[Proposal, bytes]:
        proposal = Proposal(
            id=secrets.token_hex(8),
            at=self._clock.now(),
            by=self.node_id,
            who=caller.WHO.get(),
            commands=commands,
            v=language(commands),
        )
        return proposal, codec.encode_proposal(proposal)

    async def _commit(self, proposal: Proposal, payload: bytes, timeout: float) -> tuple[Outcome, ...]:
        """One entry, retried under its own id, which makes that harmless."""
        waiter: asyncio.Future[tuple[Outcome, ...]] = asyncio.get_running_loop().create_future()
        self._waiting[proposal.id] = waiter
        deadline = self._clock.monotonic() + timeout
        doubt: AriaClusterError | None = None
        try:
            while (left := deadline - self._clock.monotonic()) > 0:
                try:
                    leads = (status := self.status) is not None and status.leader is not None
                    await self.consensus.propose(payload, timeout=left if leads else min(left, QUORUM_TIMEOUT))
                    if not waiter.done():
                        # Not `wait_for`: giving up would cancel the waiter, and the next try needs it.
                        await asyncio.wait({waiter}, timeout=max(RETRY_PAUSE, deadline - self._clock.monotonic()))
                    doubt = _unknown()
                except NoLeader as error:
                    doubt = doubt or error
                    if not isinstance(doubt, UnknownOutcome) and (lost := self.quorum_lost()):
                        raise NoQuorum(f"{lost} Nothing was changed.") from None
                except UnknownOutcome:
                    doubt = _unknown()
                except Unavailable:
                    if isinstance(doubt, UnknownOutcome):  # refused now, but an earlier try may have been taken
                        raise doubt from None
                    raise
                if waiter.done():
                    for timer in self._timers:
                        timer(self._clock.monotonic() + timeout - deadline)
                    return waiter.result()
                await asyncio.sleep(RETRY_PAUSE)
            raise doubt or NoLeader("The cluster has no leader; a majority of its nodes must be up.")
        finally:
            self._waiting.pop(proposal.id, None)
            waiter.cancel()

    def _tell(self, applied: Applied | None) -> None:
        for watcher in self._watchers:
            watcher(applied)


def _only_a_part(error: AriaClusterError) -> UnknownOutcome:
    return UnknownOutcome(f"Only a part of it was taken: {error.detail} Look before trying again.")


def _unknown() -> UnknownOutcome:
    return UnknownOutcome("The cluster did not confirm in time; the change may still happen. Look before trying again.")
