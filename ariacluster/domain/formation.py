"""How fresh nodes become one cluster: whom to join, or whether to found. mDNS proposes, this decides, Raft records."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec


class Heard(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One node as its announcement tells. `cluster_id` is empty while it belongs to none. `address:port` is its API."""

    node_id: str
    node_name: str
    cluster_name: str
    cluster_id: str = ""
    address: str
    port: int
    version: str = ""


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
