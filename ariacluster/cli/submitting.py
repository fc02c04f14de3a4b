"""Submitting many downloads: in few requests, in the order in which they were asked for, each taken or refused for itself."""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ariacluster.cli import units, watched
from ariacluster.cli.output import ExitCode, Output, exit_code
from ariacluster.domain.errors import AriaClusterError, Conflict, Duplicate, InvalidInput, MethodNotAllowed, NotFound
from ariacluster.wire.problems import error_from, problem_of
from ariacluster.wire.requests import TaskCreate
from ariacluster.wire.resources import BatchItem, BatchResult, TaskResource

if TYPE_CHECKING:
    from rich.progress import Progress

    from ariacluster.client.client import NodeClient

MOST_TASKS = 1_000
"""In one request: a second's work for a small node, so that the progress moves."""

MOST_BYTES = 900_000
"""Of one request: a node reads no more than a mebibyte at once."""

SHOWN = 20
"""Lines for what was added, and for what was refused; beyond, they are counted."""


ARGUMENTS = {
    "url": "URL",
    "urls": "URL",
    "torrent": "URL",
    "metalink": "URL",
    "out": "--out",
    "dir": "--to",
    "options": "--option",
    "headers": "--header",
    "checksum": "--checksum",
    "priority": "--priority",
    "tags": "--tag",
    "prefer_tags": "--prefer-tag",
    "node": "--node",
    "max_attempts": "--max-attempts",
    "not_before": "--not-before",
}
"""How a person says what the API calls a field of a task."""


class Wanted(NamedTuple):
    """A download, and what a person called it: its link, its file, or its line in a list."""

    task: TaskCreate
    about: str


class Added(NamedTuple):
    """What became of it all: whole tasks as far as they were asked for, the ids of all that were taken, and the exit code."""

    tasks: list[TaskResource]
    ids: list[str]
    code: int


async def submit(
    client: "NodeClient", wanted: Sequence[Wanted], output: Output, *, whole: bool, told: bool = True
) -> Added:
    """Submit them all, telling what became of each. `whole`: the tasks themselves are wanted; `told`: line by line.

    Where no node or no leader is reached it ends there, and says what was added and what was not.
    """
    if len(wanted) == 1:
        return await _one(client, wanted[0], output, told=told)
    telling = _Telling(output, len(wanted), told=told)
    tasks: list[TaskResource] = []
    ids: list[str] = []
    with telling:
        for part in parts(wanted):
            try:
                answer = await _sent(client, part)
            except AriaClusterError as error:
                telling.broke(error, len(ids), part)
                return Added(tasks, ids, exit_code(error))
            taken = [item.id for item in answer.results if item.id is not None]
            for item, result in zip(part, answer.results, strict=True):
                if result.problem is not None:
                    telling.refused(error_from(result.problem), item)
            ids.extend(taken)
            if taken and (whole or telling.lists):
                found = await client.tasks_by_id(taken)
                rows = [found[task_id] for task_id in taken if task_id in found]
                tasks.extend(rows)
                telling.added(rows)
            telling.past(len(part))
    telling.sum_up(len(ids))
    return Added(tasks, ids, ExitCode.FAILED if telling.refusals else ExitCode.DONE)


def parts(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """The same in requests that a node takes."""
    start, size = 0, 0
    for position, item in enumerate(wanted):
        more = len(msgspec.json.encode(item.task)) if _is_text(item.task) else MOST_BYTES
        if position > start and (position - start >= MOST_TASKS or size + more > MOST_BYTES):
            yield wanted[start:position]
            start, size = position, 0
        size += more
    if start < len(wanted):
        yield wanted[start:]


async def _sent(client: "NodeClient", part: Sequence[Wanted]) -> BatchResult:
    """In one request; one by one to a node that is too old for that."""
    try:
        return await client.submit_all([item.task for item in part])
    except (NotFound, MethodNotAllowed):
        results = []
        for item in part:
            try:
                results.append(BatchItem(id=(await client.submit(item.task)).id))
            except AriaClusterError as error:
                if not isinstance(error, InvalidInput | Conflict):
                    raise
                results.append(BatchItem(problem=problem_of(error)))
        refused = sum(result.problem is not None for result in results)
        return BatchResult(accepted=len(results) - refused, refused=refused, results=results)


async def _one(client: "NodeClient", item: Wanted, output: Output, *, told: bool) -> Added:
    try:
        task = await client.submit(item.task)
    except AriaClusterError as error:
        output.problem(_advised(error), about={"url": item.about}, arguments=ARGUMENTS)
        return Added([], [], exit_code(error))
    if told:
        if output.for_people:
            watched.tell(output, task)
        elif output.kind == "ndjson":
            output.record(task)
    return Added([task], [task.id], ExitCode.DONE)


class _Telling:
    """Says what becomes of many: lines while they are few, a moving bar on a terminal while they are many."""

    def __init__(self, output: Output, total: int, *, told: bool) -> None:
        self._output = output
        self._total = total
        self._told = told
        self.lists = told and (total <= SHOWN or not output.for_people)
        """Is each of them told?"""
        self.refusals = 0
        self._there = 0
        self._bar: Progress | None = None

    def __enter__(self) -> None:
        if self._output.live and self._total > MOST_TASKS:
            self._bar = _bar(self._output, self._total)
            self._bar.start()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def past(self, number: int) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], number)

    def added(self, rows: list[TaskResource]) -> None:
        if not self.lists:
            return
        for row in rows:
            if self._output.for_people:
                watched.tell(self._output, row)
            elif self._output.kind == "ndjson":
                self._output.record(row)

    def refused(self, error: AriaClusterError, item: Wanted) -> None:
        self.refusals += 1
        self._there += isinstance(error, Duplicate)
        if self.refusals <= SHOWN or not self._output.for_people:
            self._output.problem(_advised(error), about={"url": item.about}, arguments=ARGUMENTS)

    def broke(self, error: AriaClusterError, added: int, part: Sequence[Wanted]) -> None:
        """Whether the part that was under way has arrived is not known: its answer may be what was lost."""
        self._output.problem(error, about={"url": part[0].about})
        self._output.note(
            f"{units.count(added)} of {units.count(self._total)} are known to be added. "
            "Say the same again: what is there already is refused, not fetched twice."
        )

    def sum_up(self, added: int) -> None:
        if self._told and self._total > SHOWN:
            said = f"{units.plural(added, 'task')} added"
            if self.refusals:
                said += f", {units.count(self.refusals)} refused"
            if self._there:
                said += f", {units.count(self._there)} of them as there already"
            if self.refusals > SHOWN:
                said += f" (the first {SHOWN} are shown)"
            self._output.note(f"{said}.")


def _bar(output: Output, total: int) -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("submitting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=output.err_console, transient=True)
    bar.add_task("", total=total)
    return bar


def _advised(error: AriaClusterError) -> AriaClusterError:
    """With what to do, where that depends on the command line."""
    if not isinstance(error, Duplicate):
        return error
    said = error.detail if error.task is None or error.task in error.detail else f"{error.detail} ({error.task})"
    # The node speaks of the field, a person says the option.
    said, named = re.subn(r"(?<![-\w])force\b", "--force", said)
    return Duplicate(
        said if named else f"{said} Say --force to fetch it once more.", field=error.field, task=error.task
    )


def _is_text(task: TaskCreate) -> bool:
    """Links, that is: a document has a size of its own, and goes alone."""
    return task.torrent is None and task.metalink is None
