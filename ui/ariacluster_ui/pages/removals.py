"""What is about to be removed: said to the node only when nobody regrets it any more, for no word brings it back."""

import asyncio
from collections.abc import Sequence

from nicegui import background_tasks

from ariacluster_ui.shell import Shell
from ariacluster_ui.words import t

from .orders import Many, Orders

REGRET = 7.0
"""Seconds for which a removal can be taken back: only then is it said to the node."""

OFFERED = 6.0
"""Seconds for which Undo is offered after a removal: fewer, so that it never comes too late."""


class Removals:
    """The removals of one tab, whatever page it shows by then. When its browser is gone, or the program ends, they are said at
    once: nobody is there to regret them, and nobody might be there to say them later."""

    def __init__(self, shell: Shell, orders: Orders) -> None:
        self._shell = shell
        self._orders = orders
        self._held: dict[asyncio.Future[bool], frozenset[str]] = {}
        """Ids by whether they are taken back, once that is settled."""
        self._waiting: set[asyncio.Task[None]] = set()
        shell.tab.on_leave = self.send

    @property
    def gone(self) -> frozenset[str]:
        """What is not to be shown any more."""
        return frozenset().union(*self._held.values())

    def hold(self, ids: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        regretted: asyncio.Future[bool] = loop.create_future()
        loop.call_later(REGRET, _settle, regretted)
        self._held[regretted] = frozenset(ids)
        waiting = background_tasks.create(self._wait(ids, regretted), name="remove downloads")
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

        async def back() -> None:
            if regretted.done():
                self._shell.say(t("tasks.too_late"), tone="error")
            else:
                regretted.set_result(True)

        self._shell.say(t("tasks.done.remove", n=len(ids)), undo=back, seconds=OFFERED)

    async def send(self) -> None:
        """Returns when the node has heard of all of them."""
        for regretted in self._held:
            _settle(regretted)
        if self._waiting:
            await asyncio.wait([*self._waiting])

    async def _wait(self, ids: Sequence[str], regretted: asyncio.Future[bool]) -> None:
        try:
            if not await regretted:
                await self._remove(ids)
        finally:
            del self._held[regretted]
        await self._orders.changed()

    async def _remove(self, ids: Sequence[str]) -> None:
        with self._shell.telling(t("tasks.not_removed", n=len(ids))):
            self._orders.tell_refused(await Many.of(ids).hear(self._shell.store, "remove"))


def _settle(regretted: asyncio.Future[bool]) -> None:
    if not regretted.done():
        regretted.set_result(False)
