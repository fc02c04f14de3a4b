"""Which page is where. Paths are of `ui.sub_pages`; a page's state beyond its path stands in the query of the URL."""

from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.elements.sub_pages import SubPages

from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.empty import empty
from ariacluster_ui.words import t

from . import activity, dashboard, node, nodes, settings, task, tasks


class Pages(SubPages):
    """The part of a tab below its surroundings."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        routes: dict[str, Callable[..., Any]] = {}
        for room in (dashboard, tasks, task, nodes, node, activity, settings):
            routes |= room.routes(shell)
        super().__init__(routes)

    def _render_404(self) -> None:
        self._shell.head(t("404.title"))
        with ui.element("div").classes("ac-card"):
            empty("map-pin", t("404.heading"), t("404.text"), action=t("404.action"), to="/")

    def _render_error(self, error: Exception) -> None:
        super()._render_error(error)
        self.clear()
        with self:
            self._shell.head(t("500.title"))
            with ui.element("div").classes("ac-card"):
                empty("circle-alert", t("500.heading"), t("500.text"), action=t("404.action"), to="/")
