"""What surrounds every page, and how a page speaks to the person in front of it."""

import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nicegui import ui

from ariacluster.domain.errors import AriaClusterError

from .assets import Island
from .live import Store
from .push import Tab
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
        self.on_add: Callable[[], Any] = lambda: ui.navigate.to("/tasks?add=1")
        """What the button and the key for adding downloads do."""

    def build(self) -> None:
        frame = Frame()
        frame.on("add", lambda _: self.on_add())
        frame.on("visible", self._see)
        frame.on("toast", self._undo)

    def head(
        self, title: str, *wants: str, problems: bool = False, back: str | None = None, back_text: str = ""
    ) -> PageHead:
        """The beginning of every page. `wants`: the kinds of news that it shows (see `push`)."""
        self.tab.wants = frozenset(wants)
        self.tab.rows = None
        head = PageHead(title=title, wants=sorted(wants), problems=problems, back=back, backText=back_text)
        head.on("add", lambda _: self.on_add())
        return head

    # -- speaking

    def say(self, text: str, *, tone: str = "plain", undo: Undo | None = None) -> None:
        """A toast; with `undo` it has a button for that, for a few seconds."""
        said: dict[str, Any] = {"text": text, "tone": tone}
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
