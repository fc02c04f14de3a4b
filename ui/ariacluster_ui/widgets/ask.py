"""A question in a dialog: a sentence, some fields, yes or no. What the node refuses is said in the dialog, which stays open."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from nicegui import ui

from ariacluster.domain.errors import AriaClusterError
from ariacluster_ui.assets import Island

Field = Mapping[str, Any]
Yes = Callable[[dict[str, Any]], Awaitable[None]]


class Ask(Island, script="ask"):
    """Emits `yes` with the values of its fields, or `no`. It is made when it is asked, and gone when it is answered."""


def text(name: str, label: str, value: str = "", *, help: str = "", placeholder: str = "") -> Field:
    return {"name": name, "type": "text", "label": label, "value": value, "help": help, "placeholder": placeholder}


def choice(name: str, label: str, value: str, options: Iterable[tuple[str, str, str]]) -> Field:
    """`options`: value, label and a sentence about each."""
    shown = [{"value": one, "label": title, "help": help} for one, title, help in options]
    return {"name": name, "type": "choice", "label": label, "value": value, "options": shown}


def check(name: str, label: str, value: bool = False) -> Field:
    return {"name": name, "type": "check", "label": label, "value": value}


def ask(
    heading: str,
    text: str = "",
    *,
    action: str,
    yes: Yes,
    fields: Iterable[Field] = (),
    points: Iterable[str] = (),
    refusal: str = "",
    danger: bool = False,
) -> Ask:
    """Ask in the tab of the current client. `yes` does what was asked for: it may raise an error of ours, whose sentence is
    shown; then the person may mend the fields and say yes again. `refusal`: what the no is called, if not “Cancel”."""
    with ui.context.client.content:
        dialog = Ask(
            heading=heading,
            text=text,
            points=list(points),
            fields=list(fields),
            action=action,
            refusal=refusal,
            danger=danger,
            error="",
            errorField=None,
        )

    async def agreed(event: Any) -> None:
        dialog.props["busy"] = True
        try:
            await yes(event.args or {})
        except AriaClusterError as error:
            dialog.props["error"], dialog.props["errorField"] = error.detail, error.field
            dialog.props["busy"] = False
        else:
            dialog.delete()

    dialog.on("yes", agreed)
    dialog.on("no", lambda _: dialog.delete())
    return dialog
