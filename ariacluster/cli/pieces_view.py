"""What aria2 says of a download that runs: a picture of its pieces, its files, and where the bytes come from."""

from collections.abc import Sequence

from rich.text import Text

from ariacluster.cli import units
from ariacluster.cli.grid import Cell, Column, lay
from ariacluster.cli.looks import bar
from ariacluster.cli.plain import plain
from ariacluster.wire.resources import LiveResource

SHADES = "·░▒▓█"
"""Of the pieces that a cell stands for: none is there, some, more, most, all."""

MOST_ROWS = 8
"""Rows of the picture: beyond, a cell stands for more pieces."""

MOST_FILES, MOST_SERVERS = 10, 8


def live_story(live: LiveResource, width: int) -> list[Text]:
    """All of it, each part under a title of its own, and nothing where nothing is known."""
    return [*_pieces(live, width), *_files(live, width), *_servers(live, width)]


def picture(pieces: str, count: int, width: int) -> list[str]:
    """The pieces as rows of at most `width` cells. `pieces` is aria2's bitfield in hex, the first piece its highest bit; what
    it lacks counts as not there."""
    width = max(1, width)
    there = [bit == "1" for digit in pieces for bit in f"{int(digit, 16):04b}"][:count]
    there += [False] * (count - len(there))
    cells = min(count, width * MOST_ROWS)
    shades = []
    for cell in range(cells):
        part = there[cell * count // cells : (cell + 1) * count // cells]
        share = sum(part) / len(part)
        # The ends are said only where they are true.
        middle = 1 + min(int(share * (len(SHADES) - 2)), len(SHADES) - 3)
        shades.append(SHADES[-1] if share == 1 else SHADES[0] if share == 0 else SHADES[middle])
    return ["".join(shades[start : start + width]) for start in range(0, cells, width)]


def _pieces(live: LiveResource, width: int) -> list[Text]:
    if not live.piece_count or not live.pieces or set(live.pieces) - set("0123456789abcdefABCDEF"):
        return []
    whole = bin(int(live.pieces, 16)).count("1")
    head = Text("Pieces", style="bold")
    head.append(f"  {units.count(whole)} of {units.count(live.piece_count)}", style="default")
    head.append(f", {units.size(live.piece_length)} each", style="dim")
    rows = picture(live.pieces, live.piece_count, min(width - 4, 100))
    return [Text(), head, *(_shaded(f"  {row}") for row in rows)]


def _shaded(row: str) -> Text:
    text = Text(row, style="blue", no_wrap=True)
    for position, char in enumerate(row):
        if char == SHADES[0]:
            text.stylize("bright_black", position, position + 1)
        elif char == SHADES[-1]:
            text.stylize("green", position, position + 1)
    return text


def _files(live: LiveResource, width: int) -> list[Text]:
    chosen = [file for file in live.files if file.selected]
    if len(live.files) < 2:
        return []
    rows: list[list[Cell | Text]] = [
        [
            Cell(f"  {units.size(file.length)}", "dim"),
            bar(file.completed / file.length if file.length else 0.0, 10),
            Cell(units.percent(100 * file.completed / file.length) if file.length else ""),
            Cell(file.path),
        ]
        for file in chosen[:MOST_FILES]
    ]
    head = Text("Files", style="bold")
    if len(chosen) < len(live.files):
        head.append(f"  {len(chosen)} of {len(live.files)} are wanted", style="dim")
    return [Text(), head, *_table(rows, width), *_more(len(chosen) - MOST_FILES, "file")]


def _servers(live: LiveResource, width: int) -> list[Text]:
    if not live.servers:
        return []
    fastest = sorted(live.servers, key=lambda server: -server.speed)
    rows = [[Cell(f"  {units.speed(server.speed) or '-'}", "cyan"), Cell(plain(server.uri))] for server in fastest]
    head = Text("From", style="bold")
    if live.seeders:
        head.append(f"  {units.plural(live.seeders, 'seeder')}", style="dim")
    if live.uploaded:
        head.append(f"  {units.size(live.uploaded)} given back at {units.size(live.upload_speed)}/s", style="dim")
    lines = lay([Column(right=True), Column(least=20)], rows[:MOST_SERVERS], width, titles=False)
    return [Text(), head, *lines, *_more(len(rows) - MOST_SERVERS, "source")]


def _table(rows: Sequence[Sequence[Cell | Text]], width: int) -> list[Text]:
    columns = [Column(right=True), Column(keep=1), Column(right=True), Column(least=20)]
    return lay(columns, rows, width, titles=False)


def _more(number: int, noun: str) -> list[Text]:
    return [Text(f"  … and {units.plural(number, f'further {noun}')}", style="dim")] if number > 0 else []
