"""`/nodes`: who is there, how each does, and what can be ordered of it. `?show=&q=&sort=&view=` stay in the browser."""

from collections.abc import Callable
from typing import Any

from ariacluster_ui.push import LOADS
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.nodes import NodeCards
from ariacluster_ui.words import t

from .node_orders import NodeOrders


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/nodes": lambda: build(shell)}


def build(shell: Shell) -> None:
    shell.head(t("nav.nodes"), LOADS, problems=True)
    NodeCards().on("act", NodeOrders(shell).take)
