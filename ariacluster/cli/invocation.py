"""What every command shares: the options that all of them take, before the verb or after it, and how each of them ends."""

import inspect
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ariacluster.cli.nearby import choose, listen
from ariacluster.cli.output import Kind, Output
from ariacluster.cli.running import run_to_its_end
from ariacluster.client.locate import LOCAL, is_open, named
from ariacluster.domain.errors import InvalidInput

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
        help="Which node to talk to; any will do. Else ARIACLUSTER_URL, else the one on this machine, else one that is "
        "heard on the network.",
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

    @asynccontextmanager
    async def client(self) -> "AsyncIterator[NodeClient]":
        """The door to the node that was meant."""
        # aiohttp takes longer to import than everything else together; `--help` does without.
        from ariacluster.client.client import NodeClient

        async with NodeClient(await self._where(), client=f"cli@{socket.gethostname()}") as client:
            yield client

    async def _where(self) -> str:
        """The base URL of the node."""
        try:
            if told := named(self.told_url, os.environ):
                return told
            if await is_open(LOCAL):
                return LOCAL
            heard = choose(await listen())
        except InvalidInput as error:
            raise typer.BadParameter(error.detail, param_hint=error.field) from None
        for near in heard:
            if await is_open(near.url):
                self.output.note(f"No node on this machine; asking {near.name} at {near.url}.", style="dim")
                return near.url
        return LOCAL  # one that has come up meanwhile, or nobody: the client says what to do


Work = Callable[..., Awaitable[int | None]]


def command(
    app: typer.Typer, name: str, *, examples: list[str], hidden: bool = False, panel: str | None = None
) -> Callable[[Work], Work]:
    """Make a coroutine function `work(invocation, …)` a verb of `app`; it returns the exit code, None for 0."""

    def register(work: Work) -> Work:
        def run(ctx: typer.Context, **given: Any) -> None:
            invocation = invocation_of(ctx)
            invocation.take(given.pop("output"), given.pop("url"), given.pop("debug"))
            raise typer.Exit(
                run_to_its_end(lambda: work(invocation, **given), invocation.output, debug=invocation.debug)
            )

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
