"""`/`: what is wrong, how fast it goes, who does it, and what happened."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

from ariacluster_ui.push import FAST, HISTORY, LOADS
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.overview import Fast, Feed, Kpis, Throughput, Topology
from ariacluster_ui.words import t


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/": lambda: build(shell)}


def build(shell: Shell) -> None:
    shell.head(t("nav.dashboard"), LOADS, FAST, HISTORY, problems=True)
    Kpis()
    with ui.element("div").classes("ac-two"):
        Throughput()
        Topology()
    with ui.element("div").classes("ac-two"):
        Fast()
        Feed()
