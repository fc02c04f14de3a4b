"""How the cluster goes about its work: what people read and change of it."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ariacluster.domain.commands import Configure
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.wire.requests import SettingsPatch
from ariacluster.wire.resources import SettingsResource
from ariacluster.wire.showing import settings_resource

from .replica import Replica

MAX_ORIGINS = 64
MAX_ORIGIN_CHARS = 255
"""With so many, so long, the whole policy still fits one entry of the log."""

CALLED = {"retry_pause": "first_pause", "retry_pause_longest": "longest_pause"}
"""Fields of a resource that the policy calls otherwise."""

UNTOUCHED = Policy()


class Policies:
    """The settings of the cluster as a resource. (Those of a single node are in its own file.)"""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def show(self) -> SettingsResource:
        return settings_resource(self._replica.table.policy)

    async def change(self, patch: SettingsPatch) -> SettingsResource:
        """Change what the patch names; committed when this returns. `InvalidInput` names the field."""
        now = self._replica.table.policy
        then = _patched(now, patch)
        if then != now:
            await self._replica.change(Configure(then))
        return self.show()


def _patched(policy: Policy, patch: SettingsPatch) -> Policy:
    """A field that is not named stays, one that is null is as it was at first."""
    read: dict[str, Callable[[Any], Any]] = {
        "strategy": _strategy,
        "origin_limits": lambda limits: _merged(policy.origin_limits, limits),
        "retry_pause": _ms,
        "retry_pause_longest": _ms,
    }
    fields = {}
    for name in patch.__struct_fields__:
        if (value := getattr(patch, name)) is not msgspec.UNSET:
            field = CALLED.get(name, name)
            fields[field] = getattr(UNTOUCHED, field) if value is None else read.get(name, _same)(value)
    then = msgspec.structs.replace(policy, **fields)
    if then.first_pause > then.longest_pause:
        raise InvalidInput(
            f"The first pause ({then.first_pause / 1000:g} s) would be longer than the longest "
            f"({then.longest_pause / 1000:g} s).",
            field="retry_pause_longest" if patch.retry_pause is msgspec.UNSET else "retry_pause",
        )
    return then


def _same(value: Any) -> Any:
    return value


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _strategy(name: str) -> Strategy:
    try:
        return Strategy(name)
    except ValueError:
        known = ", ".join(strategy.value for strategy in Strategy)
        raise InvalidInput(f"There is no strategy {name!r}; there are {known}.", field="strategy") from None


def _merged(limits: Mapping[str, int], changes: Mapping[str, int | None]) -> dict[str, int]:
    merged = dict(limits)
    for origin, limit in changes.items():
        key = _origin(origin)
        if limit is None:
            merged.pop(key, None)
        else:
            merged[key] = limit
    if len(merged) > MAX_ORIGINS:
        raise InvalidInput(
            f"At most {MAX_ORIGINS} origins may have a limit of their own; origin_connections is for all others.",
            field="origin_limits",
        )
    return dict(sorted(merged.items()))


def _origin(text: str) -> str:
    """`host` or `host:port` as the links of tasks are read: lower case, IPv6 in brackets."""
    wrong = InvalidInput(
        "Name a server as host or host:port, without http:// and a path.", field=f"origin_limits.{text[:100]}"
    )
    if not text or len(text) > MAX_ORIGIN_CHARS or not text.isprintable() or set(text) & set("/@?# \\"):
        raise wrong
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host or text.endswith(":"):
        raise wrong
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
