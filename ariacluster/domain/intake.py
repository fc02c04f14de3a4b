"""What may be asked of the cluster: every field of a submitted task checked, and turned into a `TaskSpec`.

An error names the field and says what to do. Nothing here is repaired in silence.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

import msgspec

from . import selection
from .errors import InvalidInput
from .options import ALLOWED, REFUSED
from .task import Priority, TaskSpec

SCHEMES = ("http", "https", "ftp", "sftp", "magnet")
MAX_URLS = 64
MAX_URL_CHARS = 8_192
MAX_PATH_CHARS = 1_024
MAX_NAME_BYTES = 255
MAX_TAGS = 32
MAX_TAG_CHARS = 128
MAX_SPEC_BYTES = 24 * 1024
"""Of a task, encoded. Its row, with the end of its story, must fit one entry of the log (32 KB): so it travels between
clusters."""

MAX_HEADERS = 64
MAX_HEADER_CHARS = 4_096
MAX_OPTION_CHARS = 4_096
MAX_ATTEMPTS = 100
MAX_AHEAD_MS = 10 * 366 * 86_400_000
"""A task may be told to wait for ten years; a date further off is taken for a mistake, such as nanoseconds."""

LAST_MS = 4_102_444_800_000
"""The year 2100: what counts as now where nobody has a clock."""

DOCUMENTS = (".torrent", ".metalink", ".meta4")
"""What the path of a URL ends with when it leads to a list of downloads and not to a file."""

DIGESTS = {"md5": 32, "sha-1": 40, "sha-224": 56, "sha-256": 64, "sha-384": 96, "sha-512": 128}
"""Hash types that every aria2 build has, with their length in hex digits."""

RESERVED = ".ariacluster"
"""Names that begin so are the cluster's own in the download folder."""

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0\ud800-\udfff]*")

_PLAIN = re.compile(r"(https?|s?ftp)://[A-Za-z0-9.-]+(?:[/?#][!-~]*)?")
"""Most links are spelled so, and nothing is wrong with them."""

_CONTROL = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]")
"""What no line of text holds: control characters, and halves of characters, which cannot be encoded."""


def check(
    *,
    urls: Sequence[str],
    out: str | None = None,
    dir: str = "",
    options: Mapping[str, Any] | None = None,
    headers: Sequence[str] = (),
    checksum: str | None = None,
    priority: str = "normal",
    tags: Mapping[str, str] | None = None,
    prefer_tags: Mapping[str, str] | None = None,
    node: str | None = None,
    max_attempts: int | None = None,
    not_before: int = 0,
    now: int = 0,
) -> TaskSpec:
    """A checked spec, or `InvalidInput`. `options` may carry `out`, `dir` and `tags`, as the original's clients send.

    `not_before`: ms since the epoch, 0 for at once. `max_attempts` None: as the cluster says. `now`: the caller's clock (ms),
    0 if it has none.
    """
    given = dict(options or {})
    out_field = dir_field = ""
    if "out" in given and out is None:
        out, out_field = _text(given.pop("out"), "options.out"), "options."
    if "dir" in given and not dir:
        dir, dir_field = _text(given.pop("dir"), "options.dir"), "options."
    preferred = dict(prefer_tags or {})
    if "tags" in given:
        preferred |= _tags(given.pop("tags"), "options.tags")
    if max_attempts is not None and not 1 <= max_attempts <= MAX_ATTEMPTS:
        raise InvalidInput(f"Give a number from 1 to {MAX_ATTEMPTS}.", field="max_attempts")
    if not_before < 0:
        raise InvalidInput("Give milliseconds since 1970, or 0 to begin at once.", field="not_before")
    if not_before > (now or LAST_MS) + MAX_AHEAD_MS:
        raise InvalidInput("Give milliseconds since 1970, no more than ten years ahead.", field="not_before")
    if node is not None and (not node or len(node) > MAX_TAG_CHARS or _CONTROL.search(node)):
        raise InvalidInput("Give the name or the id of a node.", field="node")
    spec = TaskSpec(
        urls=_urls(urls),
        out=None if out is None else _name(out, f"{out_field}out"),
        dir=_folder(dir, f"{dir_field}dir"),
        options=_options(given),
        headers=_headers(headers),
        checksum=None if checksum is None else _checksum(checksum, urls),
        priority=_priority(priority),
        tags=_tags(tags or {}, "tags"),
        prefer_tags=_tags(preferred, "prefer_tags"),
        node=node,
        max_attempts=max_attempts or 0,
        not_before=not_before,
    )
    bounded(spec)
    return spec


def check_links(
    urls: Sequence[str], headers: Sequence[str] | None, spec: TaskSpec | None = None
) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """New links for a task that is there, by the rules of a submit, or `InvalidInput`. `headers` None: it keeps those it has.
    `spec`: what was asked of the task, if the whole is to be checked."""
    links = _urls(urls)
    fields = None if headers is None else _headers(headers)
    if spec is not None and spec.checksum is not None:
        _checksum(spec.checksum, links)
    known = spec or TaskSpec(urls=links)
    bounded(msgspec.structs.replace(known, urls=links, headers=known.headers if fields is None else fields))
    return links, fields


def bounded(spec: TaskSpec) -> None:
    """`InvalidInput` if it is too large for the log."""
    if len(msgspec.msgpack.encode(spec)) > MAX_SPEC_BYTES:
        raise InvalidInput(
            f"All that is said of one task may have {MAX_SPEC_BYTES // 1024} KB; give fewer mirrors.", field="urls"
        )


def _urls(urls: Sequence[str]) -> tuple[str, ...]:
    if not urls:
        raise InvalidInput("Give a url, or urls that are mirrors of one file.", field="url")
    if len(urls) > MAX_URLS:
        raise InvalidInput(f"At most {MAX_URLS} mirrors fit one task; these are {len(urls)}.", field="urls")
    kinds = set()
    for position, url in enumerate(urls):
        field = "url" if len(urls) == 1 else f"urls[{position}]"
        kinds.add(_url(url, field))
    if len(urls) > 1 and "magnet" in kinds:
        raise InvalidInput("A magnet link has no mirrors; submit it as a task of its own.", field="urls")
    return tuple(urls)


def _url(url: str, field: str) -> str:
    """Its scheme, if aria2 can fetch it."""
    if len(url) > MAX_URL_CHARS:
        raise InvalidInput(f"A URL may have {MAX_URL_CHARS} characters; this one has {len(url)}.", field=field)
    if plain := _PLAIN.fullmatch(url):
        return plain[1]
    if " " in url or _CONTROL.search(url):
        raise InvalidInput("A URL cannot hold spaces or control characters; write %20 for a space.", field=field)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidInput(f"This is no URL: {error}.", field=field) from None
    if parts.scheme not in SCHEMES:
        have = f"the scheme {parts.scheme!r}" if parts.scheme else "no scheme"
        raise InvalidInput(f"This URL has {have}; aria2 downloads {', '.join(SCHEMES)}.", field=field)
    if parts.scheme == "magnet":
        if "xt=urn:btih:" not in parts.query:
            raise InvalidInput("This magnet link names no torrent (xt=urn:btih:…).", field=field)
    elif not host:
        raise InvalidInput("This URL has no host.", field=field)
    return parts.scheme


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput("Give a string.", field=field)
    return value


def _name(out: str, field: str) -> str:
    """A file name: one path component."""
    drive = PureWindowsPath(out).drive
    if not out or out in (".", "..") or "/" in out or "\\" in out or not out.isprintable() or drive:
        raise InvalidInput("Give a file name without folders; name the folder in dir.", field=field)
    if len(out.encode()) > MAX_NAME_BYTES:
        raise InvalidInput(f"A file name may have {MAX_NAME_BYTES} bytes.", field=field)
    if out.startswith(RESERVED):
        raise InvalidInput(f"Names that begin with {RESERVED} are reserved for the cluster.", field=field)
    return out


def _folder(path: str, field: str) -> str:
    """A folder inside the download folder, normalised; empty for the folder itself."""
    if not path:
        return ""
    if len(path) > MAX_PATH_CHARS:
        raise InvalidInput(f"A folder path may have {MAX_PATH_CHARS} characters.", field=field)
    if "\\" in path or (path and not path.isprintable()):
        raise InvalidInput("Write the folder with / and printable characters only.", field=field)
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or path.startswith("~") or PureWindowsPath(str(pure)).drive:
        raise InvalidInput(
            "The folder must lie inside the node's download folder: give a relative path without '..'.", field=field
        )
    if any(len(part.encode()) > MAX_NAME_BYTES or part.startswith(RESERVED) for part in pure.parts):
        raise InvalidInput("A part of this path is too long or is reserved for the cluster.", field=field)
    return "" if str(pure) == "." else str(pure)


def _options(options: Mapping[str, Any]) -> dict[str, str]:
    checked = {}
    for key, value in options.items():
        field = f"options.{key}"
        if key in REFUSED:
            raise InvalidInput(f"This option is not for a task: {REFUSED[key]}", field=field)
        if key not in ALLOWED:
            raise InvalidInput("This is no option of aria2 that a task may set.", field=field)
        if isinstance(value, bool):
            value = "true" if value else "false"
        if not isinstance(value, str | int | float):
            raise InvalidInput("Give a string, a number or true/false.", field=field)
        if isinstance(value, int) and value.bit_length() > 64:  # before str(), which refuses to write huge ones
            raise InvalidInput("This number is too large.", field=field)
        text = str(value)
        if len(text) > MAX_OPTION_CHARS or _CONTROL.search(text):
            raise InvalidInput(f"One line of at most {MAX_OPTION_CHARS} characters, please.", field=field)
        if key == selection.OPTION:
            selection.ranges(text)
        checked[key] = text
    return checked


def _headers(headers: Sequence[str]) -> tuple[str, ...]:
    if len(headers) > MAX_HEADERS:
        raise InvalidInput(f"At most {MAX_HEADERS} headers fit one task.", field="headers")
    for position, header in enumerate(headers):
        if len(header) > MAX_HEADER_CHARS or not _HEADER.fullmatch(header):
            raise InvalidInput("Write a header as 'Name: value', on one line.", field=f"headers[{position}]")
    return tuple(headers)


def is_document(url: str) -> bool:
    """Does it lead to a torrent, a magnet or a Metalink? What can be said of that is not about the download."""
    parts = urlsplit(url)
    return parts.scheme in ("magnet", "urn") or parts.path.lower().endswith(DOCUMENTS)


def _checksum(checksum: str, urls: Sequence[str]) -> str:
    """`TYPE=DIGEST`, lower case. `sha256` is understood as `sha-256`."""
    kind, _, digest = checksum.strip().lower().partition("=")
    kind = re.sub(r"^sha(\d)", r"sha-\1", kind)
    if DIGESTS.get(kind) != len(digest) or not re.fullmatch(r"[0-9a-f]+", digest):
        raise InvalidInput(f"Write it as TYPE=HEX, e.g. sha-256=…; types: {', '.join(DIGESTS)}.", field="checksum")
    if any(map(is_document, urls)):
        # aria2 would hold it against the document, not against what the document names.
        raise InvalidInput(
            "A torrent or Metalink document carries its own checksums; leave this out.", field="checksum"
        )
    return f"{kind}={digest}"


def _priority(name: str) -> Priority:
    try:
        return Priority[name.upper()]
    except KeyError:
        known = ", ".join(priority.name.lower() for priority in Priority)
        raise InvalidInput(f"Priorities are {known}.", field="priority") from None


def _tags(tags: Any, field: str) -> dict[str, str]:
    if not isinstance(tags, Mapping) or len(tags) > MAX_TAGS:
        raise InvalidInput(f"Give at most {MAX_TAGS} tags as an object of strings.", field=field)
    for key, value in tags.items():
        fine = isinstance(key, str) and isinstance(value, str) and key and "=" not in key
        if not fine or max(len(key), len(value)) > MAX_TAG_CHARS or _CONTROL.search(key + value):
            raise InvalidInput(
                f"Give strings of at most {MAX_TAG_CHARS} characters, the key without '='.", field=f"{field}.{key}"
            )
    return dict(tags)
