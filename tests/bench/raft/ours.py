"""A node: the adapter as the program runs it, with a table of tasks behind it that counts what else is committed."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import structlog

from ariacluster.domain import snapshot
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.table import TaskTable
from ariacluster.wire import codec
from ariacluster_node.adapters.raft import PySyncObjConsensus, thread
from ariacluster_node.adapters.raft.store.disk import Data, Disk, File
from tests.bench.raft.load import Load, measured, task
from tests.bench.raft.pipe import Answer, NodeEnd, Question

FILL = b"fill "
FILL_ROWS = 100
"""Rows of one command: one that kept the loop long would spoil what is measured after it."""

BEAT_S = 0.001
TIMEOUT_S = 10.0


class Pulse:
    """How long a loop let others wait at most, s; what is later than one beat counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._beats = False
        self.longest = 0.0

    def start(self) -> None:
        """On the loop. Begin anew."""
        self.longest, self._last = 0.0, time.monotonic()
        if not self._beats:
            self._beats = True
            self._loop.call_later(BEAT_S, self._beat)

    def stop(self) -> None:
        self._beats = False

    def _beat(self) -> None:
        present = time.monotonic()
        self.longest = max(self.longest, present - self._last - BEAT_S)
        self._last = present
        if self._beats:
            self._loop.call_later(BEAT_S, self._beat)


class Table:
    """Fills `StateMachine` with the product's own table and encoding."""

    def __init__(self) -> None:
        self.table = TaskTable()
        self.counted = 0
        self.frozen_at = 0.0
        self.froze_s = 0.0

    def apply(self, index: int, payload: bytes) -> None:
        if payload.startswith(FILL):
            first = int(payload[len(FILL) :])
            for number in range(first, first + FILL_ROWS):
                self.table.load(task(number))
        else:
            self.counted += 1

    def admits(self, payload: bytes) -> bool:
        return True

    def snapshot(self) -> Callable[[], Iterable[bytes]]:
        self.frozen_at = time.monotonic()
        taken = snapshot.take(self.table)
        self.froze_s = time.monotonic() - self.frozen_at
        return lambda: codec.encode_snapshot(taken)

    def load(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        return partial(self._put, codec.decode_snapshot(chunks))

    def _put(self, table: TaskTable) -> None:
        self.table = table


class Unsynced:
    """A file that is never synced."""

    def __init__(self, file: File) -> None:
        self.write: Callable[[Data], None] = file.write
        self.close = file.close

    def sync(self) -> None:
        """Nothing."""


class Node:
    """What the driver can ask: the methods without underscore."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._machine = Table()
        self._pulse = Pulse(self._loop)
        self._thread_pulse: Pulse | None = None
        self._thread_loop: asyncio.AbstractEventLoop | None = None
        self._written: dict[str, float] | None = None
        self._watches = False

    async def open(
        self,
        *,
        name: str,
        port: int,
        addresses: Mapping[str, str],
        folder: str,
        found: bool,
        synced: bool,
        compact_entries: int,
        watched: bool,
    ) -> None:
        node, self._watches = self, watched

        class WatchedDisk(Disk):
            """Made in the raft thread, hence also the way to its loop."""

            def __init__(self, folder: Path) -> None:
                super().__init__(folder)
                node._found_thread(asyncio.get_running_loop())

            def create(self, name: str) -> File:
                file = super().create(name)
                return file if synced else Unsynced(file)

            def append(self, name: str) -> File:
                file = super().append(name)
                return file if synced else Unsynced(file)

            def sync_folder(self) -> None:
                if synced:
                    super().sync_folder()

            def rename(self, old: str, new: str) -> None:
                super().rename(old, new)
                node._renamed(new, self.size(new))

        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
        mock.patch.object(thread, "Disk", WatchedDisk).start()
        self._consensus = PySyncObjConsensus(
            self._machine,
            me=name,
            listen=listening,
            cluster_id="bench",
            key=b"b" * 32,
            addresses=addresses,
            found=found,
            folder=Path(folder),
            compact_entries=compact_entries,
            on_failure=_end,
        )
        if watched:
            self._pulse.start()
        await self._consensus.start()

    async def status(self) -> dict[str, Any]:
        status = self._consensus.status()
        followers = {f.node: f.lag for f in self._consensus.followers() if f.connected}
        return {
            "leader": status.leader,
            "term": status.term,
            "ready": status.ready,
            "applied": status.applied,
            "voters": status.voters,
            "followers": followers,
            "rows": len(self._machine.table.tasks),
        }

    async def add_voter(self, *, node: str) -> None:
        await self._consensus.add_voter(node, timeout=TIMEOUT_S)

    async def load(self, **args: Any) -> Any:
        load = msgspec.convert(args, Load)
        payloads, latencies = load.payloads(), list[float]()
        numbers = iter(range(load.count))
        failed = 0
        begun = time.perf_counter()
        ends = begun + load.seconds

        async def propose_on() -> None:
            nonlocal failed
            for number in numbers:
                asked = time.perf_counter()
                if asked >= ends:
                    return
                try:
                    await self._consensus.propose(payloads[number % len(payloads)], timeout=TIMEOUT_S)
                except AriaClusterError:
                    failed += 1
                    await asyncio.sleep(0.01)
                else:
                    latencies.append(time.perf_counter() - asked)

        async with asyncio.TaskGroup() as group:
            for _ in range(load.window):
                group.create_task(propose_on())
        return measured(latencies, time.perf_counter() - begun, load, failed)

    async def commit_one(self) -> None:
        """Return once one command was committed, however often it has to be proposed."""
        while True:
            try:
                return await self._consensus.propose(b"one", timeout=TIMEOUT_S)
            except AriaClusterError:
                await asyncio.sleep(0.005)

    async def fill(self, *, first: int, rows: int) -> None:
        for number in range(first, first + rows, FILL_ROWS):
            await self._consensus.propose(FILL + str(number).encode(), timeout=TIMEOUT_S)

    async def watch(self) -> None:
        """From now on, how long do the loops let wait, and is there a snapshot?"""
        self._written = None
        self._watches = True
        self._pulse.start()
        if self._thread_loop is not None and self._thread_pulse is not None:
            self._thread_loop.call_soon_threadsafe(self._thread_pulse.start)

    async def watched(self) -> dict[str, Any]:
        """What was seen since, ms; `snapshot`: the last one that got its name."""
        thread_s = self._thread_pulse.longest if self._thread_pulse is not None else 0.0
        return {"loop_ms": self._pulse.longest * 1000, "thread_ms": thread_s * 1000, "snapshot": self._written}

    async def unwatch(self) -> None:
        self._watches = False
        self._pulse.stop()
        if self._thread_pulse is not None:
            self._thread_pulse.stop()

    def _found_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        self._thread_loop, self._thread_pulse = loop, Pulse(loop)
        if self._watches:
            self._thread_pulse.start()

    def _renamed(self, name: str, size: int) -> None:
        """In the thread that writes, or in that of raft if it was received."""
        if name.startswith("snapshot"):
            machine = self._machine
            self._written = {
                "bytes": size,
                "seconds": time.monotonic() - machine.frozen_at if machine.frozen_at else 0.0,
                "freeze_ms": machine.froze_s * 1000,
            }


def _end(reason: str) -> None:
    sys.stderr.write(f"raft has ended: {reason}\n")
    sys.stderr.flush()
    os._exit(1)


async def main() -> None:
    """Answer until the driver is gone."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    end, node, loop = NodeEnd(), Node(), asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def answer(question: Question) -> None:
        try:
            value = await getattr(node, question.what)(**question.args)
        except Exception as error:
            end.answer(Answer(question.number, error=f"{type(error).__name__}: {error}"))
        else:
            end.answer(Answer(question.number, value))

    def begin(question: Question) -> None:
        running = asyncio.create_task(answer(question))
        tasks.add(running)
        running.add_done_callback(tasks.discard)

    def read() -> None:
        for question in end.questions():
            loop.call_soon_threadsafe(begin, question)

    threading.Thread(target=read, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the driver ends it
        asyncio.run(main())
