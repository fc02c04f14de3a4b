"""What a .torrent says, read strictly (BEP 3) and within bounds, for it comes from strangers.

Reading may take a tenth of a second for the largest that is taken: it belongs in a thread.
"""

import hashlib
from typing import NamedTuple, TypeAlias

from .errors import InvalidInput

Value: TypeAlias = "int | bytes | list[Value] | dict[bytes, Value] | None"

MAX_DEPTH = 16
"""Levels of lists and dictionaries; a torrent needs five."""

MAX_VALUES = 500_000
"""Values in one document: a hundred thousand files need four each. Above it, memory would grow to many times the document."""

MAX_DIGITS = 19
"""Of a number: what fits 63 bits."""

SHA1_BYTES = 20


class TorrentFile(NamedTuple):
    """Path below the torrent's own folder, with slashes; length in bytes."""

    path: str
    length: int


class Torrent(NamedTuple):
    """`info_hash` in 40 hex digits; `size` in bytes of all files together. `single`: it is one file, called `name`; else they
    lie in a folder of that name."""

    name: str
    info_hash: str
    size: int
    files: tuple[TorrentFile, ...]
    single: bool
    piece_length: int
    created: int = 0
    comment: str = ""


def read_torrent(data: bytes) -> Torrent:
    """`InvalidInput`, with a sentence that says what is wrong, for whatever aria2 could not download safely."""
    reader = Bencode(data)
    top = reader.read()
    info = top.get(b"info") if isinstance(top, dict) else None
    if not isinstance(top, dict) or not isinstance(info, dict):
        raise _wrong("it names no content (the key info)")
    if b"pieces" not in info and (b"meta version" in info or b"piece layers" in top):
        raise _wrong(
            "it is one of version 2 alone, which aria2 cannot download; use the hybrid or the version 1 torrent"
        )
    name = _component(info.get(b"name.utf-8", info.get(b"name")), "name")
    files, single = _files(info, name)
    size = sum(file.length for file in files)
    piece_length, pieces = info.get(b"piece length"), info.get(b"pieces")
    if not isinstance(piece_length, int) or piece_length <= 0:
        raise _wrong("the length of its pieces is no positive number")
    if not isinstance(pieces, bytes) or len(pieces) != -(-size // piece_length) * SHA1_BYTES:
        raise _wrong("its checksums (the key pieces) do not fit the size of its files")
    created, comment = top.get(b"creation date"), top.get(b"comment")
    return Torrent(
        name=name,
        info_hash=hashlib.sha1(data[slice(*reader.info)], usedforsecurity=False).hexdigest(),
        size=size,
        files=files,
        single=single,
        piece_length=piece_length,
        created=created if isinstance(created, int) and created > 0 else 0,
        comment=comment.decode(errors="replace")[:1000] if isinstance(comment, bytes) else "",
    )


def _files(info: dict[bytes, Value], name: str) -> tuple[tuple[TorrentFile, ...], bool]:
    listed = info.get(b"files")
    if listed is None:
        return (TorrentFile(name, _length(info.get(b"length"))),), True
    if not isinstance(listed, list) or not listed:
        raise _wrong("its list of files is empty or none")
    files = []
    for entry in listed:
        if not isinstance(entry, dict):
            raise _wrong("its list of files holds something else")
        parts = entry.get(b"path.utf-8", entry.get(b"path"))
        if not isinstance(parts, list) or not parts:
            raise _wrong("one of its files has no path")
        path = "/".join(_component(part, "path of a file") for part in parts)
        files.append(TorrentFile(path, _length(entry.get(b"length"))))
    return tuple(files), False


def _length(value: Value) -> int:
    if not isinstance(value, int) or value < 0:
        raise _wrong("the length of a file is no number")
    return value


def _component(value: Value, what: str) -> str:
    """One part of a path, which cannot lead out of its folder."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else ""
    if text in ("", ".", "..") or "/" in text or "\\" in text or "\0" in text:
        raise _wrong(f"the {what} is missing or would leave its folder")
    return text


def _wrong(what: str) -> InvalidInput:
    return InvalidInput(f"This torrent cannot be used: {what}.", field="torrent")


class Bencode:
    """Reads one document. `info`: where the value of the outermost key `info` begins and ends, as `read` found it: its digest
    is of those bytes, not of what they mean."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._left = MAX_VALUES
        self.info = (0, 0)

    def read(self) -> Value:
        """The whole document, with nothing behind it."""
        value = self._value(0)
        if self._at != len(self._data):
            raise self._broken("something follows its end")
        return value

    def _value(self, depth: int) -> Value:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise self._broken("it is nested too deeply or has too many parts")
        match self._data[self._at : self._at + 1]:
            case b"i":
                return self._number(self._at + 1, b"e")
            case b"l":
                self._at += 1
                items = []
                while not self._ended():
                    items.append(self._value(depth + 1))
                return items
            case b"d":
                return self._dictionary(depth)
            case _:
                return self._string()

    def _dictionary(self, depth: int) -> dict[bytes, Value]:
        self._at += 1
        found: dict[bytes, Value] = {}
        while not self._ended():
            key = self._string()
            if key in found:
                raise self._broken("a key stands in it twice")
            begin = self._at
            found[key] = self._value(depth + 1)
            if depth == 0 and key == b"info":
                self.info = (begin, self._at)
        return found

    def _ended(self) -> bool:
        if self._data[self._at : self._at + 1] != b"e":
            return False
        self._at += 1
        return True

    def _string(self) -> bytes:
        length = self._number(self._at, b":")
        end = self._at + length
        if length < 0 or end > len(self._data):
            raise self._broken("it ends too early")
        text = self._data[self._at : end]
        self._at = end
        return text

    def _number(self, begin: int, until: bytes) -> int:
        """From `begin` up to the sign that ends it."""
        end = self._data.find(until, begin, begin + MAX_DIGITS + 2)
        digits = self._data[begin:end] if end > 0 else b""
        if not digits.removeprefix(b"-").isdigit():
            raise self._broken("it is no bencoded document, or damaged")
        self._at = end + 1
        return int(digits)

    def _broken(self, what: str) -> InvalidInput:
        return _wrong(f"{what} (at byte {self._at})")
