"""The replicated table: tasks and members, changed by proposals alone, the same on every node.

`apply` never raises on a bad command and never reads a clock: it returns refusals, equal everywhere. What a command does
stands in `life` (tasks) and `crew` (members and clusters), what is kept in `rows`, what is told of it in `history`.
"""

from typing import NamedTuple

from . import crew, life
from .commands import Command, Outcome, Proposal, Refusal
from .history import Entry, note_of
from .rows import FORGOTTEN_AT_ONCE, REMEMBERED_REMOVALS, Change, Rows, forget

__all__ = ["FORGOTTEN_AT_ONCE", "REMEMBERED_PROPOSALS", "REMEMBERED_REMOVALS", "Applied", "Change", "TaskTable"]

REMEMBERED_PROPOSALS = 65_536
"""How many proposal ids are remembered, at least: more than can be in flight while a caller still retries."""

HANDLERS = life.HANDLERS | crew.HANDLERS


class Applied(NamedTuple):
    """What a proposal did: an outcome per command, the rows it changed in order, and what of it is new in the history."""

    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...] = ()
    members_changed: bool = False
    policy_changed: bool = False
    happened: tuple[Entry, ...] = ()


class TaskTable(Rows):
    """Every task and member of the cluster, and how they change."""

    def apply(self, proposal: Proposal) -> Applied:
        """Apply a committed proposal. The same proposal id again changes nothing and has the same outcomes."""
        if (known := self.recent.get(proposal.id)) is not None:
            return Applied(known)
        self._changes, self._notes, self._members_changed = [], [], False
        self.language = max(self.language, proposal.v)
        policy = self.policy
        outcomes = tuple(self._do(command, proposal.at) for command in proposal.commands)
        self.recent[proposal.id] = outcomes
        forget(self.recent, REMEMBERED_PROPOSALS)
        happened = self.history.write(self._notes, at=proposal.at, who=proposal.who, place_of=self.name_of)
        return Applied(outcomes, tuple(self._changes), self._members_changed, self.policy is not policy, happened)

    def _do(self, command: Command, at: int) -> Outcome:
        if self.successor is not None:
            return Refusal("moved", "This cluster is dissolving into another one; ask again in a few seconds.")
        known = len(self._changes)
        outcome = HANDLERS[type(command)](self, command, at)
        if len(self._changes) > known and (note := note_of(command, *self._changes[-1])):
            self._notes.append(note)
        return outcome
