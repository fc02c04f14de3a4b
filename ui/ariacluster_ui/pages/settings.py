"""`/settings`: how the cluster goes about it, and how this page looks."""

from collections.abc import Callable
from typing import Any

from ariacluster.domain.errors import AriaClusterError
from ariacluster_ui.presenters import settings
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.rooms import SettingsForm
from ariacluster_ui.words import t


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/settings": lambda: build(shell)}


def build(shell: Shell) -> None:
    shell.head(t("nav.settings"))
    form = SettingsForm(values=None, strategies=settings.STRATEGIES, error="", errorField=None)

    async def load(_: Any = None) -> None:
        try:
            form.props["values"] = settings.texts(await shell.store.client.settings())
            form.props["error"] = ""
        except AriaClusterError as error:
            form.props["error"] = error.detail

    async def save(event: Any) -> None:
        try:
            before = await shell.store.client.settings()
            after = await shell.store.client.configure(settings.patch(event.args, before))
        except AriaClusterError as error:
            form.props["error"], form.props["errorField"] = error.detail, error.field
        else:
            form.props["values"], form.props["error"], form.props["errorField"] = settings.texts(after), "", None
            shell.say(t("settings.saved"), tone="ok")

    form.on("load", load)
    form.on("save", save)
