"""Who is around: those that multicast lets us hear, and those that others tell us of.

Multicast loses packets, and some networks have none. So nodes also meet over their APIs: the one says who it is, the other
answers whom it knows. Whoever hears anybody thereby comes to know everybody.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.formation import Heard
from ariacluster_node.ports import Clock, Discovery, Doors

log = structlog.get_logger()

TOLD_FOR = 15.0
"""Seconds for which it counts what was told, and not heard."""

MAX_TOLD = 1000
"""Nodes that are known by hearsay: a LAN has no more."""

AT_ONCE = 8
"""Doors that are asked at the same time."""


class Lan:
    """Fills itself from `discovery` (None: no multicast) and from meetings. `announcement`: what this node says of itself."""

    def __init__(
        self, discovery: Discovery | None, doors: Doors, clock: Clock, announcement: Callable[[], Heard]
    ) -> None:
        self._discovery = discovery
        self._doors = doors
        self._clock = clock
        self._announcement = announcement
        self._announced: Heard | None = None
        self._told: dict[tuple[str, str], tuple[Heard, float]] = {}
        self._words: dict[str, tuple[Heard, float]] = {}  # what nodes said of themselves
        self._read: dict[str, tuple[Heard, float]] = {}  # what is announced, and since when it was seen to be so

    @property
    def twins(self) -> tuple[str, ...]:
        """Where others announce this node's own id now."""
        return self._discovery.twins if self._discovery is not None else ()

    def heard(self) -> list[Heard]:
        """The others, by id. Who is heard directly is taken at its own word, the latest one: of what was announced while a
        cable was cut nothing is heard for a minute."""
        since = self._clock.monotonic() - TOLD_FOR
        self._told = {key: told for key, told in self._told.items() if told[1] > since}
        self._words = {node: word for node, word in self._words.items() if word[1] > since}
        known = {told.node_id: told for told, _ in self._told.values()}
        for node, (announced, seen) in self._look().items():
            word, said = self._words.get(node, (announced, seen))
            # At another door it may be a copy of the node.
            known[node] = word if said > seen and word.door == announced.door else announced
        known.pop(self._announcement().node_id, None)
        return [known[node] for node in sorted(known)]

    def _look(self) -> dict[str, tuple[Heard, float]]:
        now, before = self._clock.monotonic(), self._read
        entries = self._discovery.heard() if self._discovery is not None else []
        self._read = {
            heard.node_id: known if (known := before.get(heard.node_id)) and known[0] == heard else (heard, now)
            for heard in entries
        }
        return self._read

    def told_of(self, node: str) -> list[str]:
        """The doors of `node`, which may be this one, as others know it."""
        return [told.door for told, _ in self._told.values() if told.node_id == node]

    def ask(self) -> None:
        """Ask the LAN anew who is there."""
        if self._discovery is not None:
            self._discovery.ask()

    async def announce(self) -> None:
        """Tell the LAN of this node, if there is anything new to tell."""
        mine = self._announcement()
        if self._discovery is not None and mine != self._announced:
            self._announced = mine
            await self._discovery.update(mine)

    def note(self, told: Heard, *, itself: bool = False) -> None:
        """A node is said to be there, by `itself` or by another one; `TOLD_FOR` seconds later that is forgotten."""
        self._look()  # what is announced by now is older
        key = (told.node_id, told.door)
        if key in self._told or len(self._told) < MAX_TOLD:
            self._told.pop(key, None)  # the latest last: of two doors of one node it counts
            self._told[key] = (told, self._clock.monotonic())
            if itself:
                self._words[told.node_id] = self._told[key]

    async def meet(self, doors: Iterable[str]) -> list[Heard]:
        """Meet the nodes at these doors (`host:port`), as far as they answer; answers who they are."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def meet_one(door: str) -> Heard | None:
            async with gate:
                try:
                    known = await self._doors.meet(door, self._announcement())
                except AriaClusterError as error:
                    log.debug("not met", door=door, reason=error.detail)
                    return None
            for number, told in enumerate(known):
                self.note(told, itself=number == 0)
            return known[0] if known else None

        met = await asyncio.gather(*(meet_one(door) for door in dict.fromkeys(doors)))
        return [heard for heard in met if heard is not None]
