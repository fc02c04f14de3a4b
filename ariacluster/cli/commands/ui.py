"""`ui`: hands everything to the program of the web app, with the node that it is to show."""

import typer

from ariacluster.cli.invocation import example_text, invocation_of
from ariacluster.cli.output import ExitCode
from ariacluster.cli.siblings import Untouched, become
from ariacluster.domain.errors import StartFailed

PROGRAM = "ariacluster-ui"


def add_to(app: typer.Typer) -> None:
    app.command(
        "ui",
        cls=Untouched,
        add_help_option=False,
        options_metavar="[OPTIONS of the web app]",
        epilog=example_text(["ariacluster ui --url http://nas:8000"]),
    )(ui)


def ui(ctx: typer.Context) -> None:
    """Show the cluster in the browser; `ariacluster ui --help` shows its options. A node brings its own web app along."""
    invocation = invocation_of(ctx)
    before = ["--url", invocation.told_url] if invocation.told_url is not None else []
    try:
        become(PROGRAM, [*before, *ctx.args], shown_as="ariacluster ui")
    except StartFailed as error:
        invocation.output.problem(error)
        raise typer.Exit(ExitCode.FAILED) from None
