"""A node: pysyncobj as published, in a process that nothing of ours has touched."""

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from pysyncobj import FAIL_REASON, SyncObj, SyncObjConf, replicated

from tests.bench.raft.load import Load, Measured, measured, task
from tests.bench.raft.pipe import Answer, NodeEnd, Question

FILL_ROWS = 100
TIMEOUT_S = 10.0
AGAIN_S = 0.25
"""A forwarded command may never be heard of again: so long until another one is tried."""

TICK_S = 0.05
"""The library's default: a tick waits so long for messages, and that is no pause."""


class Counter(SyncObj):  # type: ignore[misc]  # the library has no types
    """Counts, and holds rows."""

    def __init__(self, me: str | None, others: list[str], conf: SyncObjConf) -> None:
        super().__init__(me, others, conf)
        # What is set after the library's own is what it takes to be the state.
        self.counted = 0
        self.rows: dict[int, Any] = {}

    @replicated  # type: ignore[untyped-decorator]
    def put(self, payload: bytes) -> None:
        self.counted += 1

    @replicated  # type: ignore[untyped-decorator]
    def fill(self, first: int) -> None:
        for number in range(first, first + FILL_ROWS):
            self.rows[number] = msgspec.to_builtins(task(number))


class Run:
    """One load: as many commands under way as it may have; the library calls back in its own thread."""

    def __init__(self, put: Callable[..., None], load: Load) -> None:
        self._put = put
        self._load = load
        self._payloads = load.payloads()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._open = 0
        self._done = threading.Event()
        self._latencies: list[float] = []
        self._failed = 0

    def measure(self) -> Measured:
        begun = time.perf_counter()
        self._ends = self._last = begun
        self._ends += self._load.seconds
        self._open = self._load.window
        for _ in range(self._load.window):
            self._next()
        self._done.wait(self._load.seconds + TIMEOUT_S)
        with self._lock:
            return measured(self._latencies[:], self._last - begun, self._load, self._failed + self._open)

    def _next(self) -> None:
        number, asked = next(self._numbers), time.perf_counter()
        if asked >= self._ends or number >= self._load.count:
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._done.set()
            return

        def answered(_: object, reason: int) -> None:
            present = time.perf_counter()
            with self._lock:
                if reason == FAIL_REASON.SUCCESS:
                    self._latencies.append(present - asked)
                    self._last = present
                else:
                    self._failed += 1
            self._next()

        self._put(self._payloads[number % len(self._payloads)], callback=answered)


class Node:
    """What the driver can ask: the methods without underscore."""

    def open(self, *, name: str, me: str | None, addresses: dict[str, str], folder: str, best: bool) -> None:
        self._name = name
        self._names = {address: node for node, address in addresses.items()}
        others = [address for address in addresses.values() if address != me]
        folder_path = Path(folder)
        folder_path.mkdir(parents=True, exist_ok=True)
        conf = SyncObjConf()
        if best and me is not None:
            conf.appendEntriesUseBatch = False
            conf.journalFile = str(folder_path / "journal")
            conf.fullDumpFile = str(folder_path / "dump")
        self._dump = folder_path / "dump"
        self._object = Counter(me, others, conf)
        self._longest = 0.0
        self._last_tick = time.monotonic()
        self._object.addOnTickCallback(self._ticked)

    def status(self) -> dict[str, Any]:
        told = self._object.getStatus()
        leader = told["leader"]
        return {
            "leader": self._names.get(leader.id) if leader is not None else None,
            "term": told["raft_term"],
            "ready": self._object.isReady(),
            "applied": told["last_applied"],
            "voters": sorted(self._names.values()),
            "followers": {
                name: max(told["commit_idx"] - told.get(f"match_idx_server_{address}", 0), 0)
                for address, name in self._names.items()
                if name != self._name and told.get(f"partner_node_status_server_{address}") == 2
            },
            "rows": len(self._object.rows),
        }

    def load(self, **args: Any) -> Measured:
        return Run(self._object.put, msgspec.convert(args, Load)).measure()

    def commit_one(self) -> None:
        """Return once one command was committed, however often it has to be proposed."""
        committed = threading.Event()
        while not committed.is_set():
            answered = threading.Event()

            def heard(_: object, reason: int, answered: threading.Event = answered) -> None:
                if reason == FAIL_REASON.SUCCESS:
                    committed.set()
                answered.set()

            self._object.put(b"one", callback=heard)
            answered.wait(AGAIN_S)
            if not committed.is_set():
                time.sleep(0.005)

    def fill(self, *, first: int, rows: int) -> None:
        for number in range(first, first + rows, FILL_ROWS):
            answered = threading.Event()
            self._object.fill(number, callback=lambda *_, answered=answered: answered.set())
            if not answered.wait(TIMEOUT_S):
                raise TimeoutError(f"row {number} was not committed")

    def compact(self) -> dict[str, float]:
        """Make a snapshot; answers when it lies there."""
        before = self._dump.stat().st_mtime_ns if self._dump.exists() else 0
        begun = time.monotonic()
        self._object.forceLogCompaction()
        while not self._dump.exists() or self._dump.stat().st_mtime_ns == before:
            if time.monotonic() > begun + 60:
                raise TimeoutError("no snapshot was made")
            time.sleep(0.01)
        return {"seconds": time.monotonic() - begun, "bytes": self._dump.stat().st_size}

    def watch(self) -> None:
        self._longest = 0.0

    def watched(self) -> dict[str, float]:
        return {"tick_ms": max(self._longest - TICK_S, 0.0) * 1000}

    def _ticked(self) -> None:
        present = time.monotonic()
        self._longest = max(self._longest, present - self._last_tick)
        self._last_tick = present


def main() -> None:
    """Answer until the driver is gone."""
    end, node = NodeEnd(), Node()
    if any(name.startswith("ariacluster_node") for name in sys.modules):
        raise ImportError("the adapter replaces parts of the library: this would not be stock")

    def answer(question: Question) -> None:
        try:
            value = getattr(node, question.what)(**question.args)
        except Exception as error:
            end.answer(Answer(question.number, error=f"{type(error).__name__}: {error}"))
        else:
            end.answer(Answer(question.number, value))

    for question in end.questions():
        if question.what == "open":
            answer(question)  # here: the library ticks only as long as the thread lives in which it was made
        else:
            threading.Thread(target=answer, args=(question,), daemon=True).start()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # the driver ends it
        main()
