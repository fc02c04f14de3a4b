"""One node."""

from collections.abc import Callable
from typing import Any

from ariacluster_ui.shell import Shell


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    def page(ref: str) -> None:
        build(shell, ref)

    return {"/nodes/{ref}": page}


def build(shell: Shell, ref: str) -> None:
    shell.head(ref)
