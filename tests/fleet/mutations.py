"""Safeguards of the kernel, each taken out: the fleet must miss every one of them, or it proves nothing."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pytest

from ariacluster.domain import placement, reconcile, scheduler
from ariacluster.domain.commands import Refusal
from ariacluster.domain.reconcile import Action, Add, Staged, StopFetch
from ariacluster.domain.rows import Rows
from ariacluster.domain.task import Task
from tests.support import node_model


class Mutation(NamedTuple):
    name: str
    apply: Callable[[pytest.MonkeyPatch], None]


def _no_fence(patch: pytest.MonkeyPatch) -> None:
    def current(self: Rows, task_id: str, _attempt: int) -> Task | Refusal:
        return self.find(task_id)

    patch.setattr(Rows, "current", current)


def _plan(patch: pytest.MonkeyPatch, change: Callable[..., list[Action]]) -> None:
    patch.setattr(node_model, "plan", change)


def _source_forgets(patch: pytest.MonkeyPatch) -> None:
    judge = reconcile._judge_folder

    def without(node: str, task_id: str, folder: Staged, tasks: Mapping[str, Task]) -> Any:
        task = tasks.get(task_id)
        if task is not None and task.assigned_to not in (None, node):
            return reconcile.Discard(task_id, published=False)
        return judge(node, task_id, folder, tasks)

    patch.setattr(reconcile, "_judge_folder", without)


def _does_not_fetch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Task, "holder", None)


def _stops_fetching_last(patch: pytest.MonkeyPatch) -> None:
    def plan(*args: Any, **named: Any) -> list[Action]:
        actions = reconcile.plan(*args, **named)
        return sorted(actions, key=lambda action: isinstance(action, StopFetch))

    _plan(patch, plan)


def _begins_anew_always(patch: pytest.MonkeyPatch) -> None:
    def plan(*args: Any, **named: Any) -> list[Action]:
        actions = reconcile.plan(*args, **named)
        return [Add(action.task, True) if isinstance(action, Add) else action for action in actions]

    _plan(patch, plan)


def _keeps_orphans(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "_orphaned", lambda _folder, _task: False)


def _ignores_receipts(patch: pytest.MonkeyPatch) -> None:
    def plan(
        node: str,
        rows: Iterable[Task],
        downloads: Any,
        attempts: Any,
        staged: Mapping[str, Staged],
        *rest: Any,
        **named: Any,
    ) -> list[Action]:
        bare = {task_id: Staged(None) for task_id in staged}
        return reconcile.plan(node, rows, downloads, attempts, bare, *rest, **named)

    _plan(patch, plan)


def _takes_nothing_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler._Decision, "_release", lambda _self: iter(()))


def _gives_to_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(placement.Candidate, "fulfils", lambda _self, _demand: True)


def _spares_no_origin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler._Decision, "_connections", lambda _self, _task, _origins: 0)


def _fills_up_the_drained(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(placement, "unfit", lambda _view, _policy: "")


def _no_room_is_no_matter(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(placement.Candidate, "room", 1000)


def _fills_the_disk(patch: pytest.MonkeyPatch) -> None:
    def plan(*args: Any, held: Collection[str] = (), full: bool = False) -> list[Action]:
        return reconcile.plan(*args, held=held, full=False)

    _plan(patch, plan)


def _removed_comes_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rows, "drop", lambda _self, _task: None)


def _forgets_to_uncount(patch: pytest.MonkeyPatch) -> None:
    unindex = Rows._unindex

    def without(self: Rows, task: Task) -> None:
        unindex(self, task)
        if task.assigned_to is not None and len(self.tasks) % 7 == 0:
            self._expected[task.assigned_to] = self._expected.get(task.assigned_to, 0) + task.size

    patch.setattr(Rows, "_unindex", without)


MUTATIONS = (
    Mutation("no fence against attempts that are over", _no_fence),
    Mutation("the source forgets before the target has it", _source_forgets),
    Mutation("goes on without fetching", _does_not_fetch),
    Mutation("the engine before the fetch is stopped", _stops_fetching_last),
    Mutation("every attempt begins anew", _begins_anew_always),
    Mutation("what was published in vain stays", _keeps_orphans),
    Mutation("receipts are not looked at", _ignores_receipts),
    Mutation("nothing is taken back from lost nodes", _takes_nothing_back),
    Mutation("tags are no matter", _gives_to_anybody),
    Mutation("limits and holds of origins are no matter", _spares_no_origin),
    Mutation("drained and lost nodes get tasks", _fills_up_the_drained),
    Mutation("slots are no matter", _no_room_is_no_matter),
    Mutation("a full disk is no matter", _fills_the_disk),
    Mutation("a removed row stays", _removed_comes_back),
    Mutation("reservations are not given back", _forgets_to_uncount),
)
