"""activity."""

from collections.abc import Callable
from typing import Any

from ariacluster_ui.shell import Shell
from ariacluster_ui.words import t


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/activity": lambda: build(shell)}


def build(shell: Shell) -> None:
    shell.head(t("nav.activity"))
