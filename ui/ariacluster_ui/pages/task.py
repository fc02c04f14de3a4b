"""`/tasks/{id}`: one download, how far it is, and its story across the nodes."""

from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import ui

from ariacluster.domain.errors import AriaClusterError, NotFound
from ariacluster.wire.resources import TaskResource
from ariacluster_ui.presenters.task import detail_row, live_row, story
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.empty import empty
from ariacluster_ui.widgets.task import TaskDetail
from ariacluster_ui.words import t

from .task_orders import TaskOrders

LIVE_PERIOD = 2.0
"""Seconds between two looks at its pieces and servers, which are asked of the node that has it."""

STORY = 100
"""Entries of its history."""


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    def page(ref: str) -> None:
        TaskPage(shell, ref)

    return {"/tasks/{ref}": page}


class TaskPage:
    """One download in one tab."""

    def __init__(self, shell: Shell, ref: str) -> None:
        self._shell = shell
        self._ref = ref
        self._task: TaskResource | None = shell.store.tasks.get(ref)
        self._told: str | None = None
        self._seq = -1
        title = self._task.name if self._task else t("task.title")
        self._head = shell.head(title, back="/tasks", back_text=t("nav.tasks"))
        self._detail = TaskDetail()
        self._detail.on("ready", self._tell_anew)
        self._detail.on("act", TaskOrders(shell, lambda: self._task).take)
        self._place = ui.element("div")
        ui.timer(0, self._begin, once=True)
        ui.timer(LIVE_PERIOD, self._look)

    async def _begin(self) -> None:
        try:
            self._task = await self._shell.store.client.task(self._ref)
        except NotFound:
            self._detail.delete()
            with self._place.classes("ac-card"):
                empty("file-down", t("task.none"), t("task.none_text"), action=t("task.all"), to="/tasks")
            return
        except AriaClusterError as error:
            self._shell.say(error.detail, tone="error")
            return
        self._head.props["title"] = self._task.name
        await self._shell.watch([self._task.id])
        self._shell.tab.rows = self._news
        await self._look()

    def _news(self) -> str | None:
        """Once a second: what is new of it."""
        if self._detail.is_deleted or self._task is None:
            return None
        row = self._shell.store.tasks.get(self._task.id)
        # The stream may be a moment behind what was read, and would show for a second what was before an order.
        if row is not None and row.updated_at >= self._task.updated_at:
            self._task = row
        said = msgspec.json.encode({"k": "task", "row": detail_row(self._task)}).decode()
        if said == self._told:
            return None
        self._told = said
        return said

    async def _tell_anew(self) -> None:
        """What was told before the browser could listen was told to nobody."""
        self._told, self._seq = None, -1
        if self._task is not None:
            self._shell.tell({"k": "task", "row": detail_row(self._task)})
        await self._look()

    async def _look(self) -> None:
        task = self._task
        if task is None or self._detail.is_deleted or not self._shell.tab.listens:
            return
        try:
            if task.status == "downloading":
                live = await self._shell.store.client.live(task.id)
                self._shell.tell({"k": "task_live", "row": live_row(live)})
            await self._look_back(task)
        except NotFound:
            self._shell.tell({"k": "task_gone"})
        except AriaClusterError:
            return  # the line says it already

    async def _look_back(self, task: TaskResource) -> None:
        newest = max((entry.seq for entry in self._shell.store.history if entry.task == task.id), default=0)
        if newest == self._seq:
            return
        entries = await self._shell.store.client.history(task=task.id, limit=STORY)
        self._seq = newest
        self._shell.tell({"k": "task_story", "rows": story(entries)})
