"""`/tasks`: the list of downloads. `?show=&q=&node=&tag=&sort=&page=` stay in the browser, which says what it shows."""

from collections.abc import Callable
from typing import Any

import msgspec
from nicegui import ui

from ariacluster.domain.errors import AriaClusterError
from ariacluster_ui.live import Shown
from ariacluster_ui.presenters.task import LOOKS, ORDERS, VERBS
from ariacluster_ui.presenters.tasks import changed_rows, list_row, view_of
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.tasks import TaskList
from ariacluster_ui.words import t

from .list_orders import ListOrders

AFRESH = 2.0
"""Seconds between two looks at which downloads belong on the page; how far they are is told each second."""

LIVELY = ("speed", "progress")
"""Orders that change without any change of the table."""


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    orders = ListOrders(shell)
    return {"/tasks": lambda: TasksPage(shell, orders)}


class TasksPage:
    """The list in one tab."""

    def __init__(self, shell: Shell, orders: ListOrders) -> None:
        self._shell = shell
        self._orders = orders
        self._view = view_of({})
        self._number = 0
        self._looks = 0
        self._looked = 0
        """Of the looks, the last whose answer is shown; they may overtake each other."""
        self._shown = Shown(shell.store)
        self._told: dict[str, dict[str, Any]] = {}
        """Rows as the browser has them; only what differs is told again."""
        self._told_number = 0
        self._told_page: dict[str, Any] = {}
        self._revision = -1
        orders.changed = self._look
        shell.head(t("nav.tasks"))
        self._list = TaskList(orders=ORDERS, looks=LOOKS, verbs={name: verb._asdict() for name, verb in VERBS.items()})
        self._list.on("view", self._look_elsewhere)
        self._list.on("order", self._order)
        ui.timer(AFRESH, self._look_again)

    # -- what is shown

    async def _look_elsewhere(self, event: Any) -> None:
        asked = dict(event.args)
        number = asked.get("number")
        self._number = number if isinstance(number, int) else 0
        self._view = view_of(asked)
        await self._look()

    async def _look_again(self) -> None:
        status = self._shell.store.status
        if not self._shell.tab.listens or status is None:
            return
        lively = self._view["sort"].lstrip("-") in LIVELY
        if status.revision != self._revision or lively:
            await self._look()

    async def _look(self) -> None:
        number, status = self._number, self._shell.store.status
        if not number or self._list.is_deleted:
            return
        self._looks += 1
        look, gone = self._looks, self._orders.gone
        try:
            # What is about to be removed is still on the node's list; ask for as many more, so that the page is full.
            page = await self._shell.store.client.page(**self._view | {"limit": self._view["limit"] + len(gone)})
        except AriaClusterError as error:
            self._shell.tell({"k": "tasks_page", "number": number, "error": error.detail})
            return
        if number != self._number or look < self._looked or self._list.is_deleted:
            return  # another view was asked for meanwhile, or this one anew
        self._looked = look
        self._revision = status.revision if status else -1
        tasks = [task for task in page.tasks if task.id not in gone]
        missing = len(page.tasks) - len(tasks)
        self._shown.read(tasks[: self._view["limit"]])
        rows = self._rows()
        self._tell(number, rows, max(0, page.total - missing))
        await self._shell.watch(rows)
        self._shell.tab.rows = self._news

    def _tell(self, number: int, rows: dict[str, dict[str, Any]], total: int) -> None:
        """The page: all of it for a new view, else what is new of it, if anything is."""
        fresh = number != self._told_number
        page = {"number": number, "ids": [*rows], "total": total, "first": self._view["offset"]}
        news = changed_rows({} if fresh else self._told, rows)
        if fresh or news or page != self._told_page:
            self._shell.tell({"k": "tasks_page", "fresh": fresh, "rows": news, **page})
        self._told, self._told_number, self._told_page = rows, number, page

    def _news(self) -> str | None:
        """Once a second: what is new of the rows on the page."""
        if self._list.is_deleted:
            return None
        now = self._rows()
        news = changed_rows(self._told, now)
        self._told = now
        return msgspec.json.encode({"k": "tasks_rows", "rows": news}).decode() if news else None

    def _rows(self) -> dict[str, dict[str, Any]]:
        return {task.id: list_row(task) for task in self._shown.now().values()}

    # -- what is ordered

    async def _order(self, event: Any) -> None:
        """The browser shows at once what was ordered, until it is told that it is over."""
        said = dict(event.args)
        try:
            await self._orders.take(said, self._view)
        finally:
            self._shell.tell({"k": "tasks_said", "order": said.get("order")})
