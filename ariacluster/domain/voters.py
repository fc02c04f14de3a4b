"""Who votes: three members, five from seven on; the others follow as learners. One step at a time, made by the leader.

| what is | what follows |
|---|---|
| one member, or two | all of them vote |
| three to six members | three vote |
| seven members or more | five vote |
| fewer vote than shall, and a learner is steady | the learner is promoted |
| a voter has been silent for `REPLACE_S`, and a learner is steady | the learner is promoted, then the silent one removed |
| a voter has been silent for `REPLACE_S`, and no learner is steady | nothing: silence never shrinks the quorum |
| a voter is no member any more (`node rm`) | it is removed |
| a voter has resigned (it stopped), and another one is there | it is removed, and is a learner when it comes back |
| the leader is no member any more, or has resigned | it hands over; the next leader removes it |
| more vote than shall (members left) | one is removed: the silent first, then the absent, never the leader |
| without it, the voters left would have no present majority | it stays for now |

A witness is promoted before others, and removed after them: to vote is all it is for. Ties go to the smallest id when
promoting, to the largest when removing: the same facts lead to the same step.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

STEADY_S = 3.0
"""Seconds for which a learner must have followed closely and without a break: a fresh trio has three voters a few seconds
after the joins, and a node that comes and goes stays a learner."""

CLOSE_ENTRIES = 1000
"""How many entries a learner may lack and still follow closely: a busy leader is always a little ahead."""

REPLACE_S = 60.0
"""Seconds of silence after which a voter is replaced: longer than a restart of the machine's program, or of its switch."""

PRESENT_S = 3.0
"""Seconds of silence after which a voter is not counted upon."""

MANY_MEMBERS = 7
"""From here on five vote, so that two may fail at once; fewer members could not spare them."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A node as the leader sees it. Seconds; the leader itself is always heard and steady.

    `silent_for`: since it was last heard. `steady_for`: for how long it has been connected and no more than `CLOSE_ENTRIES`
    behind without a break, 0.0 if it is not so now.
    """

    node: str
    voter: bool
    member: bool
    connected: bool
    silent_for: float
    steady_for: float
    witness: bool = False
    resigned: bool = False

    @property
    def belongs(self) -> bool:
        """It is to be counted upon: a member that has not said goodbye."""
        return self.member and not self.resigned


class Promote(NamedTuple):
    """Make this learner a voter, because `why`."""

    node: str
    why: str


class Remove(NamedTuple):
    """Take this node's vote, because `why`."""

    node: str
    why: str


class HandOver(NamedTuple):
    """The leader shall make another voter lead, because `why`."""

    why: str


def target(members: int) -> int:
    """How many of so many members vote."""
    return min(members, 3) if members < MANY_MEMBERS else 5


def decide(leader: str, standings: Iterable[Standing]) -> Promote | Remove | HandOver | None:
    """The next step, or None if all is as it shall be or can be. `standings` are of every voter, member and learner."""
    nodes = {s.node: s for s in standings}
    voters = [nodes[node] for node in sorted(nodes) if nodes[node].voter]
    strangers = [v for v in voters if not v.belongs]
    wanted = target(sum(s.belongs for s in nodes.values()))
    if any(v.node == leader for v in strangers) and any(_present(v, leader) for v in voters if v.belongs):
        return HandOver("it stops" if nodes[leader].member else "it was taken off the cluster")
    for stranger in reversed(strangers):
        replaced = not stranger.member or any(v.belongs for v in voters)  # of who all stop, none is taken for gone
        if replaced and stranger.node != leader and _spared(stranger, voters, leader):
            return Remove(stranger.node, "it has stopped" if stranger.member else "it is no member of the cluster")
    electorate = [v for v in voters if v.belongs]
    if len(electorate) > wanted:
        return _surplus(electorate, voters, leader, wanted)
    heard = [v for v in electorate if v.silent_for < REPLACE_S or v.node == leader]
    able = [s for s in nodes.values() if s.belongs and not s.voter and s.steady_for >= STEADY_S]
    able_learners = [s.node for s in sorted(able, key=lambda s: (not s.witness, s.node))]
    if len(heard) < wanted and able_learners:
        why = f"{len(electorate)} of {wanted} vote"
        if len(electorate) == wanted:
            silent = next(v for v in electorate if v not in heard)
            why = f"{silent.node} has been silent for {silent.silent_for:.0f} s"
        return Promote(able_learners[0], why)
    return None


def _surplus(electorate: list[Standing], voters: list[Standing], leader: str, wanted: int) -> Remove | None:
    def order(v: Standing) -> tuple[bool, bool, bool, str]:
        return v.silent_for >= REPLACE_S, not _present(v, leader), not v.witness, v.node

    for v in sorted(electorate, key=order, reverse=True):
        if v.node != leader and _spared(v, voters, leader):
            why = f"{len(electorate)} vote, {wanted} shall"
            return Remove(v.node, f"it has been silent for {v.silent_for:.0f} s" if v.silent_for >= REPLACE_S else why)
    return None


def _spared(gone: Standing, voters: Collection[Standing], leader: str) -> bool:
    """Would those who are left have a majority of themselves present?"""
    left = [v for v in voters if v.node != gone.node]
    return 2 * sum(_present(v, leader) for v in left) > len(left)


def _present(v: Standing, leader: str) -> bool:
    return v.node == leader or (v.connected and v.silent_for < PRESENT_S)
