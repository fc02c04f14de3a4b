"""How states look: a symbol and a colour each, the same wherever they appear. A symbol says it without the colour too."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from ariacluster.cli.grid import Cell


class Look(NamedTuple):
    symbol: str
    style: str


TASK = {
    "pending": Look("○", "bright_black"),
    "queued": Look("◎", "cyan"),
    "downloading": Look("↓", "bold blue"),
    "paused": Look("‖", "yellow"),
    "completed": Look("✓", "green"),
    "failed": Look("✗", "red"),
    "canceled": Look("⊘", "bright_black"),
}

NODE = {
    "online": Look("●", "green"),
    "busy": Look("●", "yellow"),
    "draining": Look("◐", "yellow"),
    "offline": Look("○", "red"),
}

UNKNOWN = Look("?", "magenta")
"""For a state of a later version."""

LEADER = "★"


def task_state(state: str) -> Cell:
    look = TASK.get(state, UNKNOWN)
    return Cell(f"{look.symbol} {state}", look.style)


def node_state(state: str) -> Cell:
    look = NODE.get(state, UNKNOWN)
    return Cell(f"{look.symbol} {state}", look.style)


def bar(share: float, width: int, *, style: str = "blue") -> Text:
    """A progress bar; `share` from 0 to 1. Thick and thin, so that it reads without colour."""
    halves = round(max(0.0, min(share, 1.0)) * width * 2)
    text = Text("━" * (halves // 2), style=style)
    if halves % 2:
        text.append("╸", style=style)
    return text.append("─" * (width - (halves + 1) // 2), style="bright_black")


def pulse(beat: int, width: int, *, style: str = "blue") -> Text:
    """A bar for a length that nobody knows: a piece that wanders, one cell a beat."""
    piece = max(1, width // 4)
    start = beat % (2 * max(1, width - piece))
    start = min(start, 2 * (width - piece) - start)
    text = Text("─" * start, style="bright_black")
    text.append("━" * piece, style=style)
    return text.append("─" * (width - start - piece), style="bright_black")


TICKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int, *, style: str = "cyan") -> Text:
    """The last `width` values as a line of little columns, the newest on the right; the highest of them fills its cell."""
    shown = list(values)[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    text = Text(" " * (max(0, width) - len(shown)), no_wrap=True, end="")
    for value in shown:
        if value <= 0:
            text.append(TICKS[0], style="bright_black")
        else:
            text.append(TICKS[min(len(TICKS) - 1, int(value / most * len(TICKS)))], style=style)
    return text


def slots(used: int, total: int, *, width: int = 8) -> Text:
    """Slots in use: one mark each while they are few, a share of `width` marks when they are many."""
    marks = total if 0 < total <= width else width
    full = min(marks, -(-used * marks // total)) if total > 0 else 0
    style = "yellow" if total and used >= total else "green"
    text = Text("▰" * full, style=style).append("▱" * (marks - full), style="bright_black")
    return text.append(f" {used}/{total}")


def pairs(values: dict[str, str]) -> str:
    """Tags and options on one line."""
    return "  ".join(f"{key}={value}" for key, value in values.items())
