"""What a person orders of many downloads at once: done, told, and taken back where that is possible."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nicegui import background_tasks

from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import BulkResult, TaskResource
from ariacluster.wire.routes import TASK_BULK_VERBS
from ariacluster_ui.presenters.tasks import filter_of, refusals_of
from ariacluster_ui.shell import Shell, Undo
from ariacluster_ui.widgets.ask import ask
from ariacluster_ui.words import t

from .task_orders import BACK, TaskOrders

REGRET = 7.0
"""Seconds for which a removal can be taken back: only then is it said to the node."""

OFFERED = 6.0
"""Seconds for which Undo is offered after a removal: fewer, so that it never comes too late."""

AT_ONCE = 5000
"""Ids in one request: 100 kB of the megabyte that a node takes."""

ASKED_FIRST = ("cancel", "remove")
"""Said to all that match only after a question: what was fetched is thrown away, and no word takes that back."""

ONE_ONLY = ("move", "relink", "edit")
"""Orders of a single download, which the page of one download gives as well."""


class ListOrders:
    """The orders of one tab. They outlive its pages, as what is about to be removed does: `gone` is not to be shown any more.
    `changed` is awaited when the list is another one."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._going: dict[int, frozenset[str]] = {}
        self._numbers = itertools.count()
        self.changed: Callable[[], Awaitable[None]] = _nothing

    @property
    def gone(self) -> frozenset[str]:
        return frozenset().union(*self._going.values())

    async def take(self, said: dict[str, Any], view: dict[str, Any]) -> None:
        """`said`: a `verb` with `ids`, or with `all` for whatever `view` shows on all its pages."""
        verb, ids = str(said.get("verb")), [str(one) for one in said.get("ids") or []]
        if verb in ONE_ONLY and ids:
            await self._one(verb, ids[0])
        elif verb not in TASK_BULK_VERBS:
            return
        elif said.get("all"):
            await self._all(verb, view)
        elif verb == "remove":
            await self._remove(ids)
        elif verb == "cancel" and ids:
            self._ask(verb, len(ids), [TaskFilter(ids=part) for part in _parts(ids)], "tasks.some.cancel.text")
        elif ids:
            await self._say(verb, [TaskFilter(ids=part) for part in _parts(ids)])

    async def _one(self, verb: str, task_id: str) -> None:
        with self._shell.telling():
            task: TaskResource = await self._shell.store.client.task(task_id)
            with self._shell.client.content:
                await TaskOrders(self._shell, lambda: task).take_verb(verb)

    async def _all(self, verb: str, view: dict[str, Any]) -> None:
        matching = filter_of(view, verb)
        if matching is None:
            self._shell.say(t(f"tasks.nothing.{verb}"))
            return
        if verb not in ASKED_FIRST:
            await self._say(verb, [matching])
            return
        with self._shell.telling():
            found = await self._shell.store.client.page(
                states=matching.state, node=matching.node or "", tags=matching.tag, q=matching.q, limit=1
            )
            self._ask(verb, found.total, [matching], f"tasks.all.{verb}.text")

    def _ask(self, verb: str, count: int, matching: Sequence[TaskFilter], text: str) -> None:
        async def yes(_: dict[str, Any]) -> None:
            await self._say(verb, matching)

        heading, action = t(f"tasks.ask.{verb}", n=count), t(f"tasks.ask.{verb}.yes")
        with self._shell.client.content:
            ask(heading, t(text), action=action, yes=yes, danger=True)

    async def _say(self, verb: str, matching: Sequence[TaskFilter]) -> None:
        with self._shell.telling():
            done, refused, why = await self._tell_node(verb, matching)
            undo = self._undo(BACK[verb], done) if verb in BACK and done else None
            if done:
                self._shell.say(t(f"tasks.done.{verb}", n=len(done)), undo=undo)
            if refused:
                self._shell.say(t("tasks.refused", n=refused, why=why), tone="error")
        await self.changed()

    async def _tell_node(self, verb: str, matching: Sequence[TaskFilter]) -> tuple[list[str], int, str]:
        """Ids of those that were changed, how many were not, and why not."""
        done: list[str] = []
        refused, why = 0, ""
        for part in matching:
            result: BulkResult = await self._shell.store.client.say_to_all(verb, part)
            done += result.done
            refused += result.refused_count
            why = why or refusals_of(result)
        return done, refused, why

    def _undo(self, verb: str, ids: list[str]) -> Undo:
        async def back() -> None:
            await self._tell_node(verb, [TaskFilter(ids=part) for part in _parts(ids)])
            await self.changed()

        return back

    async def _remove(self, ids: list[str]) -> None:
        """They are gone from the list at once, and from the cluster when nobody regrets it, whatever page is shown by then."""
        if not ids:
            return
        number = next(self._numbers)
        self._going[number] = frozenset(ids)
        regretted = asyncio.Event()

        async def back() -> None:
            if self._going.pop(number, None) is None:
                self._shell.say(t("tasks.too_late"), tone="error")
            regretted.set()
            await self.changed()

        async def later() -> None:
            try:
                await asyncio.wait_for(regretted.wait(), REGRET)
            except TimeoutError:
                await self._really_remove(number, ids)

        background_tasks.create(later(), name="remove downloads")
        self._shell.say(t("tasks.done.remove", n=len(ids)), undo=back, seconds=OFFERED)
        await self.changed()

    async def _really_remove(self, number: int, ids: list[str]) -> None:
        try:
            _, refused, why = await self._tell_node("remove", [TaskFilter(ids=part) for part in _parts(ids)])
        except AriaClusterError as error:
            self._shell.say(f"{t('tasks.not_removed', n=len(ids))} {error.detail}", tone="error")
        else:
            if refused:
                self._shell.say(t("tasks.refused", n=refused, why=why), tone="error")
        finally:
            self._going.pop(number, None)
            await self.changed()


def _parts(ids: list[str]) -> list[list[str]]:
    return [ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE)]


async def _nothing() -> None:
    return None
