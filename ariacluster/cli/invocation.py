"""What every command shares: the options that all of them take, before the verb or after it, and how each of them ends."""

import asyncio
import inspect
import os
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ariacluster.cli.output import ExitCode, Kind, Output, exit_code
from ariacluster.client.locate import locate
from ariacluster.domain.errors import AriaClusterError, InvalidInput

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

OutputOption = Annotated[
    Kind | None,
    typer.Option(
        "-o", "--output", help="For people, or for scripts.", show_default="table", rich_help_panel="Everywhere"
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="Which node to talk to; any will do. Else ARIACLUSTER_URL, else the one on this machine.",
        rich_help_panel="Everywhere",
    ),
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show where an unexpected error comes from.", rich_help_panel="Everywhere")
]


class Invocation:
    """One run of the program: how to answer, and which node to ask."""

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self.told_url: str | None = None
        self.debug = False

    def take(self, kind: Kind | None, url: str | None, debug: bool) -> None:
        """What was said later on the line counts."""
        self.kind = kind or self.kind
        self.told_url = url if url is not None else self.told_url
        self.debug = self.debug or debug

    @cached_property
    def output(self) -> Output:
        return Output(self.kind or Kind.TABLE)

    @cached_property
    def url(self) -> str:
        try:
            return locate(self.told_url, os.environ)
        except InvalidInput as error:
            raise typer.BadParameter(error.detail, param_hint=error.field) from None

    def client(self) -> "NodeClient":
        # aiohttp takes longer to import than everything else together; `--help` does without.
        from ariacluster.client.client import NodeClient

        return NodeClient(self.url)


Work = Callable[..., Awaitable[int | None]]


def command(
    app: typer.Typer, name: str, *, examples: list[str], hidden: bool = False, panel: str | None = None
) -> Callable[[Work], Work]:
    """Make a coroutine function `work(invocation, …)` a verb of `app`; it returns the exit code, None for 0."""

    def register(work: Work) -> Work:
        def run(ctx: typer.Context, **given: Any) -> None:
            invocation = invocation_of(ctx)
            invocation.take(given.pop("output"), given.pop("url"), given.pop("debug"))
            raise typer.Exit(_run(invocation, work, given))

        own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters.insert(0, _parameter("ctx", typer.Context, inspect.Parameter.empty))
        parameters.append(_parameter("output", OutputOption, None))
        parameters.append(_parameter("url", UrlOption, None))
        parameters.append(_parameter("debug", DebugOption, False))
        # typer reads the options of a command off its signature.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__ = work.__doc__
        app.command(name, hidden=hidden, rich_help_panel=panel, epilog=example_text(examples))(run)
        return work

    return register


def family(ctx: typer.Context, output: OutputOption = None, url: UrlOption = None, debug: DebugOption = False) -> None:
    """The callback of a family of verbs: takes the common options; without a verb it shows what there is."""
    invocation_of(ctx).take(output, url, debug)
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def invocation_of(ctx: typer.Context) -> Invocation:
    if not isinstance(ctx.obj, Invocation):
        ctx.obj = Invocation()
    return ctx.obj


def example_text(examples: list[str]) -> str:
    """Below the help: one example a line."""
    head = "[bold]Example[/]" if len(examples) == 1 else "[bold]Examples[/]"
    lines = [example.replace("[", "\\[") for example in examples]
    return "\n\n".join([head, *(f"[cyan]{line}[/]" for line in lines)])


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _run(invocation: Invocation, work: Work, given: dict[str, Any]) -> int:
    """The exit code. An expected error is a sentence, an unexpected one is a line, and neither is a traceback."""

    terminated = False

    def terminate(task: asyncio.Task[Any]) -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    async def main() -> int | None:
        # Ended in order, so that a live display gives the terminal back as it was.
        if (task := asyncio.current_task()) and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate, task)
        return await work(invocation, **given)

    try:
        return asyncio.run(main()) or ExitCode.DONE
    except AriaClusterError as error:
        invocation.output.problem(error)
        return exit_code(error)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough (`| head`). What is still buffered must not fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.DONE
    except Exception as error:
        if _is_typers(error):
            raise
        if invocation.debug:
            for line in "".join(traceback.format_exception(error)).splitlines():
                invocation.output.say(line, style="dim")
        invocation.output.problem(unexpected(error))
        return ExitCode.FAILED


def unexpected(error: Exception) -> AriaClusterError:
    """A mistake of ours, as one sentence."""
    first = str(error).strip().splitlines()[:1]
    what = ": ".join([type(error).__name__, *first])
    return AriaClusterError(f"ariacluster made a mistake ({what}). Please report it with what --debug adds{_where()}.")


def _where() -> str:
    from importlib.metadata import metadata

    for entry in metadata("ariacluster").get_all("Project-URL", []):
        label, _, url = entry.partition(", ")
        if label.lower() in ("issues", "bug tracker"):
            return f" at {url}"
    return " to the maintainers of Aria Cluster"


def _is_typers(error: Exception) -> bool:
    """Usage errors and exits are typer's to show."""
    return isinstance(error, typer.BadParameter | typer.Exit | typer.Abort)
