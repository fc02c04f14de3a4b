"""`up`: hands everything to the program of the node, as git does with its parts."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

from ariacluster.cli.invocation import invocation_of
from ariacluster.cli.output import ExitCode
from ariacluster.domain.errors import StartFailed

PROGRAM = "ariacluster-node"
SHOWN_AS = "ariacluster up"


class Untouched(TyperCommand):
    """A command that leaves its arguments alone, `--help` and `--` included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return list(args)


def add_to(app: typer.Typer) -> None:
    app.command("up", cls=Untouched, add_help_option=False, options_metavar="[OPTIONS of the node]")(up)


def up(ctx: typer.Context) -> None:
    """Start a node on this machine; `ariacluster up --help` shows its options."""
    try:
        start(ctx.args)
    except StartFailed as error:
        invocation_of(ctx).output.problem(error)
        raise typer.Exit(ExitCode.FAILED) from None


def start(arguments: Sequence[str]) -> NoReturn:
    """Become the program of the node. `StartFailed` if it is not there."""
    program = find()
    if program is None:
        raise StartFailed(f"The program {PROGRAM} is not installed beside this one. Reinstall ariacluster.")
    os.environ["ARIACLUSTER_PROG"] = SHOWN_AS
    try:
        os.execv(program, [program, *arguments])
    except OSError as error:
        raise StartFailed(f"{program} cannot be started: {error.strerror}. Reinstall ariacluster.") from None


def find() -> str | None:
    """The program that was installed with this one, else one on the PATH."""
    folders = [Path(sys.executable).parent, Path(sys.argv[0]).resolve().parent, Path(sysconfig.get_path("scripts"))]
    for folder in folders:
        candidate = folder / PROGRAM
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return str(candidate)
    return shutil.which(PROGRAM)
