"""`/activity`: what happened and on whose word. `?show=&node=` stay in the browser."""

from collections.abc import Callable
from typing import Any

from ariacluster_ui.presenters.activity import GROUPS, entry_row
from ariacluster_ui.push import HISTORY
from ariacluster_ui.shell import Shell
from ariacluster_ui.widgets.rooms import Activity
from ariacluster_ui.words import t

PAGE = 100
"""Entries that are asked for at a time."""


def routes(shell: Shell) -> dict[str, Callable[..., Any]]:
    return {"/activity": lambda: build(shell)}


def build(shell: Shell) -> None:
    shell.head(t("nav.activity"), HISTORY)

    async def older(event: Any) -> None:
        asked = event.args
        answer = {"k": "older", "key": asked.get("key"), "rows": [], "ended": True}
        with shell.telling():
            entries = await shell.store.client.history(
                node=str(asked.get("node") or ""),
                kinds=GROUPS.get(str(asked.get("show")), ()),
                limit=PAGE,
                before=asked.get("before") if isinstance(asked.get("before"), int) else None,
            )
            answer |= {"rows": [entry_row(entry) for entry in entries], "ended": len(entries) < PAGE}
        shell.tell(answer)

    Activity(groups=GROUPS).on("older", older)
