"""Lists of downloads in a file: one URL a line, or aria2's own input format (`aria2c -i`, aria2 manual "Input File")."""

from typing import NamedTuple

from ariacluster.domain.errors import InvalidInput


class Entry(NamedTuple):
    """A download of the list: mirrors of one file, and what the indented lines below them say."""

    line: int
    urls: list[str]
    out: str | None
    folder: str | None
    checksum: str | None
    headers: list[str]
    options: dict[str, str]


def parse(text: str) -> list[Entry]:
    """The entries in order. Mirrors stand on one line with tabs between them; `#` begins a comment line.

    `InvalidInput` with the line's number. Whether a URL or an option is any good is the node's to say.
    """
    entries: list[Entry] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t":
            entries[-1:] = [_with_option(entries, number, line.strip())]
        else:
            urls = [url.strip() for url in line.split("\t") if url.strip()]
            entries.append(Entry(number, urls, None, None, None, [], {}))
    return entries


def _with_option(entries: list[Entry], number: int, line: str) -> Entry:
    key, equals, value = (part.strip() for part in line.partition("="))
    if not entries:
        raise InvalidInput(f"Line {number} is indented, which makes it an option, but no URL stands above it.")
    if not equals or not key:
        raise InvalidInput(f"Line {number} is indented, which makes it an option: write it as name=value.")
    entry = entries[-1]
    match key:
        case "out":
            return entry._replace(out=value)
        case "dir":
            return entry._replace(folder=value)
        case "checksum":
            return entry._replace(checksum=value)
        case "header":
            return entry._replace(headers=[*entry.headers, value])
    return entry._replace(options={**entry.options, key: value})
