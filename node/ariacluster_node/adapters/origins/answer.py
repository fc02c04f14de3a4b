"""What an answer says of a file, from its status and headers alone (RFC 9110). Nothing in it is trusted."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from ariacluster.domain.intake import DOCUMENTS
from ariacluster.domain.life import MAX_HOLD_MS
from ariacluster_node.ports import Probe

MAX_VALIDATOR_CHARS = 200
"""It becomes a part of the task's row; a longer one is worth nothing to us."""

MAX_SIZE = 2**62
"""Bytes. What claims to be larger says nothing."""

DOCUMENT_TYPES = ("application/x-bittorrent", "application/metalink4+xml", "application/metalink+xml")
"""aria2 takes these for a list of downloads, whatever the name."""

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
_RANGE = re.compile(r"bytes (?:\d+-\d+|\*)/(\d+)")


def read(status: int, headers: Mapping[str, str], now: int) -> Probe:
    """The probe that an answer makes; `now` in ms, for an origin that does not tell its own time."""
    if status >= 400:
        size = _ranged(headers) if status == 416 else 0
        return Probe(status=status, size=size, retry_after=_retry_after(headers, now))
    if status not in (200, 203, 206) or _is_document(headers):
        return Probe(status=status)
    return Probe(status=status, size=_size(status, headers), validator=_validator(headers))


def _is_document(headers: Mapping[str, str]) -> bool:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    name = headers.get("Content-Disposition", "").lower()
    return kind in DOCUMENT_TYPES or any(ending in name for ending in DOCUMENTS)


def _size(status: int, headers: Mapping[str, str]) -> int:
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        return 0  # of what travels, not of the file
    return _ranged(headers) if status == 206 else _number(headers.get("Content-Length", ""))


def _ranged(headers: Mapping[str, str]) -> int:
    """The whole, from Content-Range (section 14.4)."""
    found = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return _number(found[1]) if found else 0


def _number(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 19:
        return 0
    return number if (number := int(text)) <= MAX_SIZE else 0


def _validator(headers: Mapping[str, str]) -> str:
    """A strong ETag, else the date of the last change: a weak ETag does not vouch for the same bytes (section 8.8.3)."""
    etag = headers.get("ETag", "").strip()
    if _STRONG.fullmatch(etag) and len(etag) <= MAX_VALIDATOR_CHARS:
        return f"etag:{etag}"
    changed = headers.get("Last-Modified", "").strip()
    return f"date:{changed}" if _date(changed) is not None else ""


def _retry_after(headers: Mapping[str, str], now: int) -> int:
    """Milliseconds, from seconds or a date (section 10.2.3); a date is told by the origin's own clock, if it shows it."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:18]) * 1000, MAX_HOLD_MS)
    if (until := _date(text)) is None:
        return 0
    there = _date(headers.get("Date", "").strip())
    return min(max(0, until - (now if there is None else there)), MAX_HOLD_MS)


def _date(text: str) -> int | None:
    """An HTTP date in ms since the epoch; None if it is none."""
    if not text or len(text) > 64 or not (text.isascii() and text.isprintable()):
        return None
    try:
        return round(parsedate_to_datetime(text).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
