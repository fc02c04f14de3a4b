"""Snapshots on disk: written aside, synced, renamed, the folder synced; sent and received in pieces; always read whole.

A file is a header with the meta, then chunks, then an end mark with their count; without that it is incomplete. Every CRC
continues the one before it: a chunk that is damaged, misplaced, or from a like snapshot of another node, fits nowhere.

A snapshot bears its index in its name, and the highest counts. So one that this node writes in a thread, while a leader's
newer one arrives, cannot take its place. It must have its name on disk before the log is cut or reset on account of it:
- killed before the rename: a leftover, removed at the next start; the log is whole and begins where it began;
- renamed, and the folder not synced: it is there or not, and the log still fits to the one before as well, for older ones
  are removed last; a start syncs the folder before anybody builds on what it found;
- killed before older ones are removed, or the removal undone: the next start removes them.
"""

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from ariacluster.domain.errors import StartFailed

from .disk import Disk, DiskFailed, File, Reader
from .segments import WHAT_TO_DO

log = structlog.get_logger()

STEP_BYTES = 1024 * 1024
"""Written in one step, at least one chunk: what a step may hold up."""

SYNC_BYTES = 4 * 1024 * 1024
"""Synced after so many, that the last sync of a large file does not stall the log's."""

MAX_CHUNK_BYTES = 16 * 1024 * 1024
"""A chunk is held in memory; a damaged length must not ask for more."""

MAGIC: Final = b"ARIASNP"
FORMAT: Final = 1
HEADER: Final = struct.Struct("<7sBI")
"""Magic, format, length of the meta; the meta in msgpack and a CRC of all this follow."""

CHUNK: Final = struct.Struct("<II")
"""Length and CRC of a chunk. A length of 0 is the end mark: how many chunks there were, and a CRC, follow."""

_LENGTH: Final = struct.Struct("<I")
_CRC: Final = struct.Struct("<I")
_MAX_META_BYTES: Final = 64 * 1024
_NAME: Final = re.compile(r"snapshot-(\d{12})")
_LEFTOVER: Final = re.compile(r"snapshot.*\.(tmp|part)")
_PART: Final = "snapshot.part"


class SnapshotMeta(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry that is covered; the voters as of it, and the index of the entry that made them so."""

    index: int
    term: int
    voters: tuple[str, ...]
    config_index: int


class Snapshots:
    """Those of one node. Owned by one thread; `write` alone may run in another, and touches nothing but its own file."""

    def __init__(self, disk: Disk) -> None:
        """Verify the one that is there, wholly. `StartFailed` if it is damaged or cannot be read."""
        self.latest: SnapshotMeta | None = None
        self.size = 0
        """Of the latest's file, in bytes."""
        self._disk = disk
        self._incoming: _Incoming | None = None
        try:
            names = disk.names()
            here = [name for name in names if _NAME.fullmatch(name)]
            if here:
                self.latest = self._verify(here[-1])
                self.size = disk.size(here[-1])
            disk.sync_folder()  # the rename may be in the kernel's cache only
            for name in (*here[:-1], *filter(_LEFTOVER.fullmatch, names)):
                disk.remove(name)
        except OSError as error:
            raise StartFailed(
                f"The snapshot in {disk.folder} cannot be opened: {error.strerror or error}. Free or replace the disk, or "
                "let this user read and write that folder; then start the node again."
            ) from error
        except _Damaged as error:
            raise StartFailed(f"{error} {WHAT_TO_DO}") from error

    # Made here.

    def write(self, meta: SnapshotMeta, chunks: Iterable[bytes]) -> Iterator[None]:
        """Write one in steps; when it is exhausted, file and name are on disk. Then `adopt` it.

        Raises `OSError`, what `chunks` raises, and `ValueError` for a chunk that is too large: nothing has changed then.
        """
        name = _name(meta.index)
        partial = name + ".tmp"
        file = self._disk.create(partial)
        try:
            unsynced = 0
            for piece in _encoded(meta, chunks):
                file.write(piece)
                unsynced += len(piece)
                if unsynced >= SYNC_BYTES:
                    file.sync()
                    unsynced = 0
                yield
            file.sync()
            yield
            self._disk.rename(partial, name)
            self._disk.sync_folder()
        except Exception:
            with suppress(OSError):
                self._disk.remove(partial)
            raise
        finally:
            file.close()

    def adopt(self, meta: SnapshotMeta) -> None:
        """What was written or received, is now the latest, unless that is newer; older ones are removed."""
        if self.latest is None or meta.index >= self.latest.index:
            try:
                self.size = self._disk.size(_name(meta.index))
            except OSError as error:
                raise self._failed("read", error) from error
            self.latest = meta
        for name in self._disk.names():
            match = _NAME.fullmatch(name)
            if match and int(match[1]) < self.latest.index:
                try:
                    self._disk.remove(name)
                except OSError as error:
                    log.warning("an old snapshot was not removed", file=name, error=repr(error))

    # Read and sent.

    def chunks(self) -> Iterator[bytes]:
        """Of what is the latest now, as they were given to `write`, each verified; may be read in another thread.

        Raises `DiskFailed` if it cannot be opened, or while it is read.
        """
        outgoing = self.outgoing()
        return self._read(outgoing, str(self._disk.folder / _name(outgoing.meta.index)))

    def _read(self, outgoing: "Outgoing", path: str) -> Iterator[bytes]:
        try:
            _, at, crc = _meta(outgoing.reader, path)
            yield from _chunks(outgoing.reader, path, at, crc)
        except OSError as error:
            raise self._failed("read", error) from error
        except _Damaged as error:
            raise DiskFailed(f"{error} {WHAT_TO_DO}") from error
        finally:
            outgoing.close()

    def outgoing(self) -> "Outgoing":
        """The latest, held open to be sent. A newer one does not disturb it. `DiskFailed` if it cannot be opened."""
        assert self.latest is not None, "there is no snapshot"
        try:
            return Outgoing(self.latest, self._disk.open_read(_name(self.latest.index)))
        except OSError as error:
            raise self._failed("read", error) from error

    # Received.

    def receive(self, meta_index: int, meta_term: int, size: int, offset: int, data: bytes) -> int:
        """Take a piece of a leader's; answers how many bytes of that snapshot are held now. 0: begin again.

        A piece that does not begin where the held bytes end, or reaches beyond `size`, is not taken. The first piece of
        another snapshot puts an end to the one that was being received. Raises `DiskFailed`.
        """
        of = (meta_index, meta_term, size)
        try:
            if self._incoming is None or self._incoming.of != of:
                if offset:
                    return 0
                self._forget()
                self._incoming = _Incoming(of, self._disk.create(_PART))
            incoming = self._incoming
            if offset == incoming.held and offset + len(data) <= size:
                incoming.take(data)
            return incoming.held
        except OSError as error:
            raise self._failed("written", error) from error

    def received(self) -> SnapshotMeta | None:
        """The meta of one that is here whole: verified, its file and name on disk. Then `adopt` it, then reset the log.

        None while bytes are lacking; also if it is damaged, which forgets it. Raises `DiskFailed`.
        """
        incoming = self._incoming
        if incoming is None or incoming.held < incoming.of[2]:
            return None
        try:
            incoming.file.sync()
            try:
                meta = self._verify(_PART)
            except _Damaged as error:
                log.warning("a snapshot was received damaged, and forgotten", error=str(error))
                meta = None
            if meta is None or (meta.index, meta.term) != incoming.of[:2]:
                self._forget()
                return None
            self._incoming = None
            incoming.file.close()
            self._disk.rename(_PART, _name(meta.index))
            self._disk.sync_folder()
        except OSError as error:
            raise self._failed("written", error) from error
        except StartFailed as error:  # the leader is of a later version
            raise DiskFailed(error.detail) from error
        return meta

    def _forget(self) -> None:
        if self._incoming is not None:
            self._incoming.file.close()
            self._incoming = None
            self._disk.remove(_PART)

    def _verify(self, name: str) -> SnapshotMeta:
        path = str(self._disk.folder / name)
        reader = self._disk.open_read(name)
        try:
            meta, at, crc = _meta(reader, path)
            for _ in _chunks(reader, path, at, crc):
                pass
        finally:
            reader.close()
        return meta

    def _failed(self, what: str, error: OSError) -> DiskFailed:
        return DiskFailed(
            f"A snapshot in {self._disk.folder} could not be {what}: {error.strerror or error}. The node ends. Free or "
            "replace the disk, then start it again."
        )


class Outgoing:
    """A snapshot's file, held open."""

    def __init__(self, meta: SnapshotMeta, reader: Reader) -> None:
        self.meta = meta
        self.size = reader.size
        self.reader = reader

    def read(self, offset: int, n: int) -> bytes:
        """`n` bytes from there; fewer at the end only. Raises `OSError`."""
        return self.reader.pread(offset, n)

    def close(self) -> None:
        """Idempotent."""
        self.reader.close()


class _Incoming:
    """A file that is being received: of which snapshot (index, term, size), and how much of it is here."""

    def __init__(self, of: tuple[int, int, int], file: File) -> None:
        self.of = of
        self.file = file
        self.held = 0
        self._unsynced = 0

    def take(self, data: bytes) -> None:
        self.file.write(data)
        self.held += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            self.file.sync()
            self._unsynced = 0


# The file.


class _Damaged(Exception):
    """Says which file, and where."""


def _name(index: int) -> str:
    return f"snapshot-{index:012}"


def _encoded(meta: SnapshotMeta, chunks: Iterable[bytes]) -> Iterator[bytearray]:
    """The file in pieces of about `STEP_BYTES`."""
    encoded = msgspec.msgpack.encode(meta)
    piece = bytearray(HEADER.pack(MAGIC, FORMAT, len(encoded)) + encoded)
    crc, count = zlib.crc32(piece), 0
    piece += _CRC.pack(crc)
    for chunk in chunks:
        if len(chunk) > MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk of {len(chunk)} bytes is larger than {MAX_CHUNK_BYTES}")
        if chunk:
            crc = _chunk_crc(chunk, crc)
            count += 1
            piece += CHUNK.pack(len(chunk), crc)
            piece += chunk
        if len(piece) >= STEP_BYTES:
            yield piece
            piece = bytearray()
    end = _LENGTH.pack(0) + _LENGTH.pack(count)
    piece += end + _CRC.pack(zlib.crc32(end, crc))
    yield piece


def _chunk_crc(chunk: bytes, crc: int) -> int:
    return zlib.crc32(chunk, zlib.crc32(_LENGTH.pack(len(chunk)), crc))


def _meta(reader: Reader, path: str) -> tuple[SnapshotMeta, int, int]:
    """The meta, and where the chunks begin with which CRC. Raises `StartFailed` if it is of another version."""
    head = reader.pread(0, HEADER.size)
    if len(head) == HEADER.size and head.startswith(MAGIC):
        _, version, length = HEADER.unpack(head)
        if length <= _MAX_META_BYTES:
            encoded = reader.pread(HEADER.size, length + _CRC.size)
            crc = zlib.crc32(encoded[:length], zlib.crc32(head))
            if encoded[length:] == _CRC.pack(crc):
                if version != FORMAT:
                    raise StartFailed(
                        f"{path} has format {version}, and this version of Aria Cluster reads format {FORMAT}. "
                        "Install a version that reads it."
                    )
                with suppress(msgspec.DecodeError):
                    meta = msgspec.msgpack.decode(encoded[:length], type=SnapshotMeta)
                    return meta, HEADER.size + len(encoded), crc
    raise _Damaged(f"{path} is damaged at byte 0.")


def _chunks(reader: Reader, path: str, at: int, crc: int) -> Iterator[bytes]:
    count = 0
    while len(head := reader.pread(at, CHUNK.size)) == CHUNK.size:
        length, chunk_crc = CHUNK.unpack(head)
        if length == 0:
            end = head + _CRC.pack(zlib.crc32(head, crc))
            if chunk_crc == count and reader.pread(at, len(end) + 1) == end:  # and no more
                return
            break
        if length > MAX_CHUNK_BYTES:
            break
        chunk = reader.pread(at + CHUNK.size, length)
        crc = _chunk_crc(chunk, crc)
        if len(chunk) != length or crc != chunk_crc:
            break
        yield chunk
        count += 1
        at += CHUNK.size + length
    raise _Damaged(f"{path} is damaged at byte {at}.")
