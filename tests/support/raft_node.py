"""A program: one node of raft with the simplest table behind it, asked over a line on loopback; and how to start and ask it.

It writes its history to a file, each line at once, so that it outlives `kill -9`: what it applied, which snapshots were put
in place, when it held the lease. `audit` names another file for what Python's audit hooks tell of code that is executed.
"""

import asyncio
import base64
import contextlib
import importlib
import logging
import os
import pickle
import signal
import socket
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pysyncobj.pickle
import structlog

from ariacluster.domain.errors import AriaClusterError
from ariacluster_node.adapters.raft import PySyncObjConsensus, thread
from ariacluster_node.adapters.raft.core import Core

ROWS = 256
"""Rows in one chunk of a snapshot."""

LEASE_EVERY_S = 0.02
SETTLED_S = 0.05
"""After so long the loop has heard what the raft thread knew."""

MAX_LINE_BYTES = 64 * 1024 * 1024

Row = tuple[int, str]
"""The index at which a command took effect, and its id."""

EXECUTING = (
    "compile",
    "ctypes.dlopen",
    "exec",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pickle.find_class",
    "pty.spawn",
    "subprocess.Popen",
)

"""Audit events of Python that tell of code which is executed, or made to be."""

LATE = ("concurrent.futures.thread", "cryptography.hazmat.backends.openssl.backend", "encodings.idna")
"""Imported when they are first needed, which is an execution too: better before anybody watches."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Of one node; everything but `control` is as `PySyncObjConsensus` has it."""

    me: str
    port: int
    control: int
    """The loopback port on which the node is asked."""
    folder: str
    addresses: dict[str, str] = {}
    found: bool = False
    cluster_id: str = "c" * 16
    key: bytes = b"k" * 32
    compact_entries: int = 400
    keep_entries: int | None = None
    audit: str | None = None

    def command(self) -> list[str]:
        """What to run."""
        return [sys.executable, "-P", __file__, msgspec.json.encode(self).decode()]

    @property
    def history(self) -> Path:
        return Path(self.folder, "history")


class Refused(Exception):
    """The node answered with an error; `name` is the class of it."""

    def __init__(self, name: str, sentence: str) -> None:
        super().__init__(f"{name}: {sentence}")
        self.name = name


class Unheard(Exception):
    """No answer: the node is gone, or paused, or too slow."""


class Line:
    """Asks one node, one question at a time."""

    def __init__(self, control: int) -> None:
        self._control = control
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, what: str, *args: Any, within: float = 10.0) -> Any:
        """Raises `Refused`, or `Unheard` after `within` seconds at the latest; what was asked may take effect then."""
        try:
            async with asyncio.timeout(within):
                if self._ends is None:
                    self._ends = await asyncio.open_connection("127.0.0.1", self._control, limit=MAX_LINE_BYTES)
                reader, writer = self._ends
                writer.write(msgspec.json.encode((what, args)) + b"\n")
                answer = await reader.readline()
            if not answer.endswith(b"\n"):
                raise ConnectionResetError("the line was cut")
        except (OSError, TimeoutError) as error:
            self.close()
            raise Unheard(f"{what}: {error!r}") from None
        except BaseException:
            self.close()  # else the next question would get this answer
            raise
        name, value = msgspec.json.decode(answer)
        if name is not None:
            raise Refused(name, value)
        return value

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].transport.abort()
            self._ends = None


class Table:
    """Commands in the order in which they took effect. A command is `worker.number`; said again, it has no effect.

    `highest`: of each worker, the last number that took effect.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.rows: list[Row] = []
        self.highest: dict[str, int] = {}
        self._ids: set[str] = set()
        self._last = 0
        self._crc = 0
        self._tell = tell

    def apply(self, index: int, payload: bytes) -> None:
        said = payload.decode() if payload.isascii() else payload.hex()
        self._last = index
        if said in self._ids:
            self._tell(f"again {index} {said}")
            return
        self._tell(f"applied {index} {said}")
        self._add((index, said))

    def admits(self, payload: bytes) -> bool:
        return True

    def snapshot(self) -> Callable[[], Iterable[bytes]]:
        last, rows = self._last, self.rows.copy()

        def chunks() -> Iterator[bytes]:
            yield msgspec.msgpack.encode((last, len(rows)))
            for start in range(0, len(rows), ROWS):
                yield msgspec.msgpack.encode(rows[start : start + ROWS])

        return chunks

    def load(self, chunks: Iterable[bytes]) -> Callable[[], None]:
        loaded = Table(self._tell)
        try:
            head, *rest = chunks
            last, count = msgspec.msgpack.decode(head, type=tuple[int, int])
            for chunk in rest:
                for row in msgspec.msgpack.decode(chunk, type=list[Row]):
                    loaded._add(row)
        except msgspec.DecodeError as error:
            raise ValueError(f"The snapshot holds what is no table ({error}).") from None
        if len(loaded.rows) != count:
            raise ValueError("The snapshot is not whole.")
        loaded._last = last

        def put() -> None:
            vars(self).update(vars(loaded))
            self._tell(f"loaded {last} {count} {self._crc}")

        return put

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        self._ids.add(row[1])
        self._crc = chained(self._crc, row)
        worker, _, number = row[1].partition(".")
        if number.isdigit():
            self.highest[worker] = max(self.highest.get(worker, 0), int(number))


def chained(crc: int, row: Row) -> int:
    """Over a table, row by row: what a `loaded` line in the history has at its end."""
    return zlib.crc32(b"%d %s\n" % (row[0], row[1].encode()), crc)


def writer_to(path: Path) -> Callable[[str], None]:
    """Appends a line, with one call of the system: it is there whatever happens next to this process."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(text: str) -> None:
        os.write(file, text.encode() + b"\n")

    return write


class Node:
    """What answers the questions."""

    def __init__(self, consensus: PySyncObjConsensus, table: Table) -> None:
        self._consensus = consensus
        self._table = table

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):  # the latter when this process ends
            async for line in reader:
                what, args = msgspec.json.decode(line)
                answer: tuple[str | None, Any]
                try:
                    answer = None, await getattr(self, f"answer_{what}")(*args)
                except (AriaClusterError, pickle.UnpicklingError) as error:
                    answer = type(error).__name__, str(error)
                writer.write(msgspec.json.encode(answer) + b"\n")
        writer.close()

    async def answer_propose(self, command: str, timeout: float) -> None:
        await self._consensus.propose(command.encode(), timeout=timeout)

    async def answer_read(self, timeout: float) -> dict[str, int]:
        await self._consensus.barrier(timeout=timeout)
        return self._table.highest

    async def answer_status(self) -> dict[str, Any]:
        status = self._consensus.status()
        return {**msgspec.structs.asdict(status), "is_leader": status.is_leader, "pid": os.getpid()}

    async def answer_change(self, call: str, node: str, timeout: float) -> None:
        await getattr(self._consensus, call)(node, timeout=timeout)

    async def answer_transfer(self, timeout: float) -> None:
        await self._consensus.transfer(timeout=timeout)

    async def answer_table(self) -> list[Row]:
        return self._table.rows

    async def answer_unpickle(self, data: str, library: bool) -> None:
        """What a node must never do: by Python itself, or by the library that raft is made of."""
        try:
            (pysyncobj.pickle if library else pickle).loads(base64.b64decode(data))
        except Exception as error:
            raise pickle.UnpicklingError(repr(error)) from None


async def note_leases(consensus: PySyncObjConsensus, tell: Callable[[str], None]) -> None:
    """`lease FROM TO TERM`: in that term it was held at some moment between the two, on the clock of all processes."""
    while True:
        before, start = consensus.status(), time.monotonic()
        held, end = consensus.holds_lease(), time.monotonic()
        if held:
            await asyncio.sleep(SETTLED_S)
            after = consensus.status()
            if before.is_leader and after.is_leader and before.term == after.term:
                tell(f"lease {start:.6f} {end:.6f} {after.term}")
        await asyncio.sleep(LEASE_EVERY_S)


def watch(path: Path) -> None:
    """Note every execution of anything from here on, in all threads."""
    for name in LATE:
        importlib.import_module(name)
    tell = writer_to(path)
    tell("watching")

    def hear(event: str, args: tuple[Any, ...]) -> None:
        # A traceback that is written to the log has its lines parsed; to run them would take an `exec`.
        if event in EXECUTING and (event != "compile" or args[1] != "<unknown>"):
            tell(f"{event} {args!r:.300}")

    sys.addaudithook(hear)


@contextlib.asynccontextmanager
async def running(setup: Setup, ended: "asyncio.Future[str]") -> AsyncIterator[None]:
    """`ended` gets the reason when raft gives up."""
    folder = Path(setup.folder)
    folder.mkdir(parents=True, exist_ok=True)
    tell = writer_to(setup.history)
    table = Table(tell)
    consensus = PySyncObjConsensus(
        table,
        me=setup.me,
        listen=socket.create_server(("127.0.0.1", setup.port)),
        cluster_id=setup.cluster_id,
        key=setup.key,
        addresses=setup.addresses,
        found=setup.found,
        folder=folder / "raft",
        compact_entries=setup.compact_entries,
        on_failure=lambda reason: None if ended.done() else ended.set_result(reason),
    )
    if setup.audit:
        watch(Path(setup.audit))
    tell(f"begun {os.getpid()}")
    await consensus.start()
    server = await asyncio.start_server(Node(consensus, table).serve, "127.0.0.1", setup.control, limit=MAX_LINE_BYTES)
    leases = asyncio.create_task(note_leases(consensus, tell))
    try:
        yield
    finally:
        leases.cancel()
        server.close()
        await consensus.stop()
        tell("stopped")


async def main(setup: Setup) -> str | None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set_result, "")
    if setup.keep_entries is not None:  # fewer stay behind a snapshot, so that who was away needs one
        mock.patch.object(thread, "Core", partial(Core, keep_entries=setup.keep_entries)).start()
    try:
        async with running(setup, ended):
            return await ended or None
    except AriaClusterError as error:
        return str(error)


if __name__ == "__main__":
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f", utc=False),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    sys.exit(asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Setup))))
