"""What a person orders on the list: of one of its rows, of those that are chosen, of all that match."""

from typing import Any

from ariacluster.wire.resources import TaskResource
from ariacluster_ui.presenters.task import VERBS
from ariacluster_ui.presenters.tasks import filter_of
from ariacluster_ui.shell import Shell
from ariacluster_ui.words import t

from .orders import Many, Orders
from .removals import Removals
from .task_orders import TaskOrders


class ListOrders(Orders):
    """The orders of one tab. They outlive its pages, as what is about to be removed does: what is `gone` is shown no more."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self._removals = Removals(shell, self)

    @property
    def gone(self) -> frozenset[str]:
        return self._removals.gone

    async def take(self, said: dict[str, Any], view: dict[str, Any]) -> None:
        """`said`: a `verb` with `ids`, or with `all` for whatever `view` shows on all its pages."""
        name, ids = str(said.get("verb")), [str(one) for one in said.get("ids") or []]
        verb = VERBS.get(name)
        if verb is None:
            return
        if said.get("all") and verb.many:
            await self._all(name, view)
        elif not ids:
            return
        elif not verb.many:
            await self._one(name, ids[0])
        elif verb.held:
            self._removals.hold(ids)
            await self.changed()
        else:
            await self.order(name, Many.of(ids))

    async def _one(self, verb: str, task_id: str) -> None:
        with self._shell.telling():
            task: TaskResource = await self._shell.store.client.task(task_id)
            orders = TaskOrders(self._shell, lambda: task)
            orders.changed = lambda: self.changed()
            with self._shell.client.content:
                await orders.take(verb)

    async def _all(self, verb: str, view: dict[str, Any]) -> None:
        matching = filter_of(view, verb)
        if matching is None:
            self._shell.say(t(f"tasks.nothing.{verb}"))
            return
        count = 0
        with self._shell.telling():
            if VERBS[verb].final:  # the question says how many they are
                found = await self._shell.store.client.page(
                    states=matching.state, node=matching.node or "", tags=matching.tag, q=matching.q, limit=1
                )
                count = found.total
            await self.order(verb, Many([matching], count, everything=True))
