"""Two nodes with one id: a data folder was copied, and both answer to one name."""

from collections.abc import Iterable

import structlog

from ariacluster.domain.member import at

from .interfaces import Interface, reachable

log = structlog.get_logger()

ASK_PERIOD = 30.0
"""Seconds between two questions for our own entry. Unasked, a twin only speaks when something about it changes."""

_FORGET_AFTER = 75.0
"""Seconds: two questions without an answer, and a moment."""


class Twins:
    """Who else announces this node's id. Our own entry comes back to us; what says something else is another node's."""

    def __init__(self) -> None:
        self._said: set[str] = set()  # every port and address that was ever announced: an echo may be late
        self._seen: dict[str, float] = {}  # `host:port` and when it was last heard, loop time
        self._told: set[str] = set()

    def say(self, port: int, addresses: Iterable[str]) -> None:
        """To be called before they are announced."""
        self._said |= {str(port), *addresses}

    def hear(self, node_id: str, port: int, addresses: Iterable[str], here: list[Interface], now: float) -> None:
        """Take what was heard under our own name; addresses as zeroconf has them, with the number of their link."""
        theirs = [address for address in addresses if address.partition("%")[0] not in self._said]
        if not theirs and str(port) in self._said:
            return
        address = reachable(theirs or addresses, here)
        if address is None:
            return
        door = at(address, port)
        self._seen[door] = now
        if door not in self._told:
            self._told.add(door)
            log.warning(
                "another node announces this node's id",
                node=node_id,
                address=door,
                hint="was the data folder copied? Every node needs its own.",
            )

    def doors(self, now: float) -> tuple[str, ...]:
        """`host:port` of the API of those that were heard lately."""
        return tuple(sorted(door for door, heard in self._seen.items() if now - heard < _FORGET_AFTER))
