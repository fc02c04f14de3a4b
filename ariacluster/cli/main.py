"""The program `ariacluster`: puts the verbs together."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ariacluster.cli import lookalikes
from ariacluster.cli.commands import add, cluster, completion, doctor, events, node, settings, status, task, ui, up
from ariacluster.cli.invocation import DebugOption, OutputOption, UrlOption, example_text, family

EXAMPLES = [
    "ariacluster up",
    "ariacluster add --watch https://example.org/disk.iso",
    "ariacluster status",
]

ALIASES = "The verbs of the original Aria Cluster, create, tasks and workers, stand for add, task ls and node ls."


def _version(asked: bool) -> None:
    if asked:
        from ariacluster import __version__

        typer.echo(f"ariacluster {__version__}")
        raise typer.Exit


def common(
    ctx: typer.Context,
    output: OutputOption = None,
    url: UrlOption = None,
    debug: DebugOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """One download queue over all the machines of a network: each runs the same program, any of them answers."""
    family(ctx, output, url, debug)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(name="ariacluster", rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
    epilog = f"{example_text(EXAMPLES)}\n\n[dim]{ALIASES}[/]"
    app.callback(invoke_without_command=True, epilog=epilog)(common)
    for verb in (up, ui, status, add, task, node, events, settings, cluster, doctor, completion):
        verb.add_to(app)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run with `arguments` (the program's own if None); the exit code."""
    lookalikes.take_over()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [completion.ASKED]:
        completion.answer(build(), given[1:])
        return 0
    try:
        build()(args=arguments, prog_name="ariacluster")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
