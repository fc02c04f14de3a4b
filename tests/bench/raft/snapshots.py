"""What a snapshot of many rows, and feeding it to a node that joins, does to everything else.

Only the leader makes one, when it has applied enough; meanwhile a few commands flow through a follower, as they do in a
quiet hour. What is slowest of these is what somebody would have noticed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil

from .cluster import OURS, Cluster, Node, NodeError, System, cluster
from .load import Load, Measured
from .sizes import Sizes

COMPACT_ENTRIES = 6_000
"""The leader keeps 5,000 entries behind a snapshot: with fewer the joining node would be fed the log."""

SHORT_OF_IT = 700
LIMIT_S = 60.0
GENTLE = Load(name="gentle", window=2, seconds=0.5)
PUSH = Load(name="push", window=200, seconds=30.0, count=1000)
RSS_EVERY_S = 0.02


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Of one thing that happened. ms: the longest wait for the event loop and for the thread of raft (stock has only that
    one), and the slowest command meanwhile. MB: memory of the leader before it, and at most during it."""

    system: str
    rows: int
    what: str
    seconds: float
    size_mb: float
    loop_ms: float | None
    thread_ms: float
    command_ms: float
    elections: int
    rss_before_mb: float
    rss_peak_mb: float


async def pauses(system: System, rows: tuple[int, ...], sizes: Sizes, folder: Path) -> list[Pause]:
    measured: list[Pause] = []
    there = 0
    async with cluster(system, folder, sizes.voters, compact_entries=COMPACT_ENTRIES) as running:
        leader = await running.leader()
        for wanted in rows:
            await leader.ask("fill", within=LIMIT_S, first=there, rows=wanted - there)
            there = wanted
            await running.whole()
            steps = (_quiet, _ours_saves, _ours_joins) if system is OURS else (_quiet, _stock_saves, _stock_joins)
            measured += [await step(running, leader, there) for step in steps]
    return measured


class _Watch:
    """What goes on while something is measured."""

    slowest_ms = 0.0
    peak = 0


@asynccontextmanager
async def _watching(running: Cluster, leader: Node) -> AsyncIterator[_Watch]:
    """Commands flow, and the leader's memory is looked at."""
    door = next((running.nodes[name] for name in running.voters if name != leader.name), leader)
    watch, process = _Watch(), psutil.Process(leader.pid)
    ended = False

    async def flow() -> None:
        while not ended:
            told = msgspec.convert(await door.ask("load", **msgspec.to_builtins(GENTLE)), Measured)
            watch.slowest_ms = max(watch.slowest_ms, told.max_ms)

    async def weigh() -> None:
        while not ended:
            watch.peak = max(watch.peak, process.memory_info().rss)
            await asyncio.sleep(RSS_EVERY_S)

    await leader.ask("watch")
    async with asyncio.TaskGroup() as group:
        group.create_task(flow())
        group.create_task(weigh())
        try:
            yield watch
        finally:
            ended = True


async def _pause(
    running: Cluster, leader: Node, rows: int, what: str, happen: Callable[[], Awaitable[tuple[float, float]]]
) -> Pause:
    before = await leader.ask("status")
    rss = psutil.Process(leader.pid).memory_info().rss
    begun = time.monotonic()
    async with _watching(running, leader) as watch:
        seconds, size = await happen()
        seconds = seconds or time.monotonic() - begun
    told = await leader.ask("watched")
    after = await leader.ask("status")
    return Pause(
        system=running.system.name,
        rows=rows,
        what=what,
        seconds=seconds,
        size_mb=size / 1e6,
        loop_ms=told.get("loop_ms"),
        thread_ms=told["thread_ms"] if "thread_ms" in told else told["tick_ms"],
        command_ms=watch.slowest_ms,
        elections=after["term"] - before["term"],
        rss_before_mb=rss / 1e6,
        rss_peak_mb=watch.peak / 1e6,
    )


async def _quiet(running: Cluster, leader: Node, rows: int) -> Pause:
    """Nothing happens: what this machine and the load do by themselves."""

    async def nothing() -> tuple[float, float]:
        await asyncio.sleep(GENTLE.seconds)
        return 0.0, 0.0

    return await _pause(running, leader, rows, "nothing", nothing)


async def _ours_saves(running: Cluster, leader: Node, rows: int) -> Pause:
    applied = (await leader.ask("status"))["applied"]
    due = applied + (-applied) % COMPACT_ENTRIES  # near enough: its own entries are few
    for _ in range(max(due - applied - SHORT_OF_IT, 0) // PUSH.count):
        await leader.ask("load", **msgspec.to_builtins(PUSH))

    async def save() -> tuple[float, float]:
        written = await _once(lambda: _snapshot(leader), "the leader makes a snapshot")
        return written["seconds"], written["bytes"]

    return await _pause(running, leader, rows, "a snapshot is made", save)


async def _ours_joins(running: Cluster, leader: Node, rows: int) -> Pause:
    async def join() -> tuple[float, float]:
        node = await running.add_learner(watched=True)
        opened = time.monotonic()
        await _once(lambda: _has(node, rows), "the joining node has all rows")
        took = time.monotonic() - opened
        written = (await node.ask("watched"))["snapshot"]
        if written is None:
            raise NodeError("the joining node was fed the log, not a snapshot")
        await node.ask("unwatch")
        return took, written["bytes"]

    return await _pause(running, leader, rows, "a node joins", join)


async def _stock_saves(running: Cluster, leader: Node, rows: int) -> Pause:
    async def save() -> tuple[float, float]:
        written = await leader.ask("compact", within=LIMIT_S)
        return written["seconds"], written["bytes"]

    return await _pause(running, leader, rows, "a snapshot is made", save)


async def _stock_joins(running: Cluster, leader: Node, rows: int) -> Pause:
    """The last voter, with its disk wiped: the library knows no other way to join that gets a snapshot."""
    node = next(running.nodes[name] for name in reversed(running.voters) if name != leader.name)

    async def join() -> tuple[float, float]:
        await node.kill()
        await running.restart(node, wiped=True)
        opened = time.monotonic()
        await _once(lambda: _has(node, rows), "the joining node has all rows")
        return time.monotonic() - opened, 0.0

    return await _pause(running, leader, rows, "a node joins", join)


async def _snapshot(leader: Node) -> Any:
    return (await leader.ask("watched"))["snapshot"]


async def _has(node: Node, rows: int) -> bool:
    return bool((await node.ask("status"))["rows"] >= rows)


async def _once(ask: Callable[[], Awaitable[Any]], what: str) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (answer := await ask()):
        if time.monotonic() > deadline:
            raise NodeError(f"not within {LIMIT_S:.0f} s: {what}")
        await asyncio.sleep(0.01)
    return answer
