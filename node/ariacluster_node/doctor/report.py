"""The findings for people: a mark, what was looked at, what was found, and below it what to do."""

from collections.abc import Sequence

from rich.text import Text

from ariacluster.cli.grid import hang
from ariacluster.cli.looks import Look
from ariacluster.cli.plain import plain

from .finding import Finding

LOOKS = {
    "ok": Look("✓", "green"),
    "warning": Look("!", "yellow"),
    "problem": Look("✗", "bold red"),
    "skipped": Look("–", "bright_black"),
}

_TITLE = 12
"""Cells; the longest name of a check has 11."""


def lines(finding: Finding, width: int) -> list[Text]:
    look = LOOKS[finding.state]
    head = Text.assemble((f"{look.symbol} ", look.style), (f"{finding.check:<{_TITLE}}", "dim"))
    shown = hang(head, Text(plain(finding.says), style="dim" if finding.state == "skipped" else ""), width)
    if finding.do:
        shown += hang(Text(f"{'':<{_TITLE + 2}}→ ", style="cyan"), Text(plain(finding.do), style="cyan"), width)
    return shown


def verdict(found: Sequence[Finding]) -> Text:
    problems, warnings = (sum(f.state == state for f in found) for state in ("problem", "warning"))
    parts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((problems, "problem"), (warnings, "warning")) if n]
    look = LOOKS["problem" if problems else "warning" if warnings else "ok"]
    return Text(f"{' and '.join(parts)}." if parts else "All is well.", style=look.style)
