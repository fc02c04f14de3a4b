"""The thread in which one node's raft lives, with an event loop of its own: a busy API delays no heartbeat.

It owns disk, log, links and core. In come calls (`do`), out go calls for the other loop (`Inbox`), once per turn and in order.
Anything unexpected in here ends the node: a stopped member is what raft is made for, one that goes on wrongly is not.
"""

import asyncio
import collections
import concurrent.futures
import os
import random
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog

from ariacluster.domain.errors import StartFailed

from .core import Core
from .host import Outcome, Status, Timing
from .inbox import Call, Inbox
from .library import now
from .store.disk import Disk
from .store.snapshots import SnapshotMeta, Snapshots
from .store.wal import Wal
from .store.write import Write
from .wire.links import Links
from .wire.sockets import Sockets

log = structlog.get_logger()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to run one. `secret`: what all members derive from the cluster's key. `found`: begin a new cluster."""

    me: str
    listen: socket.socket
    secret: bytes
    addresses: Mapping[str, str]
    found: bool
    folder: Path
    compact_entries: int
    timing: Timing = Timing()


class Listener(Protocol):
    """The other side, on the event loop. May answer a future, which holds back what comes after it."""

    def on_entry(self, index: int, payload: bytes) -> None: ...
    def on_settled(self, token: Any, outcome: Outcome, said: Any) -> None: ...
    def on_restore(self, chunks: Any, index: int) -> "asyncio.Future[None]": ...
    def on_freeze(self, meta: SnapshotMeta) -> None: ...
    def on_status(self, status: Status) -> None: ...
    def on_failure(self, error: BaseException) -> None: ...


def _nothing() -> None:
    """Only a turn is wanted."""


class RaftThread:
    """Fills `core.Host`."""

    def __init__(self, plan: Plan, inbox: Inbox, listener: Listener, admits: Callable[[bytes], bool]) -> None:
        self._plan = plan
        self.admits = admits
        self._inbox = inbox
        self._listener = listener
        self._told: list[Call] = []
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._armed = False
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name="raft", daemon=True)
        self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="raft-disk")

    # For the other loop.

    async def start(self) -> None:
        """Open the log and begin to take part. `StartFailed`, or what the disk raises. Cancelled, it leaves nothing behind."""
        self._thread.start()
        started = asyncio.wrap_future(self._started)
        try:
            await asyncio.shield(started)
        except asyncio.CancelledError:
            await asyncio.wait({started})  # it cannot be told anything before
            if started.exception() is None:
                await self.stop()
            raise

    def do(self, call: Callable[[], None]) -> None:
        """From any thread: run `call` in this one, then take a turn. Nothing happens once it has ended."""
        self._calls.append(call)
        if not self._armed:
            self._armed = True
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                return

    def submit(self, payload: bytes, token: Any) -> None:
        self.do(lambda: self.core.submit(payload, token))

    def change(self, voters: Collection[str], token: Any) -> None:
        self.do(lambda: self.core.change(voters, token))

    def read(self, token: Any) -> None:
        self.do(lambda: self.core.read(token))

    def transfer(self, to: str | None = None) -> None:
        self.do(lambda: self.core.transfer(to))

    def learn(self, node: str, address: str) -> None:
        self.do(lambda: self.links.learn(node, address))

    def write_snapshot(self, meta: SnapshotMeta, encode: Callable[[], Iterable[bytes]]) -> None:
        """In a worker thread: what was frozen to disk, then tell the core. Gives up when this thread ends."""
        try:
            for _ in self.snapshots.write(meta, encode()):
                if self._ended.done():
                    return
        except Exception as error:
            log.warning("no snapshot made; the log stays long", index=meta.index, error=repr(error))
            self.do(lambda: self.core.snapshot_failed(meta))
        else:
            log.info("snapshot made", index=meta.index)
            self.do(lambda: self.core.snapshot_written(meta))

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        self.do(self._end)
        await asyncio.to_thread(self._thread.join)

    # In the thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                self._inbox.post([partial(self._listener.on_failure, error)])

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.set_exception_handler(self._unhandled)
        plan = self._plan
        try:
            plan.folder.mkdir(parents=True, exist_ok=True)
            disk = Disk(plan.folder)
            self.snapshots = Snapshots(disk)
            latest = self.snapshots.latest
            base = (latest.index, latest.term) if latest else None
            wal = Wal(disk, base=base, entropy=os.urandom)
        except OSError as error:
            raise StartFailed(
                f"The log in {plan.folder} cannot be used: {error.strerror or error}. Mend that folder, or choose another "
                "with --data."
            ) from error
        sockets = Sockets(self._arm)
        self.links = Links(
            plan.me,
            secret=plan.secret,
            port=plan.listen.getsockname()[1],
            wire=sockets,
            clock=now,
            entropy=os.urandom,
            on_connected=lambda peer: self.core.connected(peer),
            on_disconnected=lambda peer: self.core.disconnected(peer),
            on_messages=lambda peer, messages: self.core.receive(peer, messages),
        )
        sockets.attach(self.links)
        for node, address in plan.addresses.items():
            self.links.learn(node, address)
        self.core = Core(
            plan.me,
            found=(plan.me,) if plan.found else (),
            wal=wal,
            snapshots=self.snapshots,
            links=self.links,
            host=self,
            dice=random.SystemRandom().random,
            timing=plan.timing,
            compact_entries=plan.compact_entries,
            keep_entries=plan.compact_entries // 4,
        )
        await sockets.start(plan.listen)
        try:
            self._beat()
            self._started.set_result(None)
            await self._ended
        finally:
            self._timer.cancel()
            self._inbox.post(self._told)
            self.links.close()
            await sockets.close()
            self.core.close()
            self._writer.shutdown()

    def _beat(self) -> None:
        """A turn now, and another when one is due. Nothing but a timer: it is much of what an idle node does."""
        self._turn()
        self._timer = self._loop.call_later(self.core.pause(), self._beat)

    def _arm(self) -> None:
        """There is work: take a turn after what else has arrived already."""
        if not self._armed:
            self._armed = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._armed = False  # before the first look at the queue: who calls after the last look arms it again
        if self._ended.done():
            return
        try:
            while self._calls:
                self._calls.popleft()()
            self.links.tick()
            again = self.core.tick()
        except Exception as error:
            self._fail(error)
            return
        if self._told:
            told, self._told = self._told, []
            self._inbox.post(told)
        if again:
            self._arm()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._fail(context.get("exception") or RuntimeError(context["message"]))

    def _fail(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # What the core tells.

    def write(self, write: Write) -> None:
        self._writer.submit(self._write, write)

    def _write(self, write: Write) -> None:
        """In the writer's thread: a disk that is busy with downloads may take a second for it."""
        try:
            write.run()
        except BaseException as error:
            self.do(partial(self._fail, error))
        else:
            self.do(_nothing)

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> None:
        self._told.extend(partial(self._listener.on_entry, index, payload) for index, payload in entries)

    def settle(self, token: Any, outcome: Outcome, said: Any) -> None:
        self._told.append(partial(self._listener.on_settled, token, outcome, said))

    def restore(self, meta: SnapshotMeta) -> None:
        self._told.append(partial(self._listener.on_restore, self.snapshots.chunks(), meta.index))

    def freeze(self, meta: SnapshotMeta) -> None:
        self._told.append(partial(self._listener.on_freeze, meta))

    def changed(self, status: Status) -> None:
        self._told.append(partial(self._listener.on_status, status))
