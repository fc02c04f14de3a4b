"""What a Metalink says (RFC 5854, and version 3 before it), read within bounds, for it comes from strangers.

The document is read as a stream and never built as a tree; what declares entities or a document type is refused. Reading may
take a few tenths of a second for the largest that is taken: it belongs in a thread.
"""

from pathlib import PurePosixPath
from typing import NamedTuple
from xml.parsers import expat

from .errors import InvalidInput
from .intake import DIGESTS, SCHEMES

V4 = "urn:ietf:params:xml:ns:metalink"
V3 = "http://www.metalinker.org/"

MAX_DEPTH = 16
MAX_ELEMENTS = 200_000
MAX_FILES = 10_000
MAX_TEXT = 8_192
"""Characters of one element; of those that are read none needs more."""

LAST = 999_999
"""The priority of a link that names none (RFC 5854, section 4.2.16.1)."""


class MetalinkFile(NamedTuple):
    """`urls`: what leads to the file itself, the most preferred first. `checksum`: `TYPE=HEX`, the strongest that aria2 knows.
    `documents`: torrents of the same file. `size` in bytes, 0 if it does not say."""

    name: str
    size: int = 0
    urls: tuple[str, ...] = ()
    checksum: str | None = None
    documents: tuple[str, ...] = ()


class Metalink(NamedTuple):
    files: tuple[MetalinkFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together, as far as they say."""
        return sum(file.size for file in self.files)


def read_metalink(data: bytes) -> Metalink:
    """`InvalidInput`, with a sentence that says what is wrong, for whatever aria2 could not download safely."""
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.EntityDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise _wrong(f"it is no XML, or damaged: {expat.ErrorString(error.code)} in line {error.lineno}") from None
    except (LookupError, ValueError):  # of an encoding that is none
        raise _wrong("its encoding is not known") from None
    if not reader.recognised:
        raise _wrong("it is XML, but no Metalink")
    if not reader.files:
        raise _wrong("it names no file")
    return Metalink(tuple(reader.files))


class _Reader:
    """Takes the events of the parser. Elements of other namespaces are passed over."""

    def __init__(self) -> None:
        self.recognised = False
        self.files: list[MetalinkFile] = []
        self._path: list[str] = []
        self._elements = 0
        self._text: list[str] = []
        self._length = 0
        self._attributes: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        self._name = ""
        self._size = 0
        self._urls: list[tuple[int, int, str]] = []
        self._documents: list[tuple[int, int, str]] = []
        self._digests: dict[str, str] = {}

    def doctype(self, *_: object) -> None:
        raise _wrong("it declares a document type or entities, which a Metalink does not need")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._path) >= MAX_DEPTH:
            raise _wrong("it is nested too deeply or has too many parts")
        space, _, local = name.rpartition(" ")
        known = space in (V3, V4)
        if not self._path and known and local == "metalink":
            self.recognised = True
        self._path.append(local if known else "")
        self._text, self._length, self._attributes = [], 0, attributes
        if known and local == "file":
            if len(self.files) == MAX_FILES:
                raise _wrong(f"it names more than {MAX_FILES:,} files")
            self._begin()
            self._name = _path(attributes.get("name", ""))

    def text(self, text: str) -> None:
        self._length += len(text)
        if self._length <= MAX_TEXT:
            self._text.append(text)

    def end(self, _name: str) -> None:
        local, text, attributes = self._path.pop(), "".join(self._text).strip(), self._attributes
        inside = self._path[-1] if self._path else ""
        self._text, self._attributes = [], {}
        if "file" not in self._path and local != "file":
            return
        match inside, local:
            case _, "file":
                self._end_file()
            case "file", "size":
                if not text.isascii() or not text.isdigit() or len(text) > 18:
                    raise _wrong(f"the size of {self._name} is no number")
                self._size = int(text)
            case ("file", "url") | ("resources", "url"):
                self._link(text, attributes)
            case "file", "metaurl" if attributes.get("mediatype") == "torrent":
                self._documents.append((_rank(attributes), len(self._documents), text))
            case ("file", "hash") | ("verification", "hash"):
                kind = attributes.get("type", "").lower()
                kind = f"sha-{kind[3:]}" if kind.startswith("sha") and kind[3:].isdigit() else kind
                if DIGESTS.get(kind) == len(text) and set(text.lower()) <= set("0123456789abcdef"):
                    self._digests[kind] = text.lower()

    def _link(self, url: str, attributes: dict[str, str]) -> None:
        if self._length > MAX_TEXT or any(sign <= " " for sign in url):
            raise _wrong(f"a link of {self._name} is too long, or none")
        if attributes.get("type", "").lower() == "bittorrent":
            self._documents.append((_rank(attributes), len(self._documents), url))
        elif url.partition("://")[0].lower() in SCHEMES:
            self._urls.append((_rank(attributes), len(self._urls), url))

    def _end_file(self) -> None:
        if not self._urls and not self._documents:
            raise _wrong(f"it has no link for {self._name} that aria2 can follow")
        kind = max(self._digests, key=lambda known: DIGESTS[known], default=None)
        self.files.append(
            MetalinkFile(
                name=self._name,
                size=self._size,
                urls=tuple(url for _, _, url in sorted(self._urls)),
                checksum=f"{kind}={self._digests[kind]}" if kind else None,
                documents=tuple(url for _, _, url in sorted(self._documents)),
            )
        )
        self._begin()


def _rank(attributes: dict[str, str]) -> int:
    """Smaller is preferred: version 4 counts `priority` up from 1, version 3 `preference` down from 100."""
    priority, preference = attributes.get("priority", ""), attributes.get("preference", "")
    if priority.isascii() and priority.isdigit() and len(priority) <= 6:
        return int(priority)
    if preference.isascii() and preference.isdigit() and len(preference) <= 3:
        return 100 - int(preference)
    return LAST


def _path(name: str) -> str:
    """The name of a file, which may have folders (RFC 5854, section 4.1.2.1), and stays inside."""
    pure = PurePosixPath(name)
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\\" in name or not name.isprintable():
        raise _wrong("the name of a file is missing or would leave its folder")
    return str(pure)


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(f"This Metalink cannot be used: {what}.", field="metalink")
