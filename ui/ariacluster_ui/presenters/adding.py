"""What a person pastes, read while it is typed: how much of it can be downloaded, and what is wrong with the rest."""

from collections.abc import Mapping
from typing import Any

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.intake import check_links
from ariacluster.wire import link_list
from ariacluster.wire.resources import BatchItem

SHOWN = 20
"""Lines that are told to be wrong, one by one."""

MAX_TEXT = 400_000
"""Characters that the dialog takes, some four thousand links; for more there is the command line."""


def looked_at(text: str) -> dict[str, Any]:
    """`links`, `magnets`: how many there are; `wrong`: of the first bad lines, the number, the text and why."""
    entries, troubles = link_list.read(text)
    lines = text.split("\n")
    wrong = {trouble.line: trouble.sentence for trouble in troubles}
    links = magnets = 0
    for entry in entries:
        try:
            check_links(entry.urls, None)
        except InvalidInput as error:
            wrong.setdefault(entry.line, error.detail)
            continue
        if entry.urls[0].startswith("magnet:"):
            magnets += 1
        else:
            links += 1
    told = [{"line": n, "text": lines[n - 1].strip()[:200], "why": why} for n, why in sorted(wrong.items())[:SHOWN]]
    return {"links": links, "magnets": magnets, "bad": len(wrong), "wrong": told}


def left_over(text: str, refused: Mapping[int, BatchItem]) -> str:
    """The downloads of the list that were refused, with what stands below their links. By line, from 1 on."""
    lines = text.split("\n")
    starts = [entry.line for entry in link_list.read(text).entries]
    kept: list[str] = []
    for line in sorted(refused):
        end = next((start for start in starts if start > line), len(lines) + 1)
        kept += lines[line - 1 : end - 1] if line in starts else lines[line - 1 : line]
    return "\n".join(kept).rstrip()


def refusals(items: Mapping[str, BatchItem]) -> list[dict[str, Any]]:
    """What to say of each that was refused; by what it is called."""
    return [
        {"text": name[:200], "why": item.problem.detail, "code": item.problem.code, "task": item.problem.task}
        for name, item in list(items.items())[:SHOWN]
        if item.problem is not None
    ]
