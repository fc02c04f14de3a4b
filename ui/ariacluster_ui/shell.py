"""What surrounds every page, and how a page speaks to the person in front of it."""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import background_tasks

from ariacluster.domain.errors import AriaClusterError

from .assets import Island
from .live import Store
from .push import Tab, as_script
from .words import t

Undo = Callable[[], Awaitable[None]]


class Frame(Island, script="shell"):
    """Rail, bar at the bottom, state of the line, toasts. Emits `add`, `visible`, `toast`."""


class PageHead(Island, script="page_head"):
    """Title and state of the cluster; what is wrong, with `problems`. What is put into it stands beside the title."""


class Shell:
    """One tab's surroundings: what its pages have at hand."""

    def __init__(self, store: Store, tab: Tab) -> None:
        self.store = store
        self.tab = tab
        self.client = tab.client
        self._undos: dict[str, Undo] = {}
        self._numbers = itertools.count(1)
        self._watching = False
        self.on_add: Callable[[], Any] = lambda: None
        """What the button and the key for adding downloads do."""

    def build(self) -> None:
        frame = Frame()
        frame.on("add", lambda _: self.on_add())
        frame.on("visible", self._see)
        frame.on("toast", self._undo)
        self.client.on_delete(lambda: self.watch(()))

    def head(
        self, title: str, *wants: str, problems: bool = False, back: str | None = None, back_text: str = ""
    ) -> PageHead:
        """The beginning of every page. `wants`: the kinds of news that it shows (see `push`)."""
        self.tab.wants = frozenset(wants)
        self.tab.rows = None
        if self._watching:
            background_tasks.create(self.watch(()), name="stop watching")
        head = PageHead(title=title, wants=sorted(wants), problems=problems, back=back, backText=back_text)
        head.on("add", lambda _: self.on_add())
        return head

    def tell(self, news: dict[str, Any]) -> None:
        """News for this tab alone, outside of the ticks: whoever `reads` its `k` in the browser."""
        if not self.client.is_deleted:
            self.client.run_javascript(f"A.tell({as_script(news)})")

    async def watch(self, ids: Iterable[str]) -> None:
        """Follow the rows of these tasks in `store.tasks` for as long as this page is shown, in place of those before."""
        wanted = frozenset(ids) if not self.client.is_deleted else frozenset()
        self._watching = bool(wanted)
        await self.store.watch(self.client.id, wanted)

    # -- speaking

    def say(self, text: str, *, tone: str = "plain", undo: Undo | None = None, seconds: float | None = None) -> None:
        """A toast; with `undo` it has a button for that. It stays for some seconds."""
        said: dict[str, Any] = {"text": text, "tone": tone}
        if seconds is not None:
            said["seconds"] = seconds
        if undo is not None:
            name = f"u{next(self._numbers)}"
            self._undos[name] = undo
            said |= {"id": name, "action": t("undo")}
        if not self.client.is_deleted:
            self.client.run_javascript(f"A.toast({json.dumps(said)})")

    @contextmanager
    def telling(self, what: str = "") -> Iterator[None]:
        """What the node refuses within is told: `what` could not be done, and why."""
        try:
            yield
        except AriaClusterError as error:
            self.say(f"{what} {error.detail}".strip(), tone="error")

    def _see(self, event: Any) -> None:
        self.tab.visible = bool(event.args)

    async def _undo(self, event: Any) -> None:
        undo = self._undos.pop(str(event.args), None)
        if undo is not None:
            with self.telling():
                await undo()
