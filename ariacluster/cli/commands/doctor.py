"""`doctor`: what is wrong with this machine; the node's side of the house knows, so it is handed over as `up` is."""

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from ariacluster.cli.commands.up import Untouched
from ariacluster.cli.invocation import invocation_of
from ariacluster.cli.output import ExitCode
from ariacluster.domain.errors import StartFailed

PACKAGE = "ariacluster_node"
MODULE = f"{PACKAGE}.doctor"
SHOWN_AS = "ariacluster doctor"


def add_to(app: typer.Typer) -> None:
    app.command("doctor", cls=Untouched, add_help_option=False, options_metavar="[OPTIONS of the node]")(doctor)


def doctor(ctx: typer.Context) -> None:
    """What is wrong on this machine and with its network, and what to do; `ariacluster doctor --help` shows its options."""
    invocation = invocation_of(ctx)
    before = ["-o", invocation.kind.value] if invocation.kind else []
    try:
        start([*before, *ctx.args])
    except StartFailed as error:
        invocation.output.problem(error)
        raise typer.Exit(ExitCode.FAILED) from None


def start(arguments: Sequence[str]) -> NoReturn:
    """Become the doctor. `StartFailed` if it is not there."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise StartFailed("The node is not installed beside this program. Reinstall ariacluster.")
    os.environ["ARIACLUSTER_PROG"] = SHOWN_AS
    try:
        # -P: nothing in the folder that this is said in may pass itself off as a part of the program.
        os.execv(sys.executable, [sys.executable, "-P", "-m", MODULE, *arguments])
    except OSError as error:
        raise StartFailed(f"{sys.executable} cannot be started: {error.strerror}. Reinstall ariacluster.") from None
