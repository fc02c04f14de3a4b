"""What must hold of a table at any moment (`check`), and of every step that it takes (`Witness`).

Written against the promises, not the code: a full scan for every index, and a plain second opinion on every command.
"""

from sortedcontainers import SortedDict

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Fail,
    Outcome,
    Pause,
    Proposal,
    Refusal,
    Register,
    Release,
    Remove,
    Resume,
    Retry,
    Start,
    Submit,
    TaskCommand,
    Unregister,
)
from ariacluster.domain.queue import Demand, demand_of
from ariacluster.domain.table import FORGOTTEN_AT_ONCE, REMEMBERED_PROPOSALS, Applied, Change, TaskTable
from ariacluster.domain.task import ASSIGNED, FINAL, MAX_FAILURES, MOVES, Task, TaskState

EDGES = {(source, move.target) for move in MOVES.values() for source in move.sources}

MOVES_OF: dict[type, set[str]] = {
    Assign: {"assign"},
    Start: {"start"},
    Complete: {"complete"},
    Fail: {"fail", "release"},
    Release: {"release"},
    Pause: {"pause"},
    Resume: {"resume"},
    Retry: {"retry"},
    Cancel: {"cancel"},
}
"""The moves that an accepted command may make."""


def check(table: TaskTable) -> None:
    """Every index equals what a full scan says, and every row makes sense by itself."""
    rows = table.tasks
    assert all(rows[task_id].id == task_id for task_id in rows)
    assert len({row.seq for row in rows.values()}) == len(rows), "two rows share a seq"
    assert all(row.seq < table.next_seq for row in rows.values())
    assert dict(table.order) == {row.seq: row.id for row in rows.values()}
    for state in TaskState:
        expected = {row.seq: row.id for row in rows.values() if row.state is state}
        assert table.by_state[state] == SortedDict(expected), f"by_state[{state}]"
    _check_assigned(table)
    _check_queue(table)
    for row in rows.values():
        _check_row(row)
    assert len(table.recent) < REMEMBERED_PROPOSALS + FORGOTTEN_AT_ONCE


def _check_assigned(table: TaskTable) -> None:
    by_node: dict[str, set[str]] = {}
    for row in table.tasks.values():
        if row.state in ASSIGNED:
            assert row.node is not None
            by_node.setdefault(row.node, set()).add(row.id)
    assert table.busy_nodes() == sorted(by_node)
    for node in {*by_node, *table.members}:
        mine = by_node.get(node, set())
        assert [row.id for row in table.assigned_to(node)] == sorted(mine)
        assert table.load_of(node) == len(mine)


def _check_queue(table: TaskTable) -> None:
    queue = table.queue
    pending = {row.id: row for row in table.tasks.values() if row.state is TaskState.PENDING}
    assert len(queue) == len(pending)
    assert queue._waiting == pending
    delayed = list(queue._delayed)
    assert delayed == sorted(delayed)
    assert all(pending[task_id].not_before == due for due, task_id in delayed)
    late = {task_id for _, task_id in delayed}
    assert len(late) == len(delayed)
    ready = [row for row in pending.values() if row.id not in late]
    assert all(row.not_before for row in pending.values() if row.id in late), "nothing holds it back"
    expected: dict[Demand, list[str]] = {}
    for row in sorted(ready, key=lambda row: (-row.spec.priority, row.seq)):
        expected.setdefault(demand_of(row), []).append(row.id)
    assert {demand: [task_id for *_, task_id in line] for demand, line in queue._lines.items()} == expected
    assert queue.next_due() == (min(delayed)[0] if delayed else None)


def _check_row(row: Task) -> None:
    assert row.attempt >= 0
    assert (row.node is None) == (row.attempt == 0), "the node is that of the last attempt"
    assert (row.result is not None) == (row.state is TaskState.COMPLETED)
    assert row.not_before == 0 or row.state is TaskState.PENDING
    assert len(row.failures) <= MAX_FAILURES
    assert all(failure.attempt <= row.attempt for failure in row.failures)
    assert row.tries <= row.attempt
    assert row.tries <= row.spec.max_attempts


class Witness:
    """Sees every proposal go into one table, and has a second opinion on each."""

    def __init__(self, table: TaskTable) -> None:
        self.table = table
        self.log: list[Proposal] = []
        self._completed: set[tuple[str, int, int]] = set()
        self._answered: dict[str, Applied] = {}
        self._removed = set(table.removed)

    def apply(self, proposal: Proposal) -> Applied:
        """`TaskTable.apply`, checked before, during and after."""
        rows, members = dict(self.table.tasks), set(self.table.members)
        applied = self.table.apply(proposal)
        self.log.append(proposal)
        if (answered := self._answered.get(proposal.id)) is not None:
            assert applied == Applied(answered.outcomes), "a repeated proposal changes nothing and answers the same"
            assert rows == self.table.tasks
        else:
            self._answered[proposal.id] = applied
            self._follow(proposal, applied, rows, members)
        check(self.table)
        return applied

    def _follow(self, proposal: Proposal, applied: Applied, rows: dict[str, Task], members: set[str]) -> None:
        """Walk through commands and changes side by side, from the rows before to the rows after."""
        assert len(applied.outcomes) == len(proposal.commands)
        changes = iter(applied.changes)
        for command, outcome in zip(proposal.commands, applied.outcomes, strict=True):
            if isinstance(command, Register):
                assert outcome is None
                members.add(command.member.id)
                continue
            if isinstance(command, Unregister):
                self._take_off(command.node, outcome, members)
                continue
            assert isinstance(command, TaskCommand), "the others have tests of their own"
            row = rows.get(command.task)
            code = expected_refusal(command, row, members, self._removed)
            assert (outcome.code if isinstance(outcome, Refusal) else None) == code, (command, row, outcome)
            if code is not None or _is_no_change(command, row):
                continue
            change = next(changes)
            assert change.before == row
            self._judge(command, change, proposal.at)
            if change.after is None:
                del rows[command.task]
                self._removed.add(command.task)
            else:
                rows[command.task] = change.after
        assert next(changes, None) is None, "a change that no command asked for"
        assert rows == self.table.tasks
        assert members == set(self.table.members)

    @staticmethod
    def _take_off(node: str, outcome: Outcome, members: set[str]) -> None:
        """Only a member, never the last one; its rows stay as they are until the dispatcher takes them back."""
        code = "not_found" if node not in members else "conflict" if len(members) == 1 else None
        assert (outcome.code if isinstance(outcome, Refusal) else None) == code
        if code is None:
            members.remove(node)

    def _judge(self, command: Command, change: Change, at: int) -> None:
        before, after = change
        if isinstance(command, Submit):
            assert before is None
            assert after is not None
            assert (after.state, after.attempt, after.created_at) == (TaskState.PENDING, 0, at)
            return
        assert before is not None
        if isinstance(command, Remove):
            assert after is None
            return
        assert after is not None
        assert (after.id, after.seq, after.spec) == (before.id, before.seq, before.spec)
        assert (after.created_at, after.updated_at) == (before.created_at, at)
        assert (before.state, after.state) in EDGES
        assert any(
            before.state in MOVES[name].sources and after.state is MOVES[name].target
            for name in MOVES_OF[type(command)]
        ), f"{type(command).__name__} moved {before.state} to {after.state}"
        assert after.attempt == before.attempt + isinstance(command, Assign), "attempts only count assignments"
        if before.state in FINAL:
            assert isinstance(command, Retry), "a final row changes by a person's word only"
        if isinstance(command, Start | Complete | Fail | Release):
            assert before.state in ASSIGNED
            assert command.attempt == before.attempt, "only the current attempt is heard"
        if isinstance(command, Complete):
            key = (before.id, before.seq, before.attempt)
            assert key not in self._completed, "an attempt completes once"
            self._completed.add(key)


def _is_no_change(command: Command, row: Task | None) -> bool:
    """Accepted because it is so already."""
    match command:
        case Submit():
            return row is not None
        case Start():
            return row is not None and row.state is TaskState.DOWNLOADING
    return False


def expected_refusal(command: Command, row: Task | None, members: set[str], removed: set[str]) -> str | None:
    """The code with which a command must be refused, by the contract of the commands; None if it must be taken."""
    match command:
        case Submit() if command.task in removed:
            return "task_removed"
        case Submit():
            return "task_exists" if row is not None and row.spec != command.spec else None
        case Register() | Unregister():
            return None
    if row is None:
        return "no_such_task"
    working = row.state in {TaskState.QUEUED, TaskState.DOWNLOADING}
    unfinished = working or row.state is TaskState.PENDING
    match command:
        case Assign() if command.attempt != row.attempt + 1:
            return "stale_attempt"
        case Assign() if command.node not in members:
            return "not_found"
        case Assign():
            allowed = row.state is TaskState.PENDING
        case Start() | Complete() | Fail() | Release():
            return None if working and command.attempt == row.attempt else "stale_attempt"
        case Pause():
            allowed = unfinished
        case Resume():
            allowed = row.state is TaskState.PAUSED
        case Retry():
            allowed = row.state in {TaskState.FAILED, TaskState.CANCELED}
        case Cancel():
            allowed = unfinished or row.state is TaskState.PAUSED
        case Remove():
            allowed = True
    return None if allowed else "illegal_move"
