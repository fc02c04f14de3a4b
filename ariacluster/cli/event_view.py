"""What happened, for people: a line for each entry of the history."""

from rich.text import Text

from ariacluster.cli.grid import hang
from ariacluster.cli.plain import elide, plain
from ariacluster.wire.resources import HistoryEntry

LOOKS = {
    "task_completed": ("✓", "green"),
    "task_failed": ("✗", "red"),
    "task_attempt_failed": ("↻", "yellow"),
    "task_lost": ("↻", "yellow"),
    "task_canceled": ("⊘", "bright_black"),
    "task_started": ("↓", "bold blue"),
    "task_moved": ("→", "cyan"),
    "node_lost": ("○", "red"),
    "node_left": ("○", "red"),
    "node_joined": ("●", "green"),
    "node_back": ("●", "green"),
    "leader_elected": ("★", "yellow"),
}
"""By kind; the rest has a dot, and so has what a later version tells."""

NARROW = 60
"""Cells below which a line has no room for the date."""

OTHER = ("·", "bright_black")


def event_line(entry: HistoryEntry, width: int, *, short: bool = False) -> Text:
    """One line; `short`: with the time of the day alone, and cut where it is full."""
    head = _head(entry, short=short)
    sentence = elide(entry.text, width - head.cell_len) if short else plain(entry.text)
    return head.append(sentence).append(_who(entry), style="dim")


def event_lines(entry: HistoryEntry, width: int) -> list[Text]:
    """All of it, going on below itself where a line is full."""
    body = Text(plain(entry.text)).append(_who(entry), style="dim")
    return hang(_head(entry, short=width < NARROW), body, width)


def _head(entry: HistoryEntry, *, short: bool) -> Text:
    symbol, style = LOOKS.get(entry.kind, OTHER)
    here = entry.at.astimezone()
    when = f"{here:%H:%M:%S}" if short else f"{here:%Y-%m-%d %H:%M:%S}"
    return Text.assemble((when, "dim"), "  ", (symbol, style), " ", no_wrap=True, end="")


def _who(entry: HistoryEntry) -> str:
    return f"  ({plain(entry.who)})" if entry.who else ""
