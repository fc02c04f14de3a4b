"""`/tasks`: the list of downloads. `?show=&q=&node=&tag=&sort=&page=` stay in the browser, which says what it shows."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import background_tasks, ui

from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire.resources import TaskFilter
from ariacluster_ui.presenters.tasks import changed_rows, filter_of, list_row, refusals_of, view_of
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.tasks import TaskList
from ariacluster_ui.words import t

from .task_orders import BACK

AFRESH = 2.0
"""Seconds between two looks at which downloads belong on the page; how far they are is told each second."""

LIVELY = ("speed", "progress")
"""Orders that change without any change of the table."""

REGRET = 6.0
"""Seconds for which a removal can be taken back: only then is it said to the node."""

UNDONE_AT_ONCE = 1000


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/tasks": lambda: TasksPage(shell)}


class TasksPage:
    """The list in one tab."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._view = view_of({})
        self._asked: dict[str, Any] = {}
        self._number = 0
        self._shown: list[str] = []
        self._told: dict[str, dict[str, Any]] = {}
        self._revision = -1
        self._going: dict[str, frozenset[str]] = {}
        self._names = itertools.count()
        shell.head(t("nav.tasks"))
        self._list = TaskList()
        self._list.on("view", self._look_elsewhere)
        self._list.on("order", self._order)
        ui.timer(AFRESH, self._look_again)

    # -- what is shown

    async def _look_elsewhere(self, event: Any) -> None:
        self._asked = dict(event.args)
        self._number = int(self._asked.get("number") or 0)
        self._view = view_of(self._asked)
        await self._look()

    async def _look_again(self) -> None:
        status = self._shell.store.status
        if not self._number or not self._shell.tab.listens or self._list.is_deleted or status is None:
            return
        lively = self._view["sort"].lstrip("-") in LIVELY
        if status.revision != self._revision or lively:
            await self._look()

    async def _look(self) -> None:
        number, status = self._number, self._shell.store.status
        try:
            page = await self._shell.store.client.page(**self._view)
        except AriaClusterError as error:
            self._shell.tell({"k": "tasks_page", "number": number, "error": error.detail})
            return
        if number != self._number or self._list.is_deleted:
            return  # another view was asked for meanwhile
        self._revision = status.revision if status else -1
        gone = frozenset().union(*self._going.values())
        tasks = [task for task in page.tasks if task.id not in gone]
        self._told = {task.id: list_row(task) for task in tasks}
        self._shell.tell(
            {
                "k": "tasks_page",
                "number": number,
                "rows": list(self._told.values()),
                "total": page.total,
                "first": self._view["offset"],
            }
        )
        shown = [task.id for task in tasks]
        if shown != self._shown:
            self._shown = shown
            await self._shell.watch(shown)
        self._shell.tab.rows = self._news

    def _news(self) -> str | None:
        """Once a second: what is new of the rows on the page."""
        if self._list.is_deleted:
            return None
        known = self._shell.store.tasks
        now = {task: list_row(known[task]) for task in self._shown if task in known}
        news = changed_rows(self._told, now)
        self._told |= now
        return msgspec.json.encode({"k": "tasks_rows", "rows": news}).decode() if news else None

    # -- what is ordered

    async def _order(self, event: Any) -> None:
        verb = str(event.args.get("verb"))
        everything = bool(event.args.get("all"))
        ids = [str(one) for one in event.args.get("ids", [])]
        matching = filter_of(self._view) if everything else TaskFilter(ids=ids)
        if verb == "remove" and not everything:
            await self._remove(ids)
        else:
            await self._say(verb, matching)

    async def _say(self, verb: str, matching: TaskFilter) -> None:
        client = self._shell.store.client
        with self._shell.telling():
            result = await client.say_to_all(verb, matching)
            done = result.done

            async def back() -> None:
                await client.say_to_all(BACK[verb], TaskFilter(ids=done))

            undo = back if verb in BACK and 0 < result.done_count <= min(len(done), UNDONE_AT_ONCE) else None
            if result.done_count:
                self._shell.say(t(f"tasks.done.{verb}", n=result.done_count), undo=undo)
            if result.refused_count:
                why = refusals_of(result)
                self._shell.say(t("tasks.refused", n=result.refused_count, why=why), tone="error")
        await self._look()

    async def _remove(self, ids: list[str]) -> None:
        """They are gone from the list at once, and from the cluster when nobody regrets it."""
        name = f"g{next(self._names)}"
        self._going[name] = frozenset(ids)
        regretted = asyncio.Event()

        async def back() -> None:
            regretted.set()
            self._going.pop(name, None)
            await self._look()

        async def later() -> None:
            try:
                await asyncio.wait_for(regretted.wait(), REGRET)
            except TimeoutError:
                await self._say_remove(ids)
                self._going.pop(name, None)

        background_tasks.create(later(), name="remove downloads")
        self._shell.say(t("tasks.done.remove", n=len(ids)), undo=back)
        await self._look()

    async def _say_remove(self, ids: list[str]) -> None:
        with self._shell.telling():
            result = await self._shell.store.client.say_to_all("remove", TaskFilter(ids=ids))
            if result.refused_count:
                why = refusals_of(result)
                self._shell.say(t("tasks.refused", n=result.refused_count, why=why), tone="error")
