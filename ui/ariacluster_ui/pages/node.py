"""`/nodes/{id or name}`: one node, what it does now, and what happened to it."""

from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import ui

from ariacluster_ui.presenters.tasks import fast_row
from ariacluster_ui.push import HISTORY, LOADS
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.nodes import NodeHero, NodeTasks
from ariacluster_ui.widgets.overview import Feed, Throughput
from ariacluster_ui.words import t

from .node_orders import NodeOrders

SHOWN = 10
"""Downloads that are listed; the others are a click away."""

AFRESH = 5.0
"""Seconds between two looks at which downloads it has; how far they are is told each second."""


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    def page(ref: str) -> None:
        build(shell, ref)

    return {"/nodes/{ref}": page}


def build(shell: Shell, ref: str) -> None:
    store = shell.store
    node = store.nodes.get(ref) or next((one for one in store.nodes.values() if one.name == ref), None)
    name, node_id = (node.name, node.id) if node else (ref, ref)
    shell.head(name, LOADS, HISTORY, problems=False, back="/nodes", back_text=t("nav.nodes"))
    NodeHero(node=node_id).on("act", NodeOrders(shell).take)
    with ui.element("div").classes("ac-two"):
        Throughput(only=node_id)
        Feed(node=node_id, most=6, more=f"/activity?node={node_id}")
    tasks = NodeTasks(node=node_id, name=name)
    shown: list[str] = []

    def rows() -> str | None:
        if tasks.is_deleted:
            return None
        found = [store.tasks[one] for one in shown if one in store.tasks]
        here = [fast_row(task) for task in found if task.status == "downloading" and task.worker_id == node_id]
        return msgspec.json.encode({"k": "node_tasks", "rows": here}).decode()

    async def look() -> None:
        with shell.telling():
            page = await store.client.page(states=["downloading"], node=node_id, sort="-speed", limit=SHOWN)
            shown[:] = [task.id for task in page.tasks]
            await shell.watch(shown)
            shell.tab.rows = rows

    ui.timer(AFRESH, look)
