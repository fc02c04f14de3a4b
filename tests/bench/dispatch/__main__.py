"""`scripts/bench dispatch`: see docs/benchmarks.md for what is measured."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable

import msgspec
from rich.console import Console

from . import decide, latency, links, small
from .lines import Line, Report, show

PARTS = ("links", "small", "latency", "decide")
WIDTH = 150


async def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench dispatch", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="under a minute: fewer and smaller, numbers only to look at"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be repeated")
    parser.add_argument("-o", dest="format", choices=("table", "json"), default="table", help="what to write")
    asked = parser.parse_args()
    quick = asked.quick
    note = Console(stderr=True)

    def progress(what: str) -> None:
        note.print(f"{what} …", style="dim", highlight=False)

    async def decisions() -> list[Line]:
        return [line for tasks in (1_000, 10_000, 100_000) for line in decide.measure(tasks, progress)]

    parts: dict[str, Callable[[], Awaitable[list[Line]]]] = {
        "links": lambda: links.measure(1_000_000 if quick else 6_000_000, 1 if quick else 3, progress),
        "small": lambda: small.measure(200 if quick else 2_000, 1 if quick else 5, progress),
        "latency": lambda: latency.measure(20 if quick else 300, progress),
        "decide": decisions,
    }
    report = Report(size="quick" if quick else "full", cores=os.cpu_count() or 0, load=os.getloadavg()[0])
    begun = time.perf_counter()
    for name in asked.only or PARTS:
        try:
            report.lines += await parts[name]()
        except Exception as error:  # the other parts are worth something without it
            report.problems.append(f"{name}: {type(error).__name__}: {error}")
    report.seconds = time.perf_counter() - begun
    if asked.format == "json":
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        out = Console()
        show(report, out if out.is_terminal else Console(width=WIDTH))
    return 1 if report.problems else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
