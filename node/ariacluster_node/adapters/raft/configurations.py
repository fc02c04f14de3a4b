"""Who votes, as the log tells: a configuration counts from the entry that sets it, committed or not (Raft §4.1).

Pure. A configuration is the sorted tuple of the voters' ids.
"""

from bisect import bisect_right
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from ariacluster.domain.errors import AriaClusterError, Conflict, Unavailable

Voters = tuple[str, ...]

_decoder = msgspec.msgpack.Decoder(Voters)


def encode(voters: Collection[str]) -> bytes:
    return msgspec.msgpack.encode(sorted(voters))


def decode(data: bytes) -> Voters:
    return _decoder.decode(data)


def majority(voters: Collection[str]) -> int:
    return len(voters) // 2 + 1


class Configuration(NamedTuple):
    """The voters from entry `since` on; 0: nobody has said yet."""

    since: int
    voters: Voters


UNKNOWN = Configuration(0, ())


class Configurations:
    """All that the snapshot and the log behind it tell, oldest first. There is always one."""

    def __init__(self, base: Configuration = UNKNOWN) -> None:
        self._known = [base]

    @property
    def latest(self) -> Configuration:
        return self._known[-1]

    def at(self, index: int) -> Configuration:
        """What counted when `index` was the last entry; the oldest known if that is older still."""
        position = bisect_right(self._known, index, key=lambda known: known.since)
        return self._known[max(position - 1, 0)]

    def since(self, index: int) -> list[Voters]:
        """What counts at `index` and what was set behind it, oldest first."""
        return [self.at(index).voters, *(known.voters for known in self._known if known.since > index)]

    def add(self, index: int, voters: Voters) -> None:
        if index > self.latest.since:
            self._known.append(Configuration(index, voters))

    def cut_from(self, index: int) -> bool:
        """The log lost `index` and what followed; answers whether that changed who votes."""
        before = self.latest
        while len(self._known) > 1 and self._known[-1].since >= index:
            self._known.pop()
        return self.latest != before

    def forget_before(self, index: int) -> None:
        """The log begins at `index` now; what counts there stays known."""
        oldest = self.at(index)
        self._known = [oldest, *(known for known in self._known if known.since > oldest.since)]


def refusal(
    old: Configuration, new: Voters, *, leader: str, commit: int, fit: Collection[str], present: Collection[str]
) -> AriaClusterError | None:
    """Why a leader must not go from `old` to `new` now; None if it may.

    `fit`: the followers that hold what is committed; `present`: those that answered lately. The leader counts as both.
    """
    added, removed = set(new) - set(old.voters), set(old.voters) - set(new)
    if len(added) + len(removed) != 1:
        return Conflict("The voters change by one node at a time, and something else changed meanwhile. Try again.")
    if old.since > commit:
        return Conflict("Another change of the voters is not finished. Try again in a moment.")
    if leader in removed:
        return Conflict("The leader cannot remove itself. Hand leadership over first.")
    if added and not added <= set(fit):
        return Unavailable(f"{added.pop()} is not connected or has not caught up yet. Try again in a moment.")
    here = {leader, *present}
    if len(here.intersection(new)) < majority(new):
        return Conflict("Too few of the remaining voters are present to decide anything. Bring another one back first.")
    return None
