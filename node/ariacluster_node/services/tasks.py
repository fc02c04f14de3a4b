"""What people and programs do with tasks: submit, look, and say a verb. Answers read the caller's own writes."""

import hashlib
import secrets
from collections.abc import Collection, Iterator

from ariacluster.domain import intake, placement, scheduler
from ariacluster.domain.commands import Cancel, Command, Pause, Remove, Resume, Retry, Submit
from ariacluster.domain.errors import Conflict, InvalidInput, NoSuchTask, NotFound, TaskExists, TaskRemoved
from ariacluster.domain.task import Task, TaskState
from ariacluster.wire.resources import TaskCreate, TaskResource, task_resource
from ariacluster_node.ports import Clock

from .cluster import Cluster
from .replica import Replica
from .roster import Roster

VERBS: dict[str, type[Pause | Resume | Retry | Cancel]] = {
    "pause": Pause,
    "resume": Resume,
    "retry": Retry,
    "cancel": Cancel,
}

MIN_PREFIX = 4
"""Hex digits of an id that are worth looking up; fewer would hit strangers."""


class Tasks:
    """The tasks of the cluster as resources."""

    def __init__(self, replica: Replica, roster: Roster, cluster: Cluster, clock: Clock) -> None:
        self._replica = replica
        self._roster = roster
        self._cluster = cluster
        self._clock = clock

    async def submit(self, create: TaskCreate, key: str | None) -> TaskResource:
        """Take a task in; committed when this returns. The same `key` again answers the same task."""
        if (create.url is None) == (create.urls is None):
            raise InvalidInput("Give either url or urls (mirrors of one file).", field="url")
        spec = intake.check(
            urls=create.urls if create.urls is not None else [create.url or ""],
            out=create.out,
            dir=create.dir,
            options=create.options,
            headers=create.headers,
            checksum=create.checksum,
            priority=create.priority,
            tags=create.tags,
            prefer_tags=create.prefer_tags,
            node=create.node,
            max_attempts=create.max_attempts,
        )
        task_id = secrets.token_hex(8) if key is None else self._id_of(key)
        try:
            await self._replica.change(Submit(task_id, spec))
        except TaskExists:
            raise Conflict("This Idempotency-Key was used for another task; use a new one.") from None
        except TaskRemoved:
            raise Conflict("The task of this Idempotency-Key was removed; use a new one.") from None
        return self.show(task_id)

    async def say(self, verb: str, task_id: str) -> TaskResource:
        """Pause, resume, retry or cancel a task."""
        if verb not in VERBS:
            raise NotFound(f"There is no verb {verb!r}; a task knows {', '.join(VERBS)}.")
        task = self._find(task_id)
        await self._replica.change(VERBS[verb](task.id))
        return self.show(task.id)

    async def remove(self, task_id: str) -> str:
        """Take a task off the list, stopping it if it runs; its id."""
        task = self._find(task_id)
        command: Command = Remove(task.id)
        await self._replica.change(command)
        return task.id

    def show(self, task_id: str) -> TaskResource:
        return self._resource(self._find(task_id), self._names(), self._candidates())

    def page(
        self, *, ids: Collection[str], states: Collection[TaskState], node: str | None, after: int, limit: int
    ) -> tuple[list[TaskResource], int, int | None]:
        """A page in the order of submission: the tasks after `after` (a seq), the count of all that match, and the seq to
        go on after, if there is more."""
        names, candidates = self._names(), self._candidates()
        page: list[Task] = []
        for task in self._matching(ids, states, node, after):
            if len(page) == limit:
                return self._resources(page, names, candidates), self._count(ids, states, node), page[-1].seq
            page.append(task)
        return self._resources(page, names, candidates), self._count(ids, states, node), None

    # -- inside -------------------------------------------------------------------------------------------------

    def _id_of(self, key: str) -> str:
        """The id that a caller's key always leads to: the key needs no table of its own."""
        cluster_id = self._cluster.membership.cluster_id if self._cluster.membership else ""
        return hashlib.sha256(f"{cluster_id}\n{key}".encode()).hexdigest()[:16]

    def _find(self, task_id: str) -> Task:
        """By id, or by the beginning of one if only one task has it."""
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

    def _matching(
        self, ids: Collection[str], states: Collection[TaskState], node: str | None, after: int
    ) -> Iterator[Task]:
        table = self._replica.table
        if ids:
            chosen = sorted((task for i in ids if (task := table.tasks.get(i))), key=lambda task: task.seq)
            candidates = (task for task in chosen if task.seq > after)
        elif len(states) == 1:
            [state] = states
            line = table.by_state[state]
            candidates = (table.tasks[line[seq]] for seq in line.irange(minimum=after, inclusive=(False, True)))
        else:
            order = table.order
            candidates = (table.tasks[order[seq]] for seq in order.irange(minimum=after, inclusive=(False, True)))
        return (t for t in candidates if (not states or t.state in states) and (node is None or t.node == node))

    def _count(self, ids: Collection[str], states: Collection[TaskState], node: str | None) -> int:
        table = self._replica.table
        if not ids and node is None:
            return sum(len(table.by_state[state]) for state in states) if states else len(table.tasks)
        return sum(1 for _ in self._matching(ids, states, node, 0))

    def _resources(
        self, page: list[Task], names: dict[str, str], candidates: list[placement.Candidate]
    ) -> list[TaskResource]:
        return [self._resource(task, names, candidates) for task in page]

    def _resource(self, task: Task, names: dict[str, str], candidates: list[placement.Candidate]) -> TaskResource:
        pending = task.state is TaskState.PENDING
        reason = placement.explain(task, candidates, self._clock.now()) if pending else task.reason
        return task_resource(task, self._roster.progress(task.node, task.id), names, reason)

    def _names(self) -> dict[str, str]:
        return {member.id: member.name for member in self._replica.table.members.values()}

    def _candidates(self) -> list[placement.Candidate]:
        return scheduler.candidates(self._replica.table, self._roster.views())
