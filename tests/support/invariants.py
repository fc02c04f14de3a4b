"""What must hold of a table at any moment (`check`), and of every step that it takes (`Witness`).

Written against the promises, not the code: a plain second opinion on what each command does to the rows, the members, the
policy and the origins that want to be left alone, compared with the table after each proposal.
"""

from collections import Counter
from typing import Any

import msgspec

from ariacluster.domain import retry
from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Configure,
    Drain,
    Edit,
    Elect,
    Fail,
    Introduce,
    Measure,
    MemberCommand,
    Miss,
    Move,
    Outcome,
    Pause,
    Proposal,
    Refusal,
    Register,
    Release,
    Relink,
    Remove,
    Resign,
    Resume,
    Retry,
    Start,
    Submit,
    TaskCommand,
    Took,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.member import Member
from ariacluster.domain.origins import Origin
from ariacluster.domain.policy import Policy
from ariacluster.domain.table import Applied, Change, TaskTable
from ariacluster.domain.task import ASSIGNED, FINAL, MOVES, FailureKind, Task, TaskState, mark_of
from tests.support.full_scan import DAY_MS, check, derived, fetched, servers

__all__ = ["Witness", "check", "derived", "servers"]

AGE_MS = 30 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
MINUTE_MS = 60 * 1000
USELESS = {8, 10, 32}
"""aria2's codes after which the bytes that are there are of no use."""

EDGES = {(source, move.target) for move in MOVES.values() for source in move.sources}

P, Q, D = TaskState.PENDING, TaskState.QUEUED, TaskState.DOWNLOADING


class Witness:
    """Sees every proposal go into one table, and has a second opinion on each."""

    def __init__(self, table: TaskTable) -> None:
        self.table = table
        self.log: list[Proposal] = []
        self._members = dict(table.members)
        self._policy = table.policy
        self._origins = dict(table.origins)
        self._latest = table.latest
        self._seq = table.next_seq
        self._assignments = table.assignments
        self._given = {node: table.given_to(node) for node in {*table.members, *table.busy_nodes()}}
        self._completed: set[tuple[str, int, int]] = set()
        self._answered: dict[str, Applied] = {}
        self._removed = set(table.removed)
        self._term = table.term
        self._told = table.history.seq
        self._worth_telling = Counter[tuple[str, str]]()

    def apply(self, proposal: Proposal) -> Applied:
        """`TaskTable.apply`, checked before, during and after."""
        rows = dict(self.table.tasks)
        applied = self.table.apply(proposal)
        self.log.append(proposal)
        if (answered := self._answered.get(proposal.id)) is not None:
            assert applied == Applied(answered.outcomes), "a repeated proposal changes nothing and answers the same"
            assert rows == self.table.tasks
            assert self.table.history.seq == self._told
        else:
            before = (dict(self._members), self._policy, self._term)
            self._answered[proposal.id] = applied
            self._follow(proposal, applied, rows)
            self._follow_history(proposal, applied, *before)
        self._compare()
        check(self.table)
        return applied

    def _compare(self) -> None:
        """What it followed by itself is what the table has."""
        table = self.table
        assert table.members == self._members
        assert table.policy == self._policy
        assert table.origins == self._origins
        assert table.latest == self._latest
        assert table.next_seq == self._seq
        assert (table.term, table.history.seq) == (self._term, self._told)
        assert table.removed.keys() == self._removed
        assert all(table.given_to(node) == given for node, given in self._given.items())

    def _follow(self, proposal: Proposal, applied: Applied, rows: dict[str, Task]) -> None:
        """Walk through commands and changes side by side, from the rows before to the rows after."""
        assert len(applied.outcomes) == len(proposal.commands)
        changes, members = iter(applied.changes), dict(self._members)
        self._worth_telling = Counter()
        changed = False
        for command, outcome in zip(proposal.commands, applied.outcomes, strict=True):
            if isinstance(command, Elect):
                assert outcome is None
                self._term = max(self._term, command.term)
                continue
            if isinstance(command, MemberCommand):
                before = self._members.copy()
                self._follow_member(command, outcome, proposal.at)
                changed |= self._members != before
                continue
            if isinstance(command, Configure):
                assert outcome is None
                self._policy = command.policy
                continue
            assert isinstance(command, TaskCommand), "the others have tests of their own"
            row = rows.get(command.task)
            code = expected_refusal(command, row, self._members.keys(), self._removed, rows)
            assert _code(outcome) == code, (command, row, outcome)
            if code is not None or self._is_no_change(command, row, proposal.at):
                continue
            change = next(changes)
            assert change.before == row
            self._judge(command, change, proposal.at)
            if name := _told_of(command, change):
                self._worth_telling[name] += 1
            if change.after is None:
                del rows[command.task]
                self._removed.add(command.task)
            else:
                rows[command.task] = change.after
        assert next(changes, None) is None, "a change that no command asked for"
        assert rows == self.table.tasks
        assert applied.members_changed == changed, (members, self._members)

    def _follow_history(
        self, proposal: Proposal, applied: Applied, members: dict[str, Member], policy: Policy, term: int
    ) -> None:
        """Everything that is worth telling is told once, under numbers without a gap, and nothing else."""
        told = applied.happened
        assert [entry.seq for entry in told] == list(range(self._told + 1, self._told + 1 + len(told)))
        self._told += len(told)
        assert all((entry.at, entry.who) == (proposal.at, proposal.who) for entry in told)
        kept = list(self.table.history.entries)
        assert kept[len(kept) - len(told) :] == list(told)
        counted = Counter[tuple[str, str]]()
        for entry in told:
            counted[entry.kind.value, entry.node if entry.task else ""] += entry.count if entry.task else 0
            assert entry.count == 1 or (entry.count > 3 and entry.task)
        assert +counted == self._worth_telling
        others = [entry.kind.value for entry in told if not entry.task]
        if not any(isinstance(command, MemberCommand | Configure) for command in proposal.commands):
            assert others == [], "nothing was said of nodes"
        for node in self._members.keys() - members.keys():
            assert "node_joined" in others, node
        for node in members.keys() - self._members.keys():
            assert "node_left" in others, node
        assert ("leader_elected" in others) == (self._term > term)
        assert self._policy == policy or "settings_changed" in others

    # -- members ------------------------------------------------------------------------------------------------

    def _follow_member(self, command: MemberCommand, outcome: Outcome, at: int) -> None:
        members = self._members
        if isinstance(command, Register | Introduce):
            assert outcome is None
            new, known = command.member, members.get(command.member.id)
            if known is None:
                members[new.id] = msgspec.structs.replace(new, joined_at=at)
            elif isinstance(command, Register):  # what the cluster says of it stays, what it says of itself is new
                members[new.id] = msgspec.structs.replace(
                    new,
                    joined_at=known.joined_at,
                    missed_since=known.missed_since,
                    drain_until=known.drain_until,
                    tuning=known.tuning,
                )
            return
        member = members.get(command.node)
        last = isinstance(command, Unregister) and len(members) == 1
        code = "not_found" if member is None else "conflict" if last else None
        assert _code(outcome) == code
        if member is None or last:
            return
        if isinstance(command, Unregister):
            del members[command.node]  # its rows stay as they are until the dispatcher takes them back
        else:
            members[command.node] = _noted(command, member)

    # -- tasks --------------------------------------------------------------------------------------------------

    def _judge(self, command: TaskCommand, change: Change, at: int) -> None:
        before, after = change
        if isinstance(command, Submit):
            assert before is None
            assert after == self._submitted(command, at)
            return
        assert before is not None
        if isinstance(command, Remove):
            assert after is None
            return
        assert after is not None
        if before.state in FINAL and before.state is not after.state:
            told = isinstance(command, Complete) and before.state is TaskState.FAILED
            assert told or isinstance(command, Retry | Relink), "a final row moves by a person's word only"
        assert before.state is after.state or (before.state, after.state) in EDGES
        assert isinstance(command, Assign | Move) or after.attempt == before.attempt, "attempts only count assignments"
        if isinstance(command, Edit):
            self._judge_edit(command, before, after, at)
        elif isinstance(command, Fail) or (isinstance(command, Release) and not command.idle):
            _judge_end(command, before, after, at)
        else:
            assert after == msgspec.structs.replace(before, **_expected(command, before, at)), command
        if isinstance(command, Fail) and command.kind is FailureKind.THROTTLED:
            self._hold(command, before, at)
        if isinstance(command, Assign | Move):
            self._assignments += 1
            self._given[command.node] = self._assignments
        if isinstance(command, Complete):
            key = (before.id, before.seq, before.attempt)
            assert key not in self._completed, "an attempt completes once"
            self._completed.add(key)
            for origin in servers(before.spec):  # it behaves again
                if origin in self._origins and at >= self._origins[origin].until:
                    del self._origins[origin]

    def _judge_edit(self, command: Edit, before: Task, after: Task, at: int) -> None:
        """What runs goes on, unless its aria2 or its node would have to know; what waits has the place that it would have."""
        old, new = before.spec, command.spec
        place = before.turn + AGE_MS * (int(old.priority) - int(new.priority))
        kept: dict[str, Any] = {"spec": new, "turn": place, "updated_at": at}
        if command.size is not None:
            kept["size"] = max(0, command.size)
        if old.out != new.out:
            kept["bytes_on"] = None
        due = new.not_before if new.not_before > at else 0
        if before.state is P and old.not_before != new.not_before:
            kept["not_before"] = due
        if before.state in ASSIGNED:
            said = (old.out, old.options, old.headers, old.checksum) != (
                new.out,
                new.options,
                new.headers,
                new.checksum,
            )
            member = self._members.get(before.node or "")
            misplaced = member is not None and (
                not new.tags.items() <= member.tags.items() or new.node not in (None, member.id, member.name)
            )
            if said or misplaced:
                kept |= {"state": P, "reason": "", "not_before": due}
        assert after == msgspec.structs.replace(before, **kept), command

    def _submitted(self, command: Submit, at: int) -> Task:
        self._latest = max(self._latest, at)
        self._seq += 1
        waits = max(at + min(max(0, command.asking), MINUTE_MS), command.spec.not_before)
        return Task(
            id=command.task,
            spec=command.spec,
            seq=self._seq - 1,
            state=TaskState.PAUSED if command.paused else P,
            turn=self._latest - AGE_MS * int(command.spec.priority),
            size=command.spec.document.size if command.spec.document else 0,
            not_before=waits if waits > at and not command.paused else 0,
            created_at=at,
            updated_at=at,
        )

    def _hold(self, command: Fail, row: Task, at: int) -> None:
        """Everybody keeps away from its origins, for as long as they ask for, or for longer each time."""
        self._origins = {name: hold for name, hold in self._origins.items() if hold.until + HOUR_MS >= at}
        for origin in servers(row.spec):
            before = self._origins.get(origin, Origin(0, 0))
            strikes = before.strikes + (before.until <= at)  # those of one hold count once
            wait = max(command.retry_after, retry.backoff(strikes, command.dice, self._policy))
            until = max(before.until, at + min(wait, DAY_MS))
            self._origins[origin] = Origin(until, strikes)

    @staticmethod
    def _is_no_change(command: TaskCommand, row: Task | None, at: int) -> bool:
        """Accepted because it is so already."""
        if row is None:
            return False
        match command:
            case Submit():
                return True
            case Edit():
                return row.spec == command.spec
            case Took():
                return row.bytes_on in (None, row.node)
            case Start():
                return row.state is D and (command.size <= 0 or command.size == row.size)
            case Measure():
                return row == msgspec.structs.replace(row, **_expected(command, row, at))
        return False


PAST = {
    "submit": "submitted", "assign": "assigned", "move": "moved", "start": "started", "complete": "completed",
    "edit": "edited", "pause": "paused", "resume": "resumed", "retry": "retried", "relink": "relinked", "cancel": "canceled",
    "remove": "removed",
}  # fmt: skip
AT_A_NODE = {"assigned", "moved", "started", "completed", "failed", "attempt_failed", "lost", "released"}


def _told_of(command: TaskCommand, change: Change) -> tuple[str, str] | None:
    """What the history calls it, and at which node; None: it is not worth telling."""
    before, after = change
    match command:
        case Fail() | Release() if after and after.state is TaskState.FAILED:
            word = "failed"
        case Fail():
            word = "attempt_failed"
        case Release():
            word = "released" if command.idle else "lost"
        case Measure() | Took():
            return None
        case Start() if before and before.state is D:
            return None  # it only knows the size by now
        case _:
            word = PAST[command.__struct_config__.tag]  # type: ignore[index]
    return (f"task_{word}", (after.node or "" if after else "") if word in AT_A_NODE else "")


def _noted(command: MemberCommand, member: Member) -> Member:
    """The member after somebody said something of it."""
    match command:
        case Miss():
            return msgspec.structs.replace(member, missed_since=command.since)
        case Resign():
            return msgspec.structs.replace(member, resigned=True)
        case Drain():
            return msgspec.structs.replace(member, drain_until=command.until)
        case Undrain():
            return msgspec.structs.replace(member, drain_until=None)
        case Tune():
            return msgspec.structs.replace(member, tuning=command.tuning)
    raise AssertionError(command)


def _expected(command: TaskCommand, row: Task, at: int) -> dict[str, Any]:
    """The fields that an accepted command sets, and to what."""
    due = row.spec.not_before if row.spec.not_before > at else 0
    anew: dict[str, Any] = {"failures": (), "tries": 0, "reason": "", "updated_at": at}
    match command:
        case Measure():
            first = row.state is P and row.attempt == 0
            return {
                "size": command.size if command.size > 0 else row.size,
                "validator": command.validator or row.validator,
                "not_before": due if first else row.not_before,
            }
        case Release():  # while it was idle
            return {"state": P, "reason": command.message, "not_before": 0, "updated_at": at}
        case Assign() | Move():
            kept = command.fetch or row.bytes_on == command.node
            return {
                "state": Q,
                "attempt": row.attempt + 1,
                "node": command.node,
                "bytes_on": row.bytes_on if kept else None,
                "connections": command.connections,
                "reason": command.reason,
                "not_before": 0,
                "updated_at": at,
            }
        case Took():
            return {"bytes_on": row.node}
        case Start() if row.state is D:
            return {"size": command.size if command.size > 0 else row.size}
        case Start():
            return {
                "state": D,
                "bytes_on": row.node,
                "size": command.size if command.size > 0 else row.size,
                "updated_at": at,
            }
        case Complete():
            rest = {"not_before": 0, "updated_at": at, "reason": row.reason if row.state in (Q, D) else ""}
            return {"state": TaskState.COMPLETED, "result": command.result, "bytes_on": None, **rest}
        case Pause():
            return {"state": TaskState.PAUSED, "reason": "", "not_before": 0, "updated_at": at}
        case Resume():
            return {"state": P, "not_before": due, "updated_at": at}
        case Retry():
            return {"state": P, **anew}
        case Relink():
            headers = row.spec.headers if command.headers is None else command.headers
            spec = msgspec.structs.replace(row.spec, urls=command.urls, headers=headers, document=None)
            return {"state": P, "spec": spec, "validator": "", "not_before": due, **anew}
        case Cancel():
            return {"state": TaskState.CANCELED, "reason": "", "not_before": 0, "bytes_on": None, "updated_at": at}
    raise AssertionError(command)


def _judge_end(command: Fail | Release, before: Task, after: Task, at: int) -> None:
    """How an attempt ended: if it is tried again is `retry.judge`'s to say, and tested there."""
    failure = after.failures[-1]
    lost = isinstance(command, Release)
    assert (failure.attempt, failure.node, failure.at) == (before.attempt, before.node, at)
    assert failure.message == command.message
    assert after.failures[:-1] == before.failures[-(len(after.failures) - 1) :] or len(after.failures) == 1
    assert len(after.failures) == min(16, len(before.failures) + 1)
    useless, tries = False, before.tries
    if isinstance(command, Fail):
        assert (failure.kind, failure.code, failure.ran) == (command.kind, command.code, -1)
        useless = command.code in USELESS
        throttled = command.kind is FailureKind.THROTTLED and command.retry_after > 0
        tries += command.kind is not FailureKind.LOST and not throttled and not _tried_in_vain(command)
    else:
        assert (failure.kind, failure.code) == (FailureKind.LOST, 0)
        ran = max(0, at - command.silent - before.updated_at)
        assert failure.ran == (ran if before.state is D else -1)
    again = after.state is P
    assert after == msgspec.structs.replace(
        before,
        state=P if again else TaskState.FAILED,
        failures=after.failures,
        tries=tries,
        bytes_on=None if useless else before.bytes_on,
        reason=failure.message if again else after.reason,
        not_before=after.not_before if again else 0,
        updated_at=at,
    )
    if again:
        assert at <= after.not_before <= at + DAY_MS, "in time, and in a time that somebody lives to see"
        assert not lost or after.not_before == at, "a lost node costs the task no time"
    else:
        assert after.reason or not failure.message


def _tried_in_vain(command: Fail) -> bool:
    """Did it only find out that it has to begin anew?"""
    return command.code == 8 and command.kind is not FailureKind.THROTTLED


def _code(outcome: Outcome) -> str | None:
    return outcome.code if isinstance(outcome, Refusal) else None


def expected_refusal(
    command: Command, row: Task | None, members: Any, removed: set[str], rows: dict[str, Task]
) -> str | None:
    """The code with which a command must be refused, by the contract of the commands; None if it must be taken."""
    match command:
        case Submit() if command.task in removed:
            return "task_removed"
        case Submit() if row is not None:
            return "task_exists" if row.spec != command.spec else None
        case Submit():
            wanted = fetched(command.spec)
            others = (fetched(r.spec) for r in rows.values() if r.state not in (TaskState.FAILED, TaskState.CANCELED))
            return "duplicate" if command.unique and any(wanted & other for other in others) else None
    if row is None:
        return "no_such_task"
    working = row.state in ASSIGNED
    unfinished = working or row.state is P
    match command:
        case Assign() | Move() if command.attempt != row.attempt + 1:
            return "stale_attempt"
        case Assign() | Move() if command.node not in members:
            return "not_found"
        case Move() if working and row.node == command.node:
            return "conflict"
        case Assign():
            allowed = row.state is P
        case Move():
            allowed = unfinished and not (command.idle and row.state is D)
        case Release(idle=True) if working and command.attempt == row.attempt:
            return None if row.state is Q else "illegal_move"
        case Complete():  # whole is whole, though the attempt may have been ended meanwhile
            ended = row.node is None or row.state in (TaskState.COMPLETED, TaskState.CANCELED)
            return "stale_attempt" if ended or command.attempt != row.attempt else None
        case Start() | Took() | Fail() | Release():
            return None if working and command.attempt == row.attempt else "stale_attempt"
        case Pause():
            allowed = unfinished
        case Resume():
            allowed = row.state is TaskState.PAUSED
        case Retry():
            allowed = row.state in {TaskState.FAILED, TaskState.CANCELED}
        case Relink():
            allowed = unfinished or row.state in {TaskState.PAUSED, TaskState.FAILED}
        case Edit() if row.state not in FINAL and row.spec != command.spec:
            stale = command.known != mark_of(row.spec) or command.spec.urls != row.spec.urls
            return "conflict" if stale else None
        case Edit():
            allowed = row.state not in FINAL
        case Cancel():
            allowed = unfinished or row.state is TaskState.PAUSED
        case Remove() | Measure():
            allowed = True
    return None if allowed else "illegal_move"
