"""`scripts/bench raft`: the consensus adapter beside pysyncobj as published. See docs/benchmarks.md."""

import argparse
import asyncio
import signal
import sys

import msgspec
from rich.console import Console

from .report import show
from .run import run
from .sizes import FULL, QUICK, SUBJECTS

WIDTH = 190


async def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench raft", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 40 s: fewer and smaller, numbers only to look at")
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="this part; may be repeated")
    parser.add_argument("-o", dest="format", choices=("table", "json"), default="table", help="what to write")
    asked = parser.parse_args()
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    progress = Console(stderr=True)
    report = await run(
        QUICK if asked.quick else FULL,
        asked.only or SUBJECTS,
        lambda what: progress.print(f"{what} …", style="dim", highlight=False),
    )
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
