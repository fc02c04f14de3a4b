"""Which files of a torrent or a Metalink are wanted: aria2's option `select-file`, "1,3-5", counted from 1.

Their bytes are counted, and not those that aria2 fetches of their neighbours: where a wanted file begins or ends within a
piece, the whole piece comes, at most one more at each end of a run of files. aria2 itself counts in whole pieces.
"""

import re
from collections.abc import Mapping, Sequence

from .errors import InvalidInput

OPTION = "select-file"

SIFTING = ("metalink-language", "metalink-os", "metalink-version")
"""With one of these aria2 counts only the files of a Metalink that fit it."""

LAST = 1_048_576
"""aria2 knows no higher number."""

_RANGE = re.compile(r" *([0-9]{1,7})(?: *- *([0-9]{1,7}))? *")


def ranges(text: str) -> list[range]:
    """The files that it names, counted from 0; in order, and they may overlap. `InvalidInput` if it is no such list: of one
    that runs backwards aria2 would fetch everything."""
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= LAST:
            raise _wrong(f"Give numbers of files from 1 to {LAST}, and ranges of them, as in 1,3-5.")
        found.append(range(first - 1, last))
    return sorted(found, key=lambda one: one.start)


def size_of(lengths: Sequence[int], options: Mapping[str, str]) -> int:
    """Bytes of what is wanted of a document whose files are so long; of all of them where only aria2 can tell which are.
    `InvalidInput` if it has no such file."""
    if OPTION not in options:
        return sum(lengths)
    wanted = ranges(options[OPTION])
    if max(one.stop for one in wanted) > len(lengths):
        allowed = f"numbers from 1 to {len(lengths)}" if len(lengths) > 1 else "1, or leave it out"
        raise _wrong(f"Files of this document: {len(lengths)}. Give {allowed}.")
    if any(name in options for name in SIFTING):
        return sum(lengths)
    size = counted = 0
    for one in wanted:
        size += sum(lengths[max(one.start, counted) : one.stop])
        counted = max(counted, one.stop)
    return size


def alike(options: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Do both want the same files?"""
    return all(options.get(name) == others.get(name) for name in (OPTION, *SIFTING))


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(what, field=f"options.{OPTION}")
