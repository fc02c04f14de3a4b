"""How fresh nodes become one cluster: whom to join, or whether to found. mDNS proposes, this decides, Raft records."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .member import at


class Heard(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One node as its announcement tells. `cluster_id` is empty while it belongs to none. `address:port` is its API,
    `raft_port` is that of its consensus; 0: not told.

    Of its cluster: `members`, how many there are; `born`, when it was founded (ms since the epoch; 0: not told); `lone`,
    it has only ever been that node; `was`, the id of the cluster that it was recovered from. `invited`: it belongs to none
    yet, and founds none, for it was told whom to join. `boot` tells two runs of one node apart; it is not announced.
    """

    node_id: str
    node_name: str
    cluster_name: str
    cluster_id: str = ""
    address: str
    port: int
    raft_port: int = 0
    version: str = ""
    members: int = 0
    born: int = 0
    lone: bool = False
    was: str = ""
    invited: bool = False
    boot: str = ""

    @property
    def door(self) -> str:
        """`host:port` of its API."""
        return at(self.address, self.port)

    @property
    def raft(self) -> str | None:
        """`host:port` of its consensus, if it was told."""
        return at(self.address, self.raft_port) if self.raft_port else None


class Applicant(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks to be let in. `leaves`: the cluster that it belongs to and brings along; empty for a fresh node; `stranded`:
    that one lets it no longer say what it brings, so it comes only where that cluster is known to have gone. `speaks`: the
    newest commands that it understands (`commands.LANGUAGE`)."""

    node_id: str
    node_name: str
    cluster_name: str
    version: str
    leaves: str = ""
    stranded: bool = False
    speaks: int = 1


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a node take part: handed to who may join, kept on disk. `key` is the cluster key in hex, `peers` maps the
    members' node ids to the `host:port` of their consensus as last known, `doors` to that of their APIs: what a node needs
    to find the others again.

    `born`, `lone` and `was`: see `Heard`; `lone` ends, on the disk, before the key is given to anybody else.
    """

    cluster_id: str
    cluster_name: str
    key: str
    peers: dict[str, str]
    doors: dict[str, str] = {}
    born: int = 0
    lone: bool = False
    was: str = ""

    def __post_init__(self) -> None:
        if not self.cluster_id or len(self.key) < 2 or not bytes.fromhex(self.key):
            raise ValueError("cluster_id and key must be there")

    def __repr__(self) -> str:  # without the key: this must never land in a log
        return f"Membership(cluster_id={self.cluster_id!r}, cluster_name={self.cluster_name!r}, peers={self.peers!r})"


class Join(NamedTuple):
    """Ask these, in this order, to be let in."""

    doors: tuple[Heard, ...]


class Found(NamedTuple):
    """Make a new cluster."""


class Wait(NamedTuple):
    """Somebody else is to found; `whom` is who."""

    whom: str


def decide(me: str, cluster_name: str, heard: Iterable[Heard]) -> Join | Found | Wait:
    """What a node without a cluster does once its listening window is over."""
    named = sorted((h for h in heard if h.cluster_name == cluster_name and h.node_id != me), key=lambda h: h.node_id)
    if doors := tuple(h for h in named if h.cluster_id):
        first = min(doors, key=_rank).cluster_id
        return Join(tuple(h for h in doors if h.cluster_id == first))
    founders = [h for h in named if not h.invited]
    if founders and founders[0].node_id < me:
        return Wait(founders[0].node_name)
    return Found()


def yields(mine: Heard, heard: Iterable[Heard]) -> Join | None:
    """Which cluster of its name a lone one dissolves into, if any: the first by members, age and id, if that is not itself.

    All who hear the same come to the same, so of two lone ones exactly one goes.
    """
    others = [h for h in heard if h.cluster_name == mine.cluster_name and h.cluster_id not in ("", mine.cluster_id)]
    first = min((*others, mine), key=_rank).cluster_id if mine.lone else mine.cluster_id
    return None if first == mine.cluster_id else Join(_doors(others, first))


def succeeded(mine: Heard, heard: Iterable[Heard]) -> Join | None:
    """The cluster that was recovered from this one, if it is heard: whoever still belongs to this one belongs there."""
    heirs = [h for h in heard if h.was == mine.cluster_id and h.cluster_id not in ("", mine.cluster_id)]
    return Join(_doors(heirs, min(heirs, key=_rank).cluster_id)) if heirs else None


def others(mine: Heard, heard: Iterable[Heard]) -> list[tuple[Heard, ...]]:
    """The other clusters of the name, each as its nodes that are heard; who ranks first comes first. Not what was recovered
    from this one, nor what this one was recovered from: those find together by themselves."""
    around = list(heard)
    kin = {"", mine.cluster_id, mine.was, *(h.cluster_id for h in around if h.was == mine.cluster_id)}
    named = [h for h in around if h.cluster_name == mine.cluster_name and h.cluster_id not in kin]
    clusters = {h.cluster_id: _doors(named, h.cluster_id) for h in sorted(named, key=_rank)}
    return list(clusters.values())


def _doors(heard: Iterable[Heard], cluster_id: str) -> tuple[Heard, ...]:
    return tuple(sorted((h for h in heard if h.cluster_id == cluster_id), key=lambda h: h.node_id))


def _rank(heard: Heard) -> tuple[int, int, str]:
    """Of clusters: more members first, then the older, then the smaller id."""
    return -heard.members, heard.born, heard.cluster_id
