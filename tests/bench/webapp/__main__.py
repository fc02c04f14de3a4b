"""`scripts/bench webapp`: the budgets of the web app, measured against a lively cluster of 64 nodes."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from tests.support.browser import chromium
from tests.support.show import Show, show

from . import paint, tabs

MB = 1e6


class Measured(NamedTuple):
    """`most`: the budget; None: there is none."""

    what: str
    value: float
    unit: str
    most: float | None = None


class Process:
    """The web app from outside."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    @property
    def rss(self) -> float:
        """In MB."""
        return float(self._process.memory_info().rss / MB)

    async def share(self, seconds: float) -> float:
        """Percent of one core over so many seconds."""
        before = sum(self._process.cpu_times()[:2])
        await asyncio.sleep(seconds)
        return float(100 * (sum(self._process.cpu_times()[:2]) - before) / seconds)


async def measure(shown: Show, *, quick: bool, note: Console) -> list[Measured]:
    app = Process(shown.app.pid)
    seconds = 5.0 if quick else 20.0
    found = [Measured("memory, nobody looks", app.rss, "MB", 90)]
    idle = await app.share(seconds)
    found.append(Measured("processor, nobody looks", idle, "%"))

    async with aiohttp.ClientSession() as session, session.get(shown.url) as answer:
        found.append(Measured("HTML of a page", len(await answer.read()) / 1000, "KB", 50))

    for path, most in (("/", 8), ("/nodes", 8), ("/settings", 8)):
        note.print(f"tabs on {path} …", style="dim")
        open_tabs = await tabs.many(shown.url, path, 10)
        await asyncio.sleep(3)
        for tab in open_tabs:
            tab.reset()
        share = await app.share(seconds)
        sizes = [tab.bytes / max(1, tab.pushes) for tab in open_tabs]
        found.append(Measured(f"a tick to a tab on {path}", sum(sizes) / len(sizes) / 1000, "KB", most))
        found.append(Measured(f"processor for a tab on {path}", (share - idle) / len(open_tabs), "%", 0.15))
        for tab in open_tabs:
            await tab.close()

    note.print("forty tabs …", style="dim")
    before = app.rss
    open_tabs = await tabs.many(shown.url, "/", 40)
    share = await app.share(seconds)
    found.append(Measured("memory with 40 tabs", app.rss, "MB", 130))
    found.append(Measured("memory for each of them", (app.rss - before) / 40, "MB", 0.8))
    found.append(Measured("processor with 40 tabs", share, "%"))
    for tab in open_tabs:
        await tab.close()

    note.print("three hundred that never open a WebSocket …", style="dim")
    for name in ("once", "again"):
        async with aiohttp.ClientSession() as session:
            for _ in range(60 if quick else 300):
                async with session.get(shown.url) as answer:
                    await answer.read()
        await asyncio.sleep(15 if quick else 40)
        found.append(Measured(f"memory after 300 such visits, {name}", app.rss, "MB", 200))
    return found


async def seen(shown: Show, *, quick: bool, note: Console) -> list[Measured]:
    note.print("first content in Chromium …", style="dim")
    rounds = 2 if quick else 5
    async with chromium() as browser:
        await paint.milliseconds(browser, shown.url, rounds=1, slow=False)
        cold, warm = await paint.milliseconds(browser, shown.url, rounds=rounds, slow=False)
        slow, _ = await paint.milliseconds(browser, shown.url, rounds=rounds, slow=True)
        size = await paint.transferred(browser, shown.url)
    return [
        Measured("first numbers, empty cache", cold, "ms", 1200),
        Measured("first numbers, full cache", warm, "ms", 600),
        Measured("first numbers, empty cache, a quarter of the processor", slow, "ms", 2500),
        Measured("bytes until then, empty cache", size / 1000, "KB", 450),
    ]


async def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench webapp", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes: numbers only to look at")
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("-o", dest="format", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    note = Console(stderr=True)
    with tempfile.TemporaryDirectory() as work:
        async with show(Path(work), nodes=asked.nodes, tasks=100_000) as shown:
            found = await measure(shown, quick=asked.quick, note=note)
            found += await seen(shown, quick=asked.quick, note=note)
    if asked.format == "json":
        rows: list[dict[str, Any]] = [one._asdict() for one in found]
        sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")
    else:
        table = Table("measured", "value", "budget")
        for one in found:
            over = one.most is not None and one.value > one.most
            value = f"{one.value:,.2f} {one.unit}" if one.value < 10 else f"{one.value:,.0f} {one.unit}"
            table.add_row(one.what, f"[red]{value}[/]" if over else value, f"{one.most:g}" if one.most else "")
        Console(width=110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
