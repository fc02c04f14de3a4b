"""Where a task's bytes come from, as far as the cluster has to be considerate: the servers behind its links."""

import re
from functools import lru_cache
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from .identity import PORTS
from .task import TaskSpec

DEFAULT_CONNECTIONS = 8
"""What a download opens to each of its origins if nobody says otherwise: aria2's `split` as the node sets it."""


_PLAIN = re.compile(r"(https?|s?ftp)://([a-z0-9.-]+)(?=[/?#]|\Z)")
"""Most links name their server so: that is read in a fifth of the time."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """A server that asked for fewer requests: it is left alone until then (ms since the epoch), by all nodes. `strikes`: how
    often in a row it asked."""

    until: int
    strikes: int


def origins_of(spec: TaskSpec) -> tuple[str, ...]:
    """`host:port` of each of its links, sorted; none for a magnet link."""
    return _origins_of(spec.urls)


@lru_cache(maxsize=8192)  # every change of a row asks for them again
def _origins_of(urls: tuple[str, ...]) -> tuple[str, ...]:
    found = [origin for url in urls if (origin := _origin_of(url))]
    return tuple(found if len(found) < 2 else sorted(set(found)))


def _origin_of(url: str) -> str:
    if plain := _PLAIN.match(url):
        return f"{plain[2]}:{PORTS[plain[1]]}"
    parts = urlsplit(url)
    name = parts.hostname
    if parts.scheme not in PORTS or not name:
        return ""
    host = f"[{name}]" if ":" in name else name
    return f"{host}:{parts.port or PORTS[parts.scheme]}"


def links_of(spec: TaskSpec) -> int:
    """A number that tells these links from others, never 0."""
    return crc32("\n".join(spec.urls).encode()) or 1


def wanted_connections(spec: TaskSpec) -> int:
    """How many it would open to one origin by itself."""
    split = _number(spec.options.get("split"), DEFAULT_CONNECTIONS)
    per_server = _number(spec.options.get("max-connection-per-server"), 16)
    return max(1, min(split, per_server, 16))


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else default
