"""What was measured, one line each, and as a table for people."""

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """`ours` beside `best`, in `unit`; `ratio`: how much of the best is reached (1 is all), `aim` what it should be. Where
    there is nothing to compare with, `best` and `ratio` are None, and `aim` is in `unit`."""

    part: str
    what: str
    ours: float
    unit: str
    best: float | None = None
    ratio: float | None = None
    aim: str = ""


class Report(msgspec.Struct, kw_only=True):
    size: str
    cores: int
    load: float
    seconds: float = 0.0
    lines: list[Line] = []
    problems: list[str] = []


def show(report: Report, console: Console, *, title: str = "Dispatching") -> None:
    console.print(
        f"{report.cores} cores (load {report.load:.1f} before). The {report.size} run took {report.seconds:.0f} s.",
        highlight=False,
    )
    table = Table(title=title, title_justify="left")
    for name in ("", "what"):
        table.add_column(name)
    for name in ("ours", "best", "of the best", "aim"):
        table.add_column(name, justify="right", no_wrap=True)
    for line in report.lines:
        table.add_row(
            line.part,
            line.what,
            _number(line.ours, line.unit),
            "" if line.best is None else _number(line.best, line.unit),
            "" if line.ratio is None else f"{line.ratio:.2f}",
            line.aim,
        )
    console.print(table)
    for problem in report.problems:
        console.print(f"not measured: {problem}", style="red", markup=False, highlight=False)


def _number(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
