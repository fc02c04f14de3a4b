"""What people and programs do with tasks: submit, look, say a verb, move, relink. Answers read the caller's own writes."""

from collections.abc import Iterable

from ariacluster.domain import placement, scheduler
from ariacluster.domain.commands import Cancel, Command, Move, Pause, Remove, Resume, Retry
from ariacluster.domain.errors import (
    Conflict,
    IllegalMove,
    NoSuchTask,
    NotFound,
    StaleAttempt,
)
from ariacluster.domain.member import Member
from ariacluster.domain.task import FINAL, Task, TaskState
from ariacluster.wire.requests import RelinkRequest, TaskCreate, TaskPatch
from ariacluster.wire.resources import TaskResource
from ariacluster.wire.showing import moment, task_resource
from ariacluster_node.ports import Clock

from .probing import Probing
from .replica import Replica
from .roster import Roster
from .submitting import Submitting

VERBS: dict[str, type[Pause | Resume | Retry | Cancel]] = {
    "pause": Pause,
    "resume": Resume,
    "retry": Retry,
    "cancel": Cancel,
}

MIN_PREFIX = 4
"""Hex digits of an id that are worth looking up; fewer would hit strangers."""

MOVE_TRIES = 3
"""A task that was just submitted is given away while somebody moves it; then the look is repeated."""


class Tasks:
    """The tasks of the cluster as resources."""

    def __init__(
        self, replica: Replica, roster: Roster, submitting: Submitting, clock: Clock, probing: Probing
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._submitting = submitting
        self._clock = clock
        self._probing = probing

    async def submit(self, create: TaskCreate, key: str | None) -> TaskResource:
        """Take a task in; committed when this returns. The same `key` again answers the same task."""
        return self.show(await self._submitting.one(create, key))

    async def edit(self, task_id: str, patch: TaskPatch) -> TaskResource:
        """Change what was asked of a task; what the patch does not name stays."""
        task = self.find(task_id)
        await self._submitting.edit(task.id, patch)
        return self.show(task.id)

    async def say(self, verb: str, task_id: str) -> TaskResource:
        """Pause, resume, retry or cancel a task."""
        if verb not in VERBS:
            raise NotFound(f"There is no verb {verb!r}; a task knows {', '.join(VERBS)}, move, relink.")
        task = self.find(task_id)
        await self._replica.change(VERBS[verb](task.id))
        return self.show(task.id)

    async def move(self, task_id: str, target: Member) -> TaskResource:
        """Give a task to another node, with its bytes if they can be had. `Conflict` if it does not fit there; the roster must
        be fresh to tell."""
        task = self.find(task_id)
        for left in reversed(range(MOVE_TRIES)):
            task = self.find(task.id)
            self._check_move(task, target)
            command = Move(
                task.id,
                task.attempt + 1,
                target.id,
                f"{target.name}: somebody moved it here",
                connections=self._connections(task),
                fetch=self._reachable(task.bytes_on),
            )
            try:
                await self._replica.change(command)
                break
            except StaleAttempt:
                if not left:
                    raise
        return self.show(task.id)

    async def relink(self, task_id: str, asked: RelinkRequest) -> TaskResource:
        """Give a task another link to the same file; its bytes are kept."""
        task = self.find(task_id)
        await self._submitting.relink(task, asked)
        return self.show(task.id)

    async def remove(self, task_id: str) -> str:
        """Take a task off the list, stopping it if it runs; its id."""
        task = self.find(task_id)
        command: Command = Remove(task.id)
        await self._replica.change(command)
        return task.id

    def show(self, task_id: str) -> TaskResource:
        return self._resource(self.find(task_id), self._names(), self._candidates())

    def resources(self, tasks: Iterable[Task]) -> list[TaskResource]:
        """These rows as the API shows them."""
        return self._resources(list(tasks), self._names(), self._candidates())

    # -- inside -------------------------------------------------------------------------------------------------

    def _check_move(self, task: Task, target: Member) -> None:
        """Why the task cannot go there, raised."""
        now = self._clock.now()
        if task.state is TaskState.PAUSED:
            raise Conflict("The task is paused; resume it first, then move it.")
        if task.state in FINAL:
            raise IllegalMove(f"The task is {task.state}; only one that is waiting or running can be moved.")
        if task.assigned_to == target.id:
            raise Conflict(f"The task is on {target.name} already.")
        there = next((c for c in self._candidates() if c.id == target.id), None)
        if there is None:
            raise Conflict(f"{target.name} has left the cluster.")
        if there.unfit:
            raise Conflict(f"{target.name} {there.unfit}; name another node.")
        if task.spec.node not in (None, target.id, target.name):
            raise Conflict(
                f"The task is pinned to {self._replica.table.name_of(task.spec.node)}; only a new task can run elsewhere."
            )
        tags = target.tags
        if lacks := [f"{key}={value}" for key, value in sorted(task.spec.tags.items()) if tags.get(key) != value]:
            raise Conflict(f"{target.name} lacks {' and '.join(lacks)}, which the task needs.")
        if not there.holds(task):
            spare, size = placement.human(max(0, there.free)), placement.human(task.size)
            raise Conflict(f"{target.name} has {spare} to spare, and the task needs {size}.")
        if task.state is TaskState.PENDING:
            if task.attempt == 0 and task.spec.not_before > now:
                raise Conflict(
                    f"The task begins at {moment(task.spec.not_before):%Y-%m-%d %H:%M:%S} UTC, and not before."
                )
            if held := scheduler.held_back(self._replica.table, task, now):
                raise Conflict(held)

    def _connections(self, task: Task) -> int:
        """To each of its origins; one that runs keeps what it was granted, one that waits gets what is left of the limits."""
        if task.assigned_to is not None:
            return task.connections
        granted = scheduler.granted(self._replica.table, task)
        return 1 if granted is None else granted

    def _reachable(self, node: str | None) -> bool:
        return node in self._replica.table.members and self._roster.view(node).online

    def find(self, task_id: str) -> Task:
        """By id, or by the beginning of one if only one task has it. `NoSuchTask`, `Conflict`."""
        tasks = self._replica.table.tasks
        wanted = task_id.lower()
        if (task := tasks.get(wanted)) is not None:
            return task
        found = [t for i, t in tasks.items() if i.startswith(wanted)] if MIN_PREFIX <= len(wanted) < 16 else []
        if len(found) > 1:
            raise Conflict(f"{len(found)} tasks begin with {task_id}; give more of the id.")
        if not found:
            raise NoSuchTask(f"There is no task {task_id}.")
        return found[0]

    def _resources(
        self, page: list[Task], names: dict[str, str], candidates: list[placement.Candidate]
    ) -> list[TaskResource]:
        return [self._resource(task, names, candidates) for task in page]

    def _resource(self, task: Task, names: dict[str, str], candidates: list[placement.Candidate]) -> TaskResource:
        reason = task.reason
        if task.state is TaskState.PENDING:
            now = self._clock.now()
            held = scheduler.held_back(self._replica.table, task, now)
            reason = placement.explain(task, candidates, now, held=held)
        elif (node := task.assigned_to) and (trouble := next((c.trouble for c in candidates if c.id == node), "")):
            reason = f"It waits there: {trouble}"
        policy = self._replica.table.policy
        return task_resource(task, self._roster.progress(task.node, task.id), names, reason, policy)

    def _names(self) -> dict[str, str]:
        return {member.id: member.name for member in self._replica.table.members.values()}

    def _candidates(self) -> list[placement.Candidate]:
        return scheduler.candidates(self._replica.table, self._roster.views())
