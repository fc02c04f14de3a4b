"""`/tasks/{id}`: one download, how far it is, and its story across the nodes."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from nicegui import ui

from ariacluster.domain.errors import AriaClusterError, NotFound
from ariacluster.wire.resources import TaskResource
from ariacluster_ui.live import Shown
from ariacluster_ui.presenters.task import VERBS, detail_row, live_row, story
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
        self._shown = Shown(shell.store)
        self._told: str | None = None
        self._seq = -1
        known = shell.store.tasks.get(ref)
        if known is not None:
            self._shown.read([known])
        self._head = shell.head(known.name if known else t("task.title"), back="/tasks", back_text=t("nav.tasks"))
        self._orders = TaskOrders(shell, lambda: self._task)
        self._orders.changed = self._changed
        self._detail = TaskDetail(icons={name: verb.icon for name, verb in VERBS.items()})
        self._detail.on("ready", self._tell_anew)
        self._detail.on("act", self._act)
        self._place = ui.element("div")
        ui.timer(0, self._begin, once=True)
        ui.timer(LIVE_PERIOD, self._look)

    @property
    def _task(self) -> TaskResource | None:
        return next(iter(self._shown.now().values()), None)

    async def _begin(self) -> None:
        try:
            task = await self._read()
        except NotFound:
            self._detail.delete()
            with self._place.classes("ac-card"):
                empty("file-down", t("task.none"), t("task.none_text"), action=t("task.all"), to="/tasks")
            return
        except AriaClusterError as error:
            self._shell.say(error.detail, tone="error")
            return
        self._head.props["title"] = task.name
        await self._shell.watch([task.id])
        self._shell.tab.rows = self._news
        await self._look()

    async def _read(self) -> TaskResource:
        task = await self._shell.store.client.task(self._ref)
        self._shown.read([task])
        return task

    async def _act(self, event: Any) -> None:
        await self._orders.take(str(event.args.get("verb")))

    async def _changed(self) -> None:
        """By an order: shown at once, not with the next news."""
        if self._detail.is_deleted:
            return
        with suppress(AriaClusterError):  # the line says it already
            try:
                await self._read()
            except NotFound:
                ui.navigate.to("/tasks")
            else:
                self._tell()

    def _news(self) -> str | None:
        """Once a second: what is new of it."""
        if self._detail.is_deleted or (task := self._task) is None:
            return None
        said = msgspec.json.encode({"k": "task", "row": detail_row(task)}).decode()
        if said == self._told:
            return None
        self._told = said
        return said

    def _tell(self) -> None:
        if (task := self._task) is not None and not self._detail.is_deleted:
            self._shell.tell({"k": "task", "row": detail_row(task)})

    async def _tell_anew(self) -> None:
        """What was told before the browser could listen was told to nobody."""
        self._told, self._seq = None, -1
        self._tell()
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
