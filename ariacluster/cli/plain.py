"""Text from elsewhere made safe to show: no terminal escape, no reordering, no line of its own, and a width that fits."""

import re
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len

_JOINERS = {"\u200c": ("Lo", "Lm"), "\u200d": ("So", "Sk", "Mn")}
"""What may stand between characters without showing, and the categories it may follow: Persian needs the one, emoji the
other. Elsewhere they would hide, and a width would be reckoned that no terminal agrees with."""

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that show nothing by themselves and make a terminal do something: controls, bidirectional
overrides and other format characters, surrogates, line and paragraph separators."""

_SUSPECT = re.compile(r"[^ -~]")

MAX_MARKS = 4
"""Combining marks in a row that any real script may need; more of them climb over the lines above."""

MAX_CLUSTER = 16
"""Code points of the longest real emoji, with some room: beyond it a cluster is cut."""


def plain(text: str) -> str:
    """`text` on one line with each unsafe character written out as a Python string would write it."""
    if not _SUSPECT.search(text):
        return text
    shown = []
    marks = 0
    before = ""
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category.startswith("M") else 0
        joins = before in _JOINERS.get(char, ())
        shows = marks <= MAX_MARKS and (joins or category not in _UNSAFE)
        shown.append(char if shows else char.encode("unicode_escape").decode("ascii"))
        before = category
    return "".join(shown)


def json_safe(encoded: str, *, ascii_only: bool = False) -> str:
    """The same JSON with the unsafe characters inside its strings as `\\uXXXX`: valid, equal, and safe in a terminal."""

    def escape(match: re.Match[str]) -> str:
        char = match[0]
        if char == "\n" or not (ascii_only or unicodedata.category(char) in _UNSAFE):
            return char
        data = char.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{data[i : i + 2].hex()}" for i in range(0, len(data), 2))

    return _SUSPECT.sub(escape, encoded)


def elide(text: str, width: int) -> str:
    """`plain(text)` in at most `width` cells, its middle left out: beginnings and endings of names tell them apart."""
    safe = plain(text)
    if cell_len(safe) <= width:
        return safe
    if width <= 1:
        return "…"[:width]
    clusters = _clusters(safe)
    head = _fitting(clusters, width // 2)
    tail = _fitting(reversed(clusters), width - 1 - sum(map(cell_len, head)))
    while cell_len(shown := "".join([*head, "…", *reversed(tail)])) > width:
        (tail or head).pop()  # some take more cells side by side than apart: a skin tone before a variation selector
    return shown


def _fitting(clusters: Iterable[str], width: int) -> list[str]:
    """As many of them as fit in `width` cells."""
    taken = []
    for cluster in clusters:
        width -= cell_len(cluster)
        if width < 0:
            break
        taken.append(cluster)
    return taken


def _clusters(text: str) -> list[str]:
    """What a person sees as one character each, roughly: a base with its marks, and what joiners hang on to it."""
    clusters: list[str] = []
    for char in text:
        leans = char in _JOINERS or unicodedata.category(char).startswith("M")
        if clusters and len(clusters[-1]) < MAX_CLUSTER and (leans or clusters[-1][-1] in _JOINERS):
            clusters[-1] += char
        else:
            clusters.append(char)
    return clusters
