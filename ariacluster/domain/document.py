"""A torrent or a Metalink that was uploaded: what a task must know of it. The document itself stays out of the log."""

import hashlib
from urllib.parse import quote

import msgspec

MAX_DOCUMENT = 15 * 1024 * 1024
"""Bytes. Torrents of terabytes have a few, and aria2 fetches no larger Metalink ("Maximum length exceeded")."""

MAX_TEXT = MAX_DOCUMENT // 3 * 4
"""Characters of the largest one in base64 (RFC 4648, section 4): no more fit in, for its bytes go into threes."""

MAX_NAME_CHARS = 255


class Document(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """`kind`: `torrent` or `metalink`; `digest`: its SHA-256 in hex, by which every node finds it. `size` in bytes of all
    that was wanted of it when it was taken in, 0 if it does not say; `info_hash` of a torrent, in hex."""

    kind: str
    digest: str
    name: str
    size: int = 0
    info_hash: str = ""

    @property
    def link(self) -> str:
        """What stands for it where a link is asked for."""
        if self.info_hash:
            return f"magnet:?xt=urn:btih:{self.info_hash}&dn={quote(self.name, safe='')}"
        return f"urn:sha256:{self.digest}"


def digest_of(data: bytes) -> str:
    """Not on the event loop, for a large one."""
    return hashlib.sha256(data).hexdigest()
