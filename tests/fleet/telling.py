"""What happened, in a line for the timeline."""

from ariacluster.domain.commands import Assign, Command, Complete, Move, Outcome, Submit
from ariacluster.domain.reconcile import Action, Add, Discard, Drop, Failed, StopFetch


def said(by: str, command: Command, outcome: Outcome) -> str:
    refused = f" — refused: {outcome.detail}" if outcome is not None else ""
    match command:
        case Assign() | Move():
            bytes_too = ", with its bytes" if command.fetch else ""
            what = f"{command.task} to {command.node} (attempt {command.attempt}{bytes_too}): {command.reason}"
        case Complete():
            what = f"{command.task} (attempt {command.attempt})"
        case Submit():
            what = command.task
        case _:
            what = ", ".join(str(getattr(command, name)) for name in command.__struct_fields__)
    return f"{by} says: {type(command).__name__} {what}{refused}"


def told(action: Action) -> str:
    match action:
        case Add(task, fresh):
            return f"adds {task.id} (attempt {task.attempt}{', from scratch' if fresh else ''})"
        case Discard(task_id, published):
            return f"discards the folder of {task_id}{' and what it published' if published else ''}"
        case Drop(task_id) | StopFetch(task_id):
            return f"{type(action).__name__} {task_id}"
        case Failed(task, download):
            return f"says that {task.id} failed: {download.error_code}"
    return f"{type(action).__name__} {action.task.id} (attempt {action.task.attempt})"
