"""Lists of downloads as text: one link a line, or aria2's own input format (`aria2c -i`, aria2 manual "Input File").

Whether a link or an option is any good is not told here: the node says that, or `intake`.
"""

from typing import NamedTuple

from ariacluster.domain.errors import InvalidInput

MAX_LINE_CHARS = 256 * 1024
"""64 mirrors, each as long as it may be, are far below."""


class Entry(NamedTuple):
    """A download of the list: mirrors of one file, and what the indented lines below them say. `line` counts from 1."""

    line: int
    urls: list[str]
    out: str | None
    folder: str | None
    checksum: str | None
    headers: list[str]
    options: dict[str, str]


class Trouble(NamedTuple):
    """A line that means nothing, and why, as a sentence. `entry`: the line of the download that it is about; 0: of none."""

    line: int
    sentence: str
    entry: int = 0


class Listing(NamedTuple):
    """What a text says, in order."""

    entries: list[Entry]
    troubles: list[Trouble]


def parse(text: str) -> list[Entry]:
    """The entries; `InvalidInput` for the first line that means nothing."""
    entries, troubles = read(text)
    if troubles:
        raise InvalidInput(troubles[0].sentence)
    return entries


def read(text: str) -> Listing:
    """As `parse`, and whatever is wrong beside what is right. Mirrors stand on one line with tabs between them; `#` begins a
    comment line."""
    entries: list[Entry] = []
    troubles: list[Trouble] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(line) > MAX_LINE_CHARS:
            troubles.append(Trouble(number, f"Line {number} is too long for a list of links."))
        elif line[0] in " \t":
            if sentence := _take_option(entries, number, line.strip()):
                troubles.append(Trouble(number, sentence, entries[-1].line if entries else 0))
        else:
            urls = [url.strip() for url in line.split("\t") if url.strip()]
            entries.append(Entry(number, urls, None, None, None, [], {}))
    return Listing(entries, troubles)


def _take_option(entries: list[Entry], number: int, line: str) -> str:
    """Add an indented line to the entry above it; why not, if it cannot be."""
    if not entries:
        return f"Line {number} is indented, which makes it an option, but no URL stands above it."
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals or not key:
        return f"Line {number} is indented, which makes it an option: write it as name=value."
    entry = entries[-1]
    match key:
        case "out":
            entries[-1] = entry._replace(out=value)
        case "dir":
            entries[-1] = entry._replace(folder=value)
        case "checksum":
            entries[-1] = entry._replace(checksum=value)
        case "header":
            entry.headers.append(value)
        case _:
            entry.options[key] = value
    return ""
