"""`up`: hands everything to the program of the node."""

import typer

from ariacluster.cli.invocation import example_text, invocation_of
from ariacluster.cli.output import ExitCode
from ariacluster.cli.siblings import Untouched, become
from ariacluster.domain.errors import StartFailed

PROGRAM = "ariacluster-node"


def add_to(app: typer.Typer) -> None:
    app.command(
        "up",
        cls=Untouched,
        add_help_option=False,
        options_metavar="[OPTIONS of the node]",
        epilog=example_text(["ariacluster up --tag place=attic"]),
    )(up)


def up(ctx: typer.Context) -> None:
    """Start a node on this machine; `ariacluster up --help` shows its options."""
    try:
        become(PROGRAM, ctx.args, shown_as="ariacluster up")
    except StartFailed as error:
        invocation_of(ctx).output.problem(error)
        raise typer.Exit(ExitCode.FAILED) from None
