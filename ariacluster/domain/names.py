"""What people call a task: the file that it makes, as far as that is known."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

from .task import Task

_PLAIN = re.compile(r"(?:https?|s?ftp)://[A-Za-z0-9.-]+/(?:[A-Za-z0-9_~.,+/-]*/)?([A-Za-z0-9_~.,+-]+)")
"""Most links end with the name itself: that is read in a third of the time."""


def name_of(task: Task) -> str:
    """The file or folder that it left, else the name that was asked for, else what its first link suggests."""
    if task.result is not None and task.result.files:
        first = task.result.files[0].path
        below = first[len(task.spec.dir) :].lstrip("/") if task.spec.dir else first
        return below.split("/")[0]
    if task.spec.out:
        return task.spec.out
    if task.spec.document is not None:
        return task.spec.document.name
    return name_of_url(task.spec.urls[0]) if task.spec.urls else task.id


def name_of_url(url: str) -> str:
    """The file name that a URL suggests, the torrent's name for a magnet link."""
    if plain := _PLAIN.fullmatch(url):
        return plain[1]
    parts = urlsplit(url)
    if parts.scheme == "magnet":
        return parse_qs(parts.query).get("dn", [url[:60]])[0]
    return unquote(parts.path.rstrip("/").rsplit("/", 1)[-1]) or parts.netloc.rpartition("@")[2]
