"""Commits a second and their latency, through the leader and through a follower."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from .cluster import BEST, OURS, STOCK, UNSYNCED, Cluster, Node, System, cluster
from .load import Load, Measured
from .sizes import Sizes

WARM = Load(name="warm-up", window=32, seconds=0.2)


class Commits(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one cluster."""

    system: str
    nodes: int
    learners: int
    via: str
    load: str
    per_second: float
    measured: Measured


def plan(sizes: Sizes) -> Iterator[tuple[System, int]]:
    """What is measured: neighbours in time are compared, so the systems take turns."""
    for nodes in sorted({*sizes.nodes, *sizes.unsynced_nodes, *sizes.stock_nodes}):
        for system, wanted in (
            (OURS, sizes.nodes),
            (BEST, sizes.stock_nodes),
            (UNSYNCED, sizes.unsynced_nodes),
            (STOCK, sizes.stock_nodes),
        ):
            if nodes in wanted:
                yield system, nodes


async def commits(system: System, nodes: int, sizes: Sizes, folder: Path) -> list[Commits]:
    async with cluster(system, folder, nodes) as running:
        leader = await running.leader()
        doors = [("leader", leader)]
        if nodes > 1:
            doors.append(("follower", next(n for n in running.nodes.values() if n is not leader)))
        return [
            await _row(running, via, door, load, warm=load is sizes.loads()[0])
            for via, door in doors
            for load in sizes.loads()
        ]


async def learners(system: System, count: int, sizes: Sizes, folder: Path) -> list[Commits]:
    """The same with `count` nodes that do not vote, 200 in flight."""
    load = sizes.loads()[2]
    async with cluster(system, folder, sizes.voters, learners=count) as running:
        leader = await running.leader()
        learner = next(node for node in running.nodes.values() if node.name not in running.voters)
        return [
            await _row(running, "leader", leader, load, warm=True),
            await _row(running, "learner", learner, load, warm=True),
        ]


async def _row(running: Cluster, via: str, door: Node, load: Load, *, warm: bool) -> Commits:
    if warm:
        await door.ask("load", **msgspec.to_builtins(WARM))
    told = msgspec.convert(await door.ask("load", **msgspec.to_builtins(load)), Measured)
    return Commits(
        system=running.system.name,
        nodes=len(running.voters),
        learners=len(running.nodes) - len(running.voters),
        via=via,
        load=load.name,
        per_second=told.per_second,
        measured=told,
    )
