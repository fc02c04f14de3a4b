"""Watching as a verb: the right view, what Ctrl-C says, what the end is worth."""

import asyncio
from typing import TYPE_CHECKING

from ariacluster.cli.invocation import Invocation
from ariacluster.cli.output import ExitCode, Output
from ariacluster.wire.resources import TaskResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

NAMED = 3
"""Tasks that the farewell names; for more it says how to see them all."""


async def these(invocation: Invocation, client: "NodeClient", tasks: list[TaskResource]) -> int:
    """Follow `tasks` to their end; the exit code."""
    return await _watch(invocation, client, tasks, everything=False)


async def everything(invocation: Invocation, client: "NodeClient") -> int:
    """Follow whatever is unfinished until nothing is; the exit code."""
    return await _watch(invocation, client, [], everything=True)


def tell(output: Output, answer: TaskResource | dict[str, str]) -> None:
    """A line about what was done."""
    from rich.text import Text

    from ariacluster.cli.looks import task_state
    from ariacluster.cli.plain import plain
    from ariacluster.cli.watch_view import detail

    if isinstance(answer, dict):
        output.sentence(Text(plain(answer["message"] or answer["id"])))
        return
    cell = task_state(answer.status)
    line = Text.assemble((f"{cell.text:<13}", cell.style), "  ", (answer.id, "dim"), "  ", plain(answer.name))
    more = detail(answer)
    output.sentence(line.append(f"  {plain(more)}", style="dim") if more else line)


async def _watch(invocation: Invocation, client: "NodeClient", tasks: list[TaskResource], *, everything: bool) -> int:
    from ariacluster.cli.watch_view import view_for
    from ariacluster.cli.watching import Watch, follow

    output = invocation.output
    watch = Watch(client, tasks, everything=everything)
    try:
        await follow(client, watch, view_for(output))
    except asyncio.CancelledError:
        names = [task.id for task in watch.unfinished]
        again = " ".join(["ariacluster task watch", *(names if len(names) <= NAMED else [])])
        output.say(f"The downloads go on without this window. To see them again: {again}")
        raise
    if everything and not watch.tasks:
        output.note("Nothing is running or waiting.")
    if output.kind == "json":
        output.document(list(watch.tasks.values()))
    return ExitCode.FAILED if watch.failed else ExitCode.DONE
