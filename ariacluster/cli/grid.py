"""Columns that fit: numbers to the right, long names shortened in the middle, what matters least left out when narrow."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ariacluster.cli.plain import elide, plain

GAP = "  "


class Cell(NamedTuple):
    """Text from anywhere, with a style of rich. It is made safe when it is laid out."""

    text: str
    style: str = ""


class Column(NamedTuple):
    """`least`: it may shrink to that many cells, 0 for never. `keep`: the lower, the sooner it goes; 0 for never."""

    title: str = ""
    right: bool = False
    least: int = 0
    keep: int = 0


Row = Sequence[Cell | Text]


def lay(
    columns: Sequence[Column], rows: Sequence[Row], width: int, *, titles: bool = True, gap: str = GAP
) -> list[Text]:
    """The rows as lines of at most `width` cells, under a line of titles."""
    shown = [i for i in range(len(columns)) if titles or any(_cells(row[i]) for row in rows)]
    natural = {
        i: max([cell_len(columns[i].title) if titles else 0, *(_cells(row[i]) for row in rows)], default=0)
        for i in shown
    }
    while _total({i: columns[i].least or natural[i] for i in shown}, gap, natural) > width:
        droppable = [i for i in shown if columns[i].keep]
        if not droppable:
            break
        shown.remove(min(droppable, key=lambda i: columns[i].keep))
    widths = _shrink({i: natural[i] for i in shown}, columns, width - len(gap) * (len(shown) - 1))
    lines = []
    if titles:
        heads = [Cell(column.title, "dim") for column in columns]
        lines.append(_line(heads, columns, widths, gap))
    lines.extend(_line(row, columns, widths, gap) for row in rows)
    for line in lines:
        line.rstrip()
        line.truncate(width)
    return lines


def _cells(cell: Cell | Text) -> int:
    return cell.cell_len if isinstance(cell, Text) else cell_len(plain(cell.text))


def _total(least: dict[int, int], gap: str, natural: dict[int, int]) -> int:
    return sum(min(least[i], natural[i]) for i in least) + len(gap) * max(0, len(least) - 1)


def _shrink(widths: dict[int, int], columns: Sequence[Column], room: int) -> dict[int, int]:
    """Take from the widest of those that may shrink until all fit, or none may."""
    widths = dict(widths)
    while (over := sum(widths.values()) - room) > 0:
        soft = [i for i in widths if columns[i].least and widths[i] > columns[i].least]
        if not soft:
            break
        widest = max(soft, key=lambda i: widths[i])
        others = [widths[i] for i in soft if widths[i] < widths[widest]]
        floor = max([columns[widest].least, *others])
        step = max(1, widths[widest] - floor)
        widths[widest] -= min(over, step)
    return widths


def _line(row: Row, columns: Sequence[Column], widths: dict[int, int], gap: str) -> Text:
    line = Text(no_wrap=True, end="")
    last = max(widths, default=-1)
    for position, width in widths.items():
        cell = row[position]
        text = cell.copy() if isinstance(cell, Text) else Text(elide(cell.text, width), style=cell.style)
        blank = " " * (width - text.cell_len)
        if columns[position].right:
            line.append(blank).append_text(text)
        else:
            line.append_text(text)
            line.append("" if position == last else blank)
        if position != last:
            line.append(gap)
    return line


def hang(head: Text, body: Text, width: int) -> list[Text]:
    """`body` beside `head`, going on below itself where the line is full."""
    indent = head.cell_len
    parts = body.wrap(_MEASURE, max(20, width - indent), overflow="fold")
    for part in parts:
        part.rstrip()
    return [
        Text("", no_wrap=True, end="").append_text(head if i == 0 else Text(" " * indent)).append_text(part)
        for i, part in enumerate(parts)
    ]


def flow(pieces: Sequence[Text], width: int, *, indent: int = 0, gap: str = "   ") -> list[Text]:
    """The pieces side by side, going on in a further line, `indent` cells in, where one is full."""
    lines: list[Text] = []
    for piece in pieces:
        if lines and lines[-1].cell_len + len(gap) + piece.cell_len <= width:
            lines[-1].append(gap).append_text(piece)
            continue
        for part in piece.wrap(_MEASURE, max(10, width - (indent if lines else 0)), overflow="fold"):
            part.rstrip()
            lines.append(Text(" " * indent if lines else "", no_wrap=True, end="").append_text(part))
    return lines


_MEASURE = Console(width=80, markup=False, emoji=False, highlight=False)
"""Rich wants one to break lines; nothing is written to it."""
