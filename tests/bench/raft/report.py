"""What was measured, as one value, and as tables for people."""

import msgspec
from rich.console import Console
from rich.table import Table

from .cluster import BEST, OURS, STOCK, UNSYNCED
from .commits import Commits
from .failover import Failover
from .machine import MachineFacts
from .snapshots import Pause


class Report(msgspec.Struct, kw_only=True):
    """`problems`: what could not be measured, and why."""

    size: str
    machine: MachineFacts
    seconds: float = 0.0
    commits: list[Commits] = []
    failover: list[Failover] = []
    learners: list[Commits] = []
    snapshot: list[Pause] = []
    problems: list[str] = []


def show(report: Report, console: Console) -> None:
    facts = report.machine
    console.print(
        f"{facts.cores} cores (load {facts.load:.1f} before), Python {facts.python}, pysyncobj {facts.pysyncobj}, "
        f"{facts.system}; a sync of 4 KiB takes {facts.sync_ms:.2f} ms (p99 {facts.sync_p99_ms:.2f}). "
        f"The {report.size} run took {report.seconds:.0f} s.",
        highlight=False,
    )
    for title, rows in (("Commits", report.commits), ("With learners", report.learners)):
        if rows:
            console.print(_commits(title, rows))
    if report.failover:
        console.print(_failover(report.failover))
    if report.snapshot:
        console.print(_snapshot(report.snapshot))
    for problem in report.problems:
        console.print(f"not measured: {problem}", style="red", markup=False, highlight=False)


def _commits(title: str, rows: list[Commits]) -> Table:
    """A line for each load, the systems side by side: commands/s, and p50/p99 in ms."""
    table = Table(title=f"{title}: commands/s · latency p50 / p99 ms", title_justify="left")
    table.add_column("nodes")
    table.add_column("via")
    table.add_column("load", no_wrap=True)
    for system in (OURS, UNSYNCED, BEST, STOCK):
        table.add_column(system.name, justify="right", no_wrap=True)
    table.add_column("ours to best", justify="right")
    table.add_column("to stock", justify="right")
    found = {(row.nodes, row.learners, row.via, row.load, row.system): row for row in rows}
    for nodes, learners, via, load in dict.fromkeys(key[:4] for key in found):
        cells = [found.get((nodes, learners, via, load, system.name)) for system in (OURS, UNSYNCED, BEST, STOCK)]
        table.add_row(
            f"{nodes}+{learners}" if learners else str(nodes),
            via,
            load,
            *(_cell(row) for row in cells),
            *(_ratio(cells[0], row) for row in cells[2:]),
        )
    return table


def _cell(row: Commits | None) -> str:
    if row is None:
        return "–"
    told = row.measured
    failed = f" ({told.failed} failed)" if told.failed else ""
    return f"{row.per_second:,.0f} · {told.p50_ms:.1f} / {told.p99_ms:.1f}{failed}"


def _ratio(ours: Commits | None, other: Commits | None) -> str:
    if ours is None or other is None or not other.per_second:
        return "–"
    return f"{ours.per_second / other.per_second:.1f} x"


def _failover(rows: list[Failover]) -> Table:
    table = Table(title="Failover: s from kill -9 of the leader to the next commit", title_justify="left")
    for column in ("system", "kills", "min", "p50", "p90", "max"):
        table.add_column(column, justify="left" if column == "system" else "right")
    for row in rows:
        times = (f"{value:.2f}" for value in (row.min_s, row.p50_s, row.p90_s, row.max_s))
        table.add_row(row.system, str(row.kills), *times)
    return table


def _snapshot(rows: list[Pause]) -> Table:
    table = Table(title="Snapshots: longest pauses on the leader", title_justify="left")
    for column in (
        "system",
        "tasks",
        "what",
        "s",
        "MB",
        "loop ms",
        "raft ms",
        "slowest command ms",
        "elections",
        "RSS MB",
    ):
        table.add_column(column, justify="left" if column in ("system", "what") else "right")
    for row in rows:
        table.add_row(
            row.system,
            f"{row.rows:,}",
            row.what,
            f"{row.seconds:.2f}",
            f"{row.size_mb:.1f}" if row.size_mb else "",
            "–" if row.loop_ms is None else f"{row.loop_ms:.1f}",
            f"{row.thread_ms:.1f}",
            f"{row.command_ms:.1f}",
            str(row.elections),
            f"{row.rss_before_mb:.0f} → {row.rss_peak_mb:.0f}",
        )
    return table
