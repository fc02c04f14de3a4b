"""The programs beside this one: the node's and the web app's. This one becomes them, as git does with its parts."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from typer.core import TyperCommand

from ariacluster.domain.errors import StartFailed

SHOWN_AS = "ARIACLUSTER_PROG"
"""In the environment: what a sibling calls itself in its help."""

NODE_PACKAGE = "ariacluster_node"


class Untouched(TyperCommand):
    """A command that leaves its arguments alone, `--help` and `--` included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return list(args)


def become(program: str, arguments: Sequence[str], *, shown_as: str) -> NoReturn:
    """Go on as the program of that name. `StartFailed` if it is not there."""
    found = find(program)
    if found is None:
        raise StartFailed(f"The program {program} is not installed beside this one. Reinstall ariacluster.")
    _execute([found, *arguments], shown_as)


def become_part_of_node(module: str, arguments: Sequence[str], *, shown_as: str) -> NoReturn:
    """Go on as a module of the node's package. `StartFailed` if that is not there."""
    if importlib.util.find_spec(NODE_PACKAGE) is None:
        raise StartFailed("The node is not installed beside this program. Reinstall ariacluster.")
    _execute([*part_of_node(module), *arguments], shown_as)


def part_of_node(module: str) -> list[str]:
    """The beginning of a command line that runs this module of the node's package."""
    # -P: nothing in the folder that this is said in may pass itself off as a part of the program.
    return [sys.executable, "-P", "-m", f"{NODE_PACKAGE}.{module}"]


def find(program: str) -> str | None:
    """The program that was installed with this one, else one on the PATH."""
    folders = [Path(sys.executable).parent, Path(sys.argv[0]).resolve().parent, Path(sysconfig.get_path("scripts"))]
    for folder in folders:
        candidate = folder / program
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return str(candidate)
    return shutil.which(program)


def _execute(command: Sequence[str], shown_as: str) -> NoReturn:
    os.environ[SHOWN_AS] = shown_as
    try:
        os.execv(command[0], list(command))
    except OSError as error:
        raise StartFailed(f"{command[0]} cannot be started: {error.strerror}. Reinstall ariacluster.") from None
