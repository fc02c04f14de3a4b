"""What is generated of the documentation: by name below `docs/`, the function that writes it anew.

`scripts/docs` writes them all, `tests/unit/test_docs.py` holds each to the code. A new one is a line in `GENERATED`.
"""

from collections.abc import Callable
from pathlib import Path

from ariacluster.domain.task import ASSIGNED, FINAL, MOVES, TaskState
from tests.support.api_reference import api
from tests.support.cli_reference import reference

DOCS = Path(__file__).parents[2] / "docs"

MEANING = {
    TaskState.PENDING: "waits for a node; it can say why it has none",
    TaskState.QUEUED: "has a node, which has not begun",
    TaskState.DOWNLOADING: "the node's aria2 is at it",
    TaskState.PAUSED: "put aside by a person; the bytes that are there stay",
    TaskState.COMPLETED: "whole, verified and in its place",
    TaskState.FAILED: "given up, with the reason and the failed attempts",
    TaskState.CANCELED: "called off by a person; what was fetched is thrown away",
}


def task_states() -> str:
    """The life of a task, drawn from `MOVES`."""
    lines = [
        "# The states of a task",
        "",
        "<!-- Written by scripts/docs from MOVES in ariacluster/domain/task.py. Change that, then run it. -->",
        "",
        "Every change of a task is one of these moves, made by one committed command, the same on every node. From any other",
        "state the command is refused (`illegal_move`).",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> pending: submit",
        "    [*] --> paused: submit, to be resumed later",
    ]
    for name, move in MOVES.items():
        lines += [f"    {state} --> {move.target}: {name}" for state in TaskState if state in move.sources]
    lines += ["```", "", "| state | means | a node works on it | final |", "|---|---|---|---|"]
    for state in TaskState:
        lines.append(f"| `{state}` | {MEANING[state]} | {_mark(state in ASSIGNED)} | {_mark(state in FINAL)} |")
    lines += ["", "| move | from | to | when |", "|---|---|---|---|"]
    for name, move in MOVES.items():
        sources = ", ".join(f"`{state}`" for state in TaskState if state in move.sources)
        lines.append(f"| `{name}` | {sources} | `{move.target}` | {move.when} |")
    lines += [
        "",
        "A task may be removed from the table in any state; its id then is unknown (`no_such_task`).",
        "",
        "`start`, `complete`, `fail` and `release` carry the number of the attempt that they speak of. A number that is not",
        "the present one is refused (`stale_attempt`), and so is an attempt that has ended, unless its file is whole already:",
        "a download may run twice after a partition, but it completes once. `assign` and `move` carry the number of the next",
        "attempt, so that two decisions about one task cannot both count.",
    ]
    return "\n".join(lines) + "\n"


def _mark(yes: bool) -> str:
    return "yes" if yes else ""


GENERATED: dict[str, Callable[[], str]] = {
    "task-states.md": task_states,
    "cli.md": reference,
    "api.md": api,
}


def write() -> None:
    """Write every generated document."""
    for name, make in GENERATED.items():
        (DOCS / name).write_text(make(), "utf-8")


if __name__ == "__main__":
    write()
