"""The settings as text that a person edits, and back."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.requests import SettingsPatch
from ariacluster.wire.resources import SettingsResource
from ariacluster_ui.words import t

from . import units

STRATEGIES = ("least_loaded", "round_robin", "random", "tags")


def texts(settings: SettingsResource) -> dict[str, Any]:
    """By field, as the form shows it; empty for what each node decides for itself. `origin_limits`: pairs of text."""
    return {
        "strategy": settings.strategy,
        "min_free": units.plain_size(settings.min_free),
        "origin_connections": str(settings.origin_connections or ""),
        "origin_limits": [[origin, str(limit)] for origin, limit in sorted(settings.origin_limits.items())],
        "max_attempts": str(settings.max_attempts),
        "retry_pause": units.span(settings.retry_pause),
        "retry_pause_longest": units.span(settings.retry_pause_longest),
        "node_timeout": _span(settings.node_timeout),
        "forget_after": _span(settings.forget_after),
        "slots": "" if settings.slots is None else str(settings.slots),
    }


def patch(said: Mapping[str, Any], before: SettingsResource) -> SettingsPatch:
    """What was changed in the form. `InvalidInput` names the field that makes no sense, and says how to write it."""
    changes: dict[str, Any] = {}
    for name, value in said.items():
        if name == "origin_limits":
            changes[name] = _limits(value, before.origin_limits)
        elif name in READERS:
            changes[name] = READERS[name](name, str(value).strip())
    try:
        return msgspec.convert(changes, SettingsPatch)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise InvalidInput(t("settings.wrong", what=what.replace("`", "")), field=where.rstrip("`") or None) from None


def _limits(pairs: Any, before: Mapping[str, int]) -> dict[str, int | None]:
    """An origin that is no longer there is given null, which takes its limit away."""
    limits: dict[str, int | None] = dict.fromkeys(before)
    for origin, said in pairs:
        name, number = str(origin).strip().lower(), str(said).strip()
        if not name and not number:
            continue
        if not name:
            raise InvalidInput(t("settings.origin_missing"), field="origin_limits")
        limits[name] = _number("origin_limits", number)
    return limits


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise InvalidInput(t("settings.number_wrong", text=text), field=name)
    return int(text)


def _number_or(default: int | None) -> Callable[[str, str], int | None]:
    return lambda name, text: _number(name, text) if text else default


def _size(name: str, text: str) -> int:
    size = units.bytes_of(text) if text else 0
    if size is None:
        raise InvalidInput(t("settings.size_wrong", text=text), field=name)
    return size


def _seconds(name: str, text: str) -> float | None:
    if not text:
        return None
    seconds = units.seconds_of(text)
    if seconds is None:
        raise InvalidInput(t("settings.span_wrong", text=text), field=name)
    return seconds


def _span(seconds: float | None) -> str:
    return "" if seconds is None else units.span(seconds)


READERS: dict[str, Callable[[str, str], Any]] = {
    "strategy": lambda _, text: text,
    "min_free": _size,
    "origin_connections": _number_or(0),
    "max_attempts": _number_or(None),
    "retry_pause": _seconds,
    "retry_pause_longest": _seconds,
    "node_timeout": _seconds,
    "forget_after": _seconds,
    "slots": _number_or(None),
}
"""How the text of each field is read; null brings back what held before anybody said anything."""
