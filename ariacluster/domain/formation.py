"""How fresh nodes become one cluster: whom to join, or whether to found. mDNS proposes, this decides, Raft records."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from .member import at


class Heard(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One node as its announcement tells. `cluster_id` is empty while it belongs to none. `address:port` is its API,
    `raft_port` is that of its consensus; 0: not told."""

    node_id: str
    node_name: str
    cluster_name: str
    cluster_id: str = ""
    address: str
    port: int
    raft_port: int = 0
    version: str = ""

    @property
    def door(self) -> str:
        """`host:port` of its API."""
        return at(self.address, self.port)

    @property
    def raft(self) -> str | None:
        """`host:port` of its consensus, if it was told."""
        return at(self.address, self.raft_port) if self.raft_port else None


class Applicant(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks to be let in."""

    node_id: str
    node_name: str
    cluster_name: str
    version: str


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a node take part: handed to who may join, kept on disk. `key` is the cluster key in hex, `peers` maps the
    members' node ids to the `host:port` of their consensus as last known: what a node needs to find the others again."""

    cluster_id: str
    cluster_name: str
    key: str
    peers: dict[str, str]

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
        first = min(h.cluster_id for h in doors)
        return Join(tuple(h for h in doors if h.cluster_id == first))
    if named and named[0].node_id < me:
        return Wait(named[0].node_name)
    return Found()
