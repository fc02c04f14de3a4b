"""`doctor`: what is wrong with this machine; the node's side of the house knows, so it is handed over as `up` is."""

import typer

from ariacluster.cli.invocation import example_text, invocation_of
from ariacluster.cli.output import ExitCode
from ariacluster.cli.siblings import Untouched, become_part_of_node
from ariacluster.domain.errors import StartFailed


def add_to(app: typer.Typer) -> None:
    app.command(
        "doctor",
        cls=Untouched,
        add_help_option=False,
        options_metavar="[OPTIONS of the node]",
        epilog=example_text(["ariacluster doctor --config /etc/ariacluster/node.toml"]),
    )(doctor)


def doctor(ctx: typer.Context) -> None:
    """What is wrong on this machine and with its network, and what to do; `ariacluster doctor --help` shows its options."""
    invocation = invocation_of(ctx)
    before = ["-o", invocation.kind.value] if invocation.kind else []
    try:
        become_part_of_node("doctor", [*before, *ctx.args], shown_as="ariacluster doctor")
    except StartFailed as error:
        invocation.output.problem(error)
        raise typer.Exit(ExitCode.FAILED) from None
