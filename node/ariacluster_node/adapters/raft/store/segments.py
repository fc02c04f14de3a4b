"""The files of the log: records in a chain of segments, and how they are read back.

A segment begins with a header and record 0. That names the segment before it and how many bytes of that one count, and
tells term, vote and commit index. These are written and synced under another name; the file gets its own afterwards, and
the folder is synced before record 1 is written. Every record is written only after the one before it has reached the disk.
Hence, where one of these does not hold, the disk has lost what it had confirmed, and the node must not start:
- a segment has a good header and a good record 0: no kill and no power cut leaves the name without them;
- a later record of the newest one that cannot be read has no good one behind it: it is the torn end, promised to nobody;
- one that is not the newest is good to the last byte that counts;
- the one before the newest is there while that has record 0 alone: it is removed only once there is a record 1.
"""

import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import msgspec
import structlog

from ariacluster.domain.errors import StartFailed

from .disk import Data, Disk

log = structlog.get_logger()

MAGIC: Final = b"ARIALOG"
FORMAT: Final = 1
HEADER: Final = struct.Struct("<7sBQQI")
"""Magic, format, number, salt, CRC of these. The salt is in every CRC of the file: what an older file left in the same
blocks of the disk, or a command that looks like a record, is then no record."""

MARKER: Final = b"\xffREC"
RECORD: Final = struct.Struct("<4sQIII")
"""Marker, salt, number within the segment, length of the body, CRC of all but the marker, and of the segment's number."""

Entry = tuple[bytes, int, int]
"""Command, index, term: as the library holds it, and compares them."""

WHAT_TO_DO: Final = (
    "Check the disk. Bring the file back as it was last; or, if the other nodes are well, move this node's data folder "
    "away and start it on another port, as a new node."
)


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known beside the entries. `before`, in record 0: number and bytes that count of the segment before."""

    term: int = 0
    vote: str | None = None
    commit: int = 0
    before: tuple[int, int] | None = None


Change = Entry | int | State
"""An added entry; the index from which on all entries are gone; or what is known from now on."""

_CRC: Final = struct.Struct("<I")
_SEED: Final = struct.Struct("<QQII")
_encoder = msgspec.msgpack.Encoder()
_changes = msgspec.msgpack.Decoder(list[Change])


class Segment(NamedTuple):
    """What was read of one file: its records, and where each of them begins."""

    number: int
    records: list[list[Change]]
    starts: list[int]

    @property
    def before(self) -> tuple[int, int] | None:
        """The segment before it and how many bytes of that count; None for the first."""
        return next((change.before for change in self.records[0] if isinstance(change, State)), None)


PARTIAL: Final = ".tmp"
"""Ends the name of a segment that is being made. Such a file is never read, and may go at any time."""

_NAME: Final = re.compile(rf"log-(\d{{12}})(?:{re.escape(PARTIAL)})?")


def name_of(number: int) -> str:
    return f"log-{number:012}"


def number_of(name: str) -> int:
    """Of a segment, or of one that is being made; 0 if it is the name of neither."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else 0


def refuse(what: str) -> NoReturn:
    raise StartFailed(f"{what} {WHAT_TO_DO}")


def first_bytes(changes: Sequence[Change], number: int, salt: int) -> bytes:
    """Header and record 0."""
    head = HEADER.pack(MAGIC, FORMAT, number, salt, 0)[: -_CRC.size]
    return head + _CRC.pack(zlib.crc32(head)) + record_bytes(changes, number, salt, 0)


def record_bytes(changes: Sequence[Change], number: int, salt: int, count: int) -> bytearray:
    """Record `count` of segment `number`."""
    record = bytearray(RECORD.size)
    _encoder.encode_into(changes, record, RECORD.size)
    with memoryview(record)[RECORD.size :] as body:
        RECORD.pack_into(record, 0, MARKER, salt, count, len(body), _crc(body, number, salt, count))
    return record


def read_chain(disk: Disk, names: list[str]) -> list[Segment]:
    """The segments that count, oldest first; none if there are no `names`. Raises `StartFailed` if one is damaged."""
    if not names:
        return []
    chain = [_read(disk, names[-1], None)]
    while (before := chain[-1].before) is not None and name_of(before[0]) in names:
        chain.append(_read(disk, name_of(before[0]), before[1]))
    if before is not None and chain[-1] is chain[0] and len(chain[0].records) == 1:
        refuse(
            f"{disk.folder / names[-1]} is damaged behind its first record, or {name_of(before[0])} beside it is gone."
        )
    return chain[::-1]


def _read(disk: Disk, name: str, end: int | None) -> Segment:
    """One file up to `end`, or up to its torn end if that is None."""
    path, number, data = disk.folder / name, number_of(name), disk.read(name)[:end]
    salt = _salt(path, data, number)
    segment, at = Segment(number, [], []), HEADER.size
    while (body := _body(data, at, number, salt, len(segment.records))) is not None:
        try:
            segment.records.append(_changes.decode(body))
        except msgspec.DecodeError:
            refuse(f"{path} holds at byte {at} what this version of Aria Cluster cannot read.")
        segment.starts.append(at)
        at += RECORD.size + len(body)
    torn = end is None and not _goes_on(data, at, number, salt, len(segment.records))
    if not segment.records or (at != end and not torn):
        _damaged(path, at)
    if at < len(data):
        log.info("the torn end of the log is passed over", file=str(path), at=at, bytes=len(data) - at)
    return segment


def _goes_on(data: bytes, at: int, number: int, salt: int, count: int) -> bool:
    """Whether behind that place, where record `count` should begin, a later one is good."""
    later = data.find(MARKER, at)
    while later >= 0 and _body(data, later, number, salt, count + 1, at_least=True) is None:
        later = data.find(MARKER, later + 1)
    return later >= 0


def _damaged(path: Path, at: int) -> NoReturn:
    refuse(f"{path} is damaged at byte {at}, amid what had been written.")


def _salt(path: Path, data: bytes, number: int) -> int:
    """From the header. Raises `StartFailed` if that is damaged, or of another version."""
    if len(data) < HEADER.size:
        _damaged(path, 0)
    magic, version, its_number, salt, crc = HEADER.unpack_from(data)
    if magic != MAGIC or its_number != number or crc != zlib.crc32(data[: HEADER.size - _CRC.size]):
        _damaged(path, 0)
    if version != FORMAT:
        raise StartFailed(
            f"{path} has format {version}, and this version of Aria Cluster reads format {FORMAT}. "
            "Install a version that reads it."
        )
    return int(salt)


def _body(data: bytes, at: int, number: int, salt: int, count: int, *, at_least: bool = False) -> memoryview | None:
    """The body of record `count` (or one of a higher count, if `at_least`) if it begins there."""
    if at + RECORD.size > len(data):
        return None
    marker, its_salt, its_count, length, crc = RECORD.unpack_from(data, at)
    fits = its_count >= count if at_least else its_count == count
    if marker != MARKER or its_salt != salt or not fits:
        return None
    body = memoryview(data)[at + RECORD.size : at + RECORD.size + length]
    return body if len(body) == length and _crc(body, number, salt, its_count) == crc else None


def _crc(body: Data, number: int, salt: int, count: int) -> int:
    return zlib.crc32(body, zlib.crc32(_SEED.pack(number, salt, count, len(body))))
