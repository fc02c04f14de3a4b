"""`settings`: how the cluster goes about its work, the same for all its nodes."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ariacluster.cli import units
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.cli.output import ExitCode
from ariacluster.domain.policy import Strategy
from ariacluster.wire.requests import SettingsPatch
from ariacluster.wire.resources import SettingsResource

MEANING = {
    "strategy": f"by what a node is picked: {', '.join(strategy.value for strategy in Strategy)}",
    "origin_connections": "to any one server, over all nodes; 0 for no limit",
    "origin_limits": "to these servers instead; origin_limits.HOST=N sets one, origin_limits.HOST= takes it off",
    "min_free": "what stays free on the disk of every node",
    "max_attempts": "of a task that does not say",
    "retry_pause": "before a second attempt, doubled before each further one",
    "retry_pause_longest": "between two attempts at most",
    "node_timeout": "of silence until a node's tasks run elsewhere",
    "forget_after": "of silence until a node is taken off the cluster",
    "slots": "downloads at a time on a node that was not tuned",
}
LIMITS = "origin_limits"


def add_to(app: typer.Typer) -> None:
    settings = typer.Typer(rich_markup_mode="rich", help="How the cluster works: for all nodes, and at once.")
    settings.callback(invoke_without_command=True)(family)
    app.add_typer(settings, name="settings")
    command(settings, "get", examples=["ariacluster settings get", "ariacluster settings get strategy"])(get)
    setting = [
        "ariacluster settings set strategy=round_robin",
        "ariacluster settings set origin_connections=16 origin_limits.mirror.example.org=4",
        "ariacluster settings set origin_limits.mirror.example.org= min_free=2GB",
        "ariacluster settings set node_timeout=1m slots=8 retry_pause=10s",
    ]
    command(settings, "set", examples=setting)(set_)


async def get(
    invocation: Invocation,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="Only this one: its value alone.", show_default=False)
    ] = None,
) -> int:
    """What is set."""
    if key is not None and key not in MEANING:
        raise typer.BadParameter(f"There is no setting {key!r}; there are {', '.join(MEANING)}.", param_hint="KEY")
    async with invocation.client() as client:
        now = await client.settings()
    if key is None:
        _show(invocation, now)
        return ExitCode.DONE
    value = getattr(now, key)
    if not invocation.output.for_people:
        invocation.output.document({key: value})
        return ExitCode.DONE
    from rich.text import Text

    from ariacluster.cli.plain import plain

    bare = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    lines = [f"{origin}={limit}" for origin, limit in value.items()] if isinstance(value, dict) else [bare]
    for line in lines:
        invocation.output.sentence(Text(plain(line)))
    return ExitCode.DONE


async def set_(
    invocation: Invocation,
    pairs: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE", help="What to set, several at once.", show_default=False)
    ],
) -> None:
    """Change settings; those that are not named stay as they are, and KEY= brings back what held at first.

    strategy is one of least_loaded, round_robin, random, tags. origin_connections is for any one server over all nodes,
    origin_limits.HOST for one of them; 0 is no limit. min_free is what stays free on every disk, e.g. 2GB. max_attempts is for
    tasks that do not say; retry_pause comes before a second attempt, and doubles up to retry_pause_longest. After
    node_timeout without a sign a node's tasks run elsewhere, after forget_after it is taken off. slots is for nodes that were
    not tuned. Times are written as 90s, 10m or 2d.
    """
    patch = _patch(pairs)
    async with invocation.client() as client:
        _show(invocation, await client.configure(patch))


def _patch(pairs: list[str]) -> SettingsPatch:
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE.", param_hint="KEY=VALUE")
        family, dot, origin = key.partition(".")
        if family == LIMITS and dot and origin:
            given.setdefault(LIMITS, {})[origin] = _number(value, key) if value else None
        elif key == LIMITS:
            raise typer.BadParameter(f"Name the server: {LIMITS}.HOST=N.", param_hint=LIMITS)
        elif key in READ:
            given[key] = READ[key](value, key) if value else None
        else:
            raise typer.BadParameter(
                f"There is no setting {key!r}; there are {', '.join(MEANING)}.", param_hint="KEY=VALUE"
            )
    return SettingsPatch(**given)


def _number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise typer.BadParameter(f"{text!r} is no whole number.", param_hint=key)
    return int(text)


def _size(text: str, key: str) -> int:
    if (size := units.bytes_of(text)) is None:
        raise typer.BadParameter(f"{text!r} is no size; write 2GB or 500M.", param_hint=key)
    return size


def _seconds(text: str, key: str) -> float:
    if (seconds := units.seconds_of(text)) is None:
        raise typer.BadParameter(f"{text!r} is no time; write 90s, 10m or 2d.", param_hint=key)
    return seconds


def _word(text: str, _key: str) -> str:
    return text


READ: dict[str, Callable[[str, str], Any]] = {
    "strategy": _word,
    "origin_connections": _number,
    "min_free": _size,
    "max_attempts": _number,
    "retry_pause": _seconds,
    "retry_pause_longest": _seconds,
    "node_timeout": _seconds,
    "forget_after": _seconds,
    "slots": _number,
}
"""How what a person writes is read."""


def _said(key: str, value: Any) -> str:
    """The value of a setting for a person."""
    if value is None:
        return "each node's own"
    if key in (LIMITS, "origin_connections"):
        return str(value or "no limit")
    if READ.get(key) is _size:
        return units.size(value)
    if READ.get(key) is _seconds:
        return f"{value:g} s" if value < units.MINUTE else units.duration(value)
    return str(value)


def _show(invocation: Invocation, settings: SettingsResource) -> None:
    if not invocation.output.for_people:
        invocation.output.document(settings)
        return
    from rich.text import Text

    from ariacluster.cli.grid import Cell, Column, lay
    from ariacluster.cli.plain import plain

    rows = []
    for key in MEANING:
        value = getattr(settings, key)
        for name, single in (
            [(f"{key}.{o}", v) for o, v in value.items()] if isinstance(value, dict) else [(key, value)]
        ):
            rows.append([Cell(name, "bold"), Cell(_said(key, single))])
    explained = [[*row, Cell(MEANING.get(plain(row[0].text).partition(".")[0], ""), "dim")] for row in rows]
    columns = [Column("SETTING", least=20), Column("VALUE"), Column("WHAT IT IS", least=20, keep=1)]
    lines: list[Text] = lay(columns, explained, invocation.output.width)
    invocation.output.lines(lines)
