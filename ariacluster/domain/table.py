"""The replicated table: tasks and members, changed by proposals alone, the same on every node.

`apply` never raises on a bad command and never reads a clock: it returns refusals, equal everywhere. Rows are frozen, so
`before` and `after` of a change can be handed around freely.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, ClassVar, NamedTuple

import msgspec
from sortedcontainers import SortedDict

from . import retry, union
from .commands import (
    Absorb,
    Adopt,
    Assign,
    Bury,
    Cancel,
    Command,
    Complete,
    Fail,
    Introduce,
    Miss,
    Outcome,
    Pause,
    Proposal,
    Refusal,
    Register,
    Release,
    Remove,
    Resign,
    Resume,
    Retry,
    Start,
    Submit,
    Succeed,
    Unregister,
)
from .formation import Membership
from .member import Member
from .queue import PendingQueue
from .task import MAX_FAILURES, MOVES, Failure, FailureKind, Task, TaskState

REMEMBERED_PROPOSALS = 65_536
"""How many proposal ids are remembered, at least: more than can be in flight while a caller still retries."""

REMEMBERED_REMOVALS = 65_536
"""How many removed ids, at least, are refused for a new task. A node may not have cleared away yet what the old one left,
and would take it for the new one's."""

FORGOTTEN_AT_ONCE = 4096
"""The oldest go in bunches: a dict finds its first key only by passing over all that were deleted before it. (It is no
`OrderedDict` because a snapshot copies it on the event loop: a dict of 65,536 takes 0.2 ms, the other 7 ms.)"""


class Change(NamedTuple):
    """A task row before and after; None where there was or is none."""

    before: Task | None
    after: Task | None


class Applied(NamedTuple):
    """What a proposal did: an outcome per command, and the rows it changed in order."""

    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...] = ()
    members_changed: bool = False


class TaskTable:
    """Every task and member of the cluster, with the indexes that keep decisions cheap."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.members: dict[str, Member] = {}
        self.next_seq = 1
        self.recent: dict[str, tuple[Outcome, ...]] = {}
        self.removed: dict[str, None] = {}
        self.absorbed: dict[str, None] = {}
        """Ids of the clusters that are one with this one now."""
        self.successor: Membership | None = None
        """The cluster that this one dissolves into. With it the table is closed."""
        self.language = 1
        """The newest version of commands that was ever applied: who does not understand it cannot hold this table."""
        # Indexes: derived, never replicated.
        self.queue = PendingQueue()
        self.by_state: dict[TaskState, SortedDict[int, str]] = {state: SortedDict() for state in TaskState}
        self.order: SortedDict[int, str] = SortedDict()
        self._assigned: dict[str, set[str]] = {}
        self._changes: list[Change] = []
        self._members_changed = False

    # -- reading ------------------------------------------------------------------------------------------------

    def assigned_to(self, node: str) -> Iterator[Task]:
        """The tasks that `node` should be working on."""
        return (self.tasks[task_id] for task_id in sorted(self._assigned.get(node, ())))

    def load_of(self, node: str) -> int:
        """How many tasks `node` has been given and not finished."""
        return len(self._assigned.get(node, ()))

    def busy_nodes(self) -> list[str]:
        return sorted(self._assigned)

    # -- writing ------------------------------------------------------------------------------------------------

    def apply(self, proposal: Proposal) -> Applied:
        """Apply a committed proposal. The same proposal id again changes nothing and has the same outcomes."""
        if (known := self.recent.get(proposal.id)) is not None:
            return Applied(known)
        self._changes, self._members_changed = [], False
        self.language = max(self.language, proposal.v)
        outcomes = tuple(self._do(command, proposal.at) for command in proposal.commands)
        self.recent[proposal.id] = outcomes
        _forget(self.recent, REMEMBERED_PROPOSALS)
        return Applied(outcomes, tuple(self._changes), self._members_changed)

    def put(self, task: Task) -> None:
        """Write a row and keep the indexes right."""
        before = self.tasks.get(task.id)
        if before is not None:
            self._unindex(before)
        self.load(task)
        self._changes.append(Change(before, task))

    def load(self, task: Task) -> None:
        """Write a row that is not there, as when a saved table is read."""
        self.tasks[task.id] = task
        self.order[task.seq] = task.id
        self.by_state[task.state][task.seq] = task.id
        if task.state is TaskState.PENDING:
            self.queue.add(task)
        if task.assigned_to is not None:
            self._assigned.setdefault(task.assigned_to, set()).add(task.id)

    def clear(self) -> None:
        """Let go of everything, a row at a time: of a table that nobody uses any more, in a thread."""
        self.queue.clear()
        while self.tasks:
            self.tasks.popitem()
        while self.recent:
            self.recent.popitem()

    def _drop(self, task: Task) -> None:
        self._unindex(task)
        del self.tasks[task.id]
        del self.order[task.seq]
        self._note_removed(task.id)
        self._changes.append(Change(task, None))

    def _note_removed(self, task_id: str) -> None:
        self.removed[task_id] = None
        _forget(self.removed, REMEMBERED_REMOVALS)

    def _unindex(self, task: Task) -> None:
        del self.by_state[task.state][task.seq]
        if task.state is TaskState.PENDING:
            self.queue.discard(task)
        if task.assigned_to is not None:
            mine = self._assigned[task.assigned_to]
            mine.discard(task.id)
            if not mine:
                del self._assigned[task.assigned_to]

    def _move(self, task: Task, move: str, at: int, **fields: Any) -> Outcome:
        """Make a legal move, or refuse it with the task's story."""
        legal = MOVES[move]
        if task.state not in legal.sources:
            return Refusal("illegal_move", f"Task {task.id} is {task.state}; {move} works only on {_names(move)}.")
        self.put(msgspec.structs.replace(task, state=legal.target, updated_at=at, **fields))
        return None

    def _find(self, task_id: str) -> Task | Refusal:
        task = self.tasks.get(task_id)
        return task if task is not None else Refusal("no_such_task", f"There is no task {task_id}.")

    def _current(self, task_id: str, attempt: int) -> Task | Refusal:
        """The task, if `attempt` is the one that runs now: the fence against nodes that were given up."""
        task = self._find(task_id)
        if isinstance(task, Task) and (task.attempt != attempt or task.assigned_to is None):
            return Refusal(
                "stale_attempt", f"Task {task_id} is {task.state} at attempt {task.attempt}; {attempt} is over."
            )
        return task

    def _do(self, command: Command, at: int) -> Outcome:
        if self.successor is not None:
            return Refusal("moved", "This cluster is dissolving into another one; ask again in a few seconds.")
        return self._HANDLERS[type(command)](self, command, at)

    # -- one method per command ---------------------------------------------------------------------------------

    def _submit(self, c: Submit, at: int) -> Outcome:
        known = self.tasks.get(c.task)
        if known is not None:
            return None if known.spec == c.spec else Refusal("task_exists", f"Task {c.task} asks for something else.")
        if c.task in self.removed:
            return Refusal("task_removed", f"Task {c.task} was removed; a new task needs a new id.")
        self.put(Task(id=c.task, spec=c.spec, seq=self.next_seq, created_at=at, updated_at=at))
        self.next_seq += 1
        return None

    def _assign(self, c: Assign, at: int) -> Outcome:
        task = self._find(c.task)
        if isinstance(task, Refusal):
            return task
        if c.attempt != task.attempt + 1:
            return Refusal("stale_attempt", f"Task {c.task} is at attempt {task.attempt}; {c.attempt} is not next.")
        if c.node not in self.members:
            return Refusal("not_found", f"There is no node {c.node}.")
        return self._move(task, "assign", at, attempt=c.attempt, node=c.node, reason=c.reason, not_before=0)

    def _start(self, c: Start, at: int) -> Outcome:
        task = self._current(c.task, c.attempt)
        if isinstance(task, Refusal):
            return task
        return None if task.state is TaskState.DOWNLOADING else self._move(task, "start", at)

    def _complete(self, c: Complete, at: int) -> Outcome:
        task = self._current(c.task, c.attempt)
        if isinstance(task, Refusal):
            return task
        return self._move(task, "complete", at, result=c.result)

    def _fail(self, c: Fail, at: int) -> Outcome:
        task = self._current(c.task, c.attempt)
        if isinstance(task, Refusal):
            return task
        retryable = retry.cause(c.code, c.message).retryable
        return self._end_attempt(task, c.kind, c.code, c.message, at, retryable=retryable, dice=c.dice)

    def _release(self, c: Release, at: int) -> Outcome:
        task = self._current(c.task, c.attempt)
        if isinstance(task, Refusal):
            return task
        return self._end_attempt(task, FailureKind.LOST, 0, c.message, at, retryable=True, dice=0.0)

    def _end_attempt(
        self, task: Task, kind: FailureKind, code: int, message: str, at: int, *, retryable: bool, dice: float
    ) -> Outcome:
        failure = Failure(attempt=task.attempt, node=task.node or "", at=at, kind=kind, code=code, message=message)
        verdict = retry.judge(task, failure, retryable, dice)
        failures = (*task.failures, failure)[-MAX_FAILURES:]
        tries = task.tries + (kind is not FailureKind.LOST)
        if isinstance(verdict, retry.GiveUp):
            return self._move(task, "fail", at, failures=failures, tries=tries, reason=verdict.reason)
        due = verdict.not_before
        return self._move(task, "release", at, failures=failures, tries=tries, reason=message, not_before=due)

    def _pause(self, c: Pause, at: int) -> Outcome:
        task = self._find(c.task)
        return task if isinstance(task, Refusal) else self._move(task, "pause", at, reason="", not_before=0)

    def _resume(self, c: Resume, at: int) -> Outcome:
        task = self._find(c.task)
        return task if isinstance(task, Refusal) else self._move(task, "resume", at)

    def _retry(self, c: Retry, at: int) -> Outcome:
        task = self._find(c.task)
        return task if isinstance(task, Refusal) else self._move(task, "retry", at, failures=(), tries=0, reason="")

    def _cancel(self, c: Cancel, at: int) -> Outcome:
        task = self._find(c.task)
        return task if isinstance(task, Refusal) else self._move(task, "cancel", at, reason="", not_before=0)

    def _remove(self, c: Remove, _at: int) -> Outcome:
        task = self._find(c.task)
        if isinstance(task, Refusal):
            return task
        self._drop(task)
        return None

    def _register(self, c: Register, at: int) -> Outcome:
        known = self.members.get(c.member.id)
        joined, missed = (known.joined_at, known.missed_since) if known else (at, 0)
        member = msgspec.structs.replace(c.member, joined_at=joined, missed_since=missed)
        if member != known:
            self.members[member.id] = member
            self._members_changed = True
        return None

    def _unregister(self, c: Unregister, _at: int) -> Outcome:
        member = self.members.get(c.node)
        if member is None:
            return Refusal("not_found", f"There is no node {c.node}.")
        if len(self.members) == 1:
            return Refusal("conflict", f"{member.name} is the only node; without it there is no cluster.")
        del self.members[c.node]
        self._members_changed = True
        return None

    def _introduce(self, c: Introduce, at: int) -> Outcome:
        return None if c.member.id in self.members else self._register(Register(c.member), at)

    def _adopt(self, c: Adopt, _at: int) -> Outcome:
        if c.row.id in self.removed:
            return Refusal("task_removed", f"Task {c.row.id} was removed here.")
        known = self.tasks.get(c.row.id)
        if known is None:
            self.put(msgspec.structs.replace(c.row, seq=self.next_seq))
            self.next_seq += 1
        elif (remains := msgspec.structs.replace(union.united(known, c.row), seq=known.seq)) != known:
            self.put(remains)
        return None

    def _bury(self, c: Bury, _at: int) -> Outcome:
        for task_id in c.tasks:
            if (task := self.tasks.get(task_id)) is not None:
                self._drop(task)
            else:
                self._note_removed(task_id)
        return None

    def _absorb(self, c: Absorb, _at: int) -> Outcome:
        self.absorbed[c.cluster] = None
        return None

    def _succeed(self, c: Succeed, _at: int) -> Outcome:
        self.successor = c.into
        return None

    def _miss(self, c: Miss, _at: int) -> Outcome:
        return self._note_member(c.node, missed_since=c.since)

    def _resign(self, c: Resign, _at: int) -> Outcome:
        return self._note_member(c.node, resigned=True)

    def _note_member(self, node: str, **fields: Any) -> Outcome:
        known = self.members.get(node)
        if known is None:
            return Refusal("not_found", f"There is no node {node}.")
        if (member := msgspec.structs.replace(known, **fields)) != known:
            self.members[node] = member
            self._members_changed = True
        return None

    _HANDLERS: ClassVar[dict[type, Callable[["TaskTable", Any, int], Outcome]]] = {
        Submit: _submit,
        Assign: _assign,
        Start: _start,
        Complete: _complete,
        Fail: _fail,
        Release: _release,
        Pause: _pause,
        Resume: _resume,
        Retry: _retry,
        Cancel: _cancel,
        Remove: _remove,
        Register: _register,
        Unregister: _unregister,
        Introduce: _introduce,
        Adopt: _adopt,
        Bury: _bury,
        Absorb: _absorb,
        Succeed: _succeed,
        Miss: _miss,
        Resign: _resign,
    }


def _forget(known: dict[str, Any], kept: int) -> None:
    if len(known) >= kept + FORGOTTEN_AT_ONCE:
        for oldest in list(islice(known, FORGOTTEN_AT_ONCE)):
            del known[oldest]


def _names(move: str) -> str:
    """The states that a move may leave, for a sentence: "pending, queued or paused"."""
    names = [state.value for state in TaskState if state in MOVES[move].sources]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
