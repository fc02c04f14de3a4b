"""What a task fetches, in one spelling: by it the table knows that another task fetches the same. Pure.

Links are compared as RFC 3986, section 6.2.2 and 6.2.3, says, and without what makes no other file of them: user, password and
fragment. A torrent is its info hash, however it came: as a magnet link, or as a document.
"""

import base64
import binascii
import re
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import parse_qs, urlsplit

from .task import TaskSpec

PORTS = {"http": 80, "https": 443, "ftp": 21, "sftp": 22}

_NORMAL = re.compile(r"(?:https?|s?ftp)://[a-z0-9.-]*[a-z0-9-]/[A-Za-z0-9_~/.-]*(?:\?[A-Za-z0-9_~/.=&-]*)?")
"""Most links are spelled so already, if no dot stands alone in the path."""

_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def identities(spec: TaskSpec) -> dict[int, str]:
    """What the task fetches, by its key; two tasks that share one of them fetch the same."""
    return _identities_of(spec.urls)


@lru_cache(maxsize=1024)  # a submit asks twice in a row
def _identities_of(urls: tuple[str, ...]) -> dict[int, str]:
    return {key_of(identity): identity for url in urls if (identity := of_url(url))}


def of_url(url: str) -> str:
    """One spelling for all that lead to the same; empty for what cannot be read."""
    if _NORMAL.fullmatch(url) and "/." not in url:
        return url
    if url[:7].lower() == "magnet:":
        info_hash = info_hash_of(url)
        return f"btih:{info_hash}" if info_hash else ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    path = _without_dots(_unescaped(parts.path)) or "/"
    return f"{parts.scheme}://{host}{path}" + (f"?{_unescaped(parts.query)}" if parts.query else "")


def info_hash_of(magnet: str) -> str:
    """The info hash that a magnet link names, in 40 hex digits; empty if it names none."""
    try:
        topics = parse_qs(urlsplit(magnet).query, max_num_fields=500).get("xt", [])
    except ValueError:
        return ""
    for topic in topics:
        name = topic[9:] if topic[:9].lower() == "urn:btih:" else ""
        if re.fullmatch("[0-9A-Fa-f]{40}", name):
            return name.lower()
        if re.fullmatch("[A-Za-z2-7]{32}", name):
            try:
                return base64.b32decode(name.upper()).hex()
            except binascii.Error:
                continue
    return ""


def key_of(identity: str) -> int:
    """A number for it. Two may share one, rarely: compare the identities then."""
    return int.from_bytes(blake2b(identity.encode(errors="surrogatepass"), digest_size=8).digest())


def _unescaped(text: str) -> str:
    """Escapes that need not be are none, the others have capital letters."""

    def plain(found: re.Match[str]) -> str:
        sign = chr(int(found[1], 16))
        return sign if sign in _UNRESERVED else found[0].upper()

    return _ESCAPE.sub(plain, text) if "%" in text else text


def _without_dots(path: str) -> str:
    """Without `.` and `..` (RFC 3986, section 5.2.4); empty segments are some, and stay."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
