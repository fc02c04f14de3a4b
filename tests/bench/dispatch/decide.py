"""The leader's decision by itself: 32 nodes, and more and more tasks that wait."""

import time
from collections.abc import Callable

from ariacluster.domain.commands import Proposal, Register, Submit
from ariacluster.domain.member import Member, NodeView, Report
from ariacluster.domain.scheduler import MAX_COMMANDS, decide
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Priority, TaskSpec

from .lines import Line, quantile

NODES = 32
NODE_TIMEOUT = 20.0
NOW = 1_000_000_000


def measure(tasks: int, progress: Callable[[str], None]) -> list[Line]:
    """Milliseconds of a full decision (64 assignments), and of one that finds nothing to do."""
    progress(f"{tasks} tasks wait")
    table, views = _table(tasks)
    busy, applied = [], 0
    while commands := decide(table, views, NOW, node_timeout=NODE_TIMEOUT):
        begun = time.perf_counter()
        decide(table, views, NOW, node_timeout=NODE_TIMEOUT)
        busy.append((time.perf_counter() - begun) * 1000)
        applied += len(commands)
        table.apply(Proposal(id=f"d{applied}", at=NOW, by="a", commands=tuple(commands)))
    idle = []
    for _ in range(50):
        begun = time.perf_counter()
        assert not decide(table, views, NOW, node_timeout=NODE_TIMEOUT)
        idle.append((time.perf_counter() - begun) * 1000)
    part = f"(d) decide, {NODES} nodes, {tasks:,} tasks"
    return [
        Line(part=part, what=f"{MAX_COMMANDS} assignments", ours=quantile(busy, 0.5), unit="ms"),
        Line(part=part, what="nothing to do, every slot taken", ours=quantile(idle, 0.5), unit="ms"),
    ]


def _table(tasks: int) -> tuple[TaskTable, list[NodeView]]:
    """Tasks of four priorities, from 50 origins, some with tags; nodes with 20 slots."""
    table = TaskTable()
    members = [
        Member(
            id=f"n{number:02}", name=f"node{number}", address="192.0.2.1", port=8000, raft="192.0.2.1:8001", slots=20,
            tags={"place": f"rack{number % 4}"},
        )
        for number in range(NODES)
    ]  # fmt: skip
    table.apply(Proposal(id="crew", at=NOW, by="a", commands=tuple(map(Register, members))))
    for start in range(0, tasks, 500):
        commands = tuple(Submit(f"{n:016x}", _spec(n)) for n in range(start, min(tasks, start + 500)))
        table.apply(Proposal(id=f"s{start}", at=NOW, by="a", commands=commands))
    report = Report(node="", disk_free=10**13, disk_total=10**13, peak_speed=10_000_000)
    return table, [NodeView(member=m, report=report, silent_for=0.1, online=True) for m in members]


def _spec(number: int) -> TaskSpec:
    tags = {"place": f"rack{number % 5}"} if number % 7 == 0 else {}
    return TaskSpec(urls=(f"http://origin{number % 50}.example/{number}",), priority=Priority(number % 4), tags=tags)
