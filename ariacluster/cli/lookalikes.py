"""What stands for a letter that a terminal lacks: one that looks like it and is as wide, so that tables stay tables."""

import codecs
import sys

from rich.cells import cell_len

NAME = "ariacluster-lookalikes"
"""As a way of a stream to deal with what it cannot encode."""

LIKE = {
    "━": "=", "─": "-", "╸": "-", "╺": "-", "├": "|", "└": "`", "╌": "-", "│": "|",
    "▰": "#", "▱": ".", "●": "*", "○": "o", "◎": "@", "◐": "%", "↓": "v", "↑": "^", "→": ">", "↻": "~",
    "‖": "=", "✓": "+", "✗": "x", "⊘": "-", "★": "*", "…": "~", "·": ".",
    "░": ".", "▒": ":", "▓": "+", "█": "#",
    "▁": "_", "▂": ".", "▃": ".", "▄": "-", "▅": "-", "▆": "=", "▇": "=",
    "╭": "+", "╮": "+", "╰": "+", "╯": "+", "’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-",
}  # fmt: skip
"""For what this program itself writes; anything else is a question mark for each of its cells."""


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(LIKE.get(char, "?" * cell_len(char)) for char in lost), error.end


def take_over() -> None:
    """Standard output and standard error do without what they lack."""
    codecs.register_error(NAME, _replace)
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors=NAME)
