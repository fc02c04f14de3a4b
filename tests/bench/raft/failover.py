"""From `kill -9` of the leader until a command through another node is committed by the next one."""

import time
from pathlib import Path

import msgspec

from .cluster import System, cluster
from .load import quantile
from .sizes import Sizes


class Failover(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds."""

    system: str
    nodes: int
    kills: int
    min_s: float
    p50_s: float
    p90_s: float
    max_s: float


async def failover(system: System, kills: int, sizes: Sizes, folder: Path) -> Failover:
    took: list[float] = []
    async with cluster(system, folder, sizes.voters) as running:
        for _ in range(kills):
            leader = await running.leader()
            other = next(running.nodes[name] for name in running.voters if name != leader.name)
            await other.ask("commit_one")
            killed_at = time.perf_counter()
            await leader.kill()
            await other.ask("commit_one")
            took.append(time.perf_counter() - killed_at)
            await running.restart(leader)
            await running.whole()
    return Failover(
        system=system.name,
        nodes=sizes.voters,
        kills=kills,
        min_s=min(took),
        p50_s=quantile(took, 0.5),
        p90_s=quantile(took, 0.9),
        max_s=max(took),
    )
