"""The verdict once everything has come to rest."""

from ariacluster.domain.commands import Cancel, Pause, Remove
from ariacluster.domain.task import FINAL, Task, TaskState

from .machine import Machine
from .world import Fleet

Asked = dict[str, type[Pause | Cancel | Remove] | None]
"""What a person asked last of each task that was accepted; None: nothing but to have it."""


def judge(fleet: Fleet, asked: Asked) -> None:
    """Raise `Broken` with the story of the task if a promise was not kept."""
    _every_task_ended(fleet, asked)
    _one_file_each(fleet)
    _nothing_lies_around(fleet)
    _everybody_knows_the_same(fleet)


def _every_task_ended(fleet: Fleet, asked: Asked) -> None:
    rows = fleet.truth.tasks
    for task_id, wish in asked.items():
        row = rows.get(task_id)
        if row is None:
            if wish is not Remove:
                raise fleet.broken("it was lost", task_id)
            continue
        if wish is Remove:
            raise fleet.broken("it was to be removed", task_id)
        if row.state is TaskState.COMPLETED:
            continue
        if row.state is TaskState.FAILED and row.reason:
            continue
        if fleet.finds_no_room(row):
            continue
        if row.state is (TaskState.PAUSED if wish is Pause else TaskState.CANCELED if wish is Cancel else None):
            continue
        raise fleet.broken(f"it ended {row.state}", task_id)


def _one_file_each(fleet: Fleet) -> None:
    for row in fleet.truth.tasks.values():
        where = [m for m in fleet.machines.values() if row.id in m.files]
        if row.state is TaskState.COMPLETED:
            assert row.node is not None
            home = fleet.machines[row.node]
            if home.gone:
                where = [m for m in where if not m.gone]
                if where:
                    raise fleet.broken(f"its file is at {where[0].id}, and the table says {home.id}", row.id)
            elif home.files.get(row.id) != (row.attempt, fleet.sizes[row.id]):
                raise fleet.broken(f"its file is not whole at {home.id}: {home.files.get(row.id)}", row.id)
            elif len([m for m in where if not m.gone]) != 1:
                raise fleet.broken(f"its file is at {', '.join(m.id for m in where)}", row.id)
        elif any(not m.gone and not _too_late_to_tell(row, m) for m in where):
            raise fleet.broken("a file that nobody was told of", row.id)


def _too_late_to_tell(row: Task, machine: Machine) -> bool:
    """Published when its attempt was taken away, and nobody could be told any more: it goes when somebody wants it anew."""
    return row.state in (TaskState.PAUSED, TaskState.FAILED) and row.node == machine.id and row.id in machine.staged


def _nothing_lies_around(fleet: Fleet) -> None:
    rows = fleet.truth.tasks
    for machine in fleet.machines.values():
        if machine.gone:
            continue
        for kind, there in (("download", machine.engine), ("transfer", machine.transfers), ("half", machine.halfway)):
            for task_id in there:
                raise fleet.broken(f"{machine.id} still has a {kind} of it", task_id)
        if machine.staged.keys() != machine.data.keys():
            raise fleet.broken(f"{machine.id}: the model of its folders is wrong")
        for task_id in machine.staged:
            row = rows.get(task_id)
            if row is None or row.state in FINAL - {TaskState.FAILED} or (row.bytes_on or row.node) != machine.id:
                raise fleet.broken(f"{machine.id} has a folder that nobody needs", task_id)
    for member in fleet.truth.members:
        if any(fleet.finds_no_room(row) for row in fleet.truth.assigned_to(member)):
            continue
        if fleet.truth.load_of(member) or fleet.truth.expected_on(member):
            raise fleet.broken(f"something is still reserved on {member}")
    for origin in () if any(fleet.truth.load_of(member) for member in fleet.truth.members) else fleet.origins:
        if fleet.truth.connections_to(origin):
            raise fleet.broken(f"connections are still counted for {origin}")


def _everybody_knows_the_same(fleet: Fleet) -> None:
    for machine in fleet.machines.values():
        if machine.up and machine.table.tasks != fleet.truth.tasks:
            raise fleet.broken(f"{machine.id} has another table")
