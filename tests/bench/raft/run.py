"""All that is to be measured, one after the other."""

import tempfile
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from pathlib import Path
from typing import TypeVar

from .cluster import BEST, OURS, STOCK, NodeError
from .commits import commits, learners, plan
from .failover import failover
from .machine import facts
from .report import Report
from .sizes import SUBJECTS, Sizes
from .snapshots import pauses

T = TypeVar("T")


async def run(
    sizes: Sizes, subjects: Collection[str] = SUBJECTS, tell: Callable[[str], None] = lambda what: None
) -> Report:
    """`tell` hears what begins. What cannot be measured becomes a problem of the report."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ariacluster-bench-") as name:
        root = Path(name)
        report = Report(size=sizes.name, machine=facts(root))

        async def attempt(what: str, measure: Callable[[Path], Awaitable[T]]) -> list[T]:
            tell(what)
            try:
                return [await measure(Path(tempfile.mkdtemp(dir=root)))]
            except* (NodeError, OSError) as errors:
                report.problems += [f"{what}: {error}" for error in _leaves(errors)]
            return []

        if "commits" in subjects:
            for system, nodes in plan(sizes):
                done = await attempt(
                    f"commits, {nodes} nodes, {system.name}",
                    partial(commits, system, nodes, sizes),
                )
                report.commits += [row for rows in done for row in rows]
        if "failover" in subjects:
            for system, kills in ((OURS, sizes.kills), (STOCK, sizes.stock_kills)):
                if kills:
                    report.failover += await attempt(
                        f"failover, {system.name}",
                        partial(failover, system, kills, sizes),
                    )
        if "learners" in subjects:
            for system, count in ((OURS, sizes.learners), (BEST, sizes.stock_learners)):
                if count:
                    done = await attempt(
                        f"{count} learners, {system.name}",
                        partial(learners, system, count, sizes),
                    )
                    report.learners += [row for rows in done for row in rows]
        if "snapshot" in subjects:
            for system, rows in ((OURS, sizes.rows), (BEST, sizes.stock_rows)):
                if rows:
                    seen = await attempt(f"snapshot, {system.name}", partial(pauses, system, rows, sizes))
                    report.snapshot += [pause for these in seen for pause in these]
    report.seconds = time.monotonic() - begun
    return report


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
