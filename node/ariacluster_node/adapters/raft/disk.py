"""What lies on disk beside the library's journal: term and vote, and the last snapshot. Both written whole, synced, renamed.

The library pickles these two; here they are msgpack, so that nothing that was read from a file can be executed.
"""

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import msgspec
import pysyncobj.journal
import structlog
from pysyncobj import SERIALIZER_STATE
from pysyncobj.node import TCPNode

log = structlog.get_logger()

PIECE_BYTES = 64 * 1024
"""A snapshot travels in messages of this size."""

Entry = tuple[bytes, int, int]
"""A log entry as the library holds it: command, index, term. It compares them as tuples."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state after `last`, and what the library needs to go on from there: two entries and the voters."""

    v: int = 1
    last: Entry
    before: Entry
    voters: tuple[str, ...]
    state: bytes


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file by one that has reached the disk: a kill leaves the old or the new one, never a half."""
    partial = path.with_name(path.name + ".tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def read_snapshot(path: Path) -> Snapshot | None:
    """None if there is none. Raises `OSError` or `msgspec.DecodeError` if it cannot be read."""
    if not path.exists():
        return None
    return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)


class Meta:
    """Term, vote and commit index beside the journal: stands in for the library's `MetaStorer`, which pickles them."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def getMeta(self) -> dict[str, Any]:
        """Empty if there is none; raises `msgspec.DecodeError` if it cannot be read: a forgotten vote may be cast twice."""
        if not self._path.exists():
            return {}
        return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, int | str | None])

    def storeMeta(self, meta: dict[str, Any]) -> None:
        write_whole(self._path, msgspec.msgpack.encode(meta))

    def getPath(self) -> str:
        return str(self._path)


pysyncobj.journal.MetaStorer = Meta  # the journal offers no other way in


class Snapshots:
    """Makes, keeps, sends and receives snapshots: stands in for the library's `Serializer`, whose names it bears.

    All of it runs in the raft thread. `freeze` answers the encoded state; `restore` is told index and state; `has` tells
    whether the log holds, or has applied, that entry already.
    """

    def __init__(
        self,
        path: Path,
        *,
        freeze: Callable[[], bytes],
        restore: Callable[[int, bytes], None],
        has: Callable[[Entry], bool],
    ) -> None:
        self._path = path
        self._freeze = freeze
        self._restore = restore
        self._has = has
        self._made: tuple[int, int] | None = None  # outcome and index of the last `serialize`, until it is asked for
        self._outgoing: dict[Hashable, tuple[bytes, int]] = {}
        self._incoming: list[bytes] | None = None

    def read(self) -> Snapshot | None:
        return read_snapshot(self._path)

    def serialize(self, data: tuple[Any, Entry, Entry, set[TCPNode]], index: int) -> None:
        _, last, before, nodes = data
        try:
            voters = tuple(sorted(node.id for node in nodes))
            snapshot = Snapshot(last=last, before=before, voters=voters, state=self._freeze())
            write_whole(self._path, msgspec.msgpack.encode(snapshot))
        except Exception as error:
            log.warning("no snapshot made; the log stays long", index=last[1], error=repr(error))
            self._made = SERIALIZER_STATE.FAILED, index
        else:
            log.info("snapshot made", index=last[1], bytes=len(snapshot.state))
            self._outgoing.clear()
            self._made = SERIALIZER_STATE.SUCCESS, index

    def checkSerializing(self) -> tuple[int, int | None]:
        made, self._made = self._made, None
        return made or (SERIALIZER_STATE.NOT_SERIALIZING, None)

    def deserialize(self) -> tuple[None, Entry, Entry, list[TCPNode]]:
        snapshot = self.read()
        if snapshot is None:
            raise FileNotFoundError(self._path)
        self._restore(snapshot.last[1], snapshot.state)
        return None, snapshot.last, snapshot.before, [TCPNode(voter) for voter in snapshot.voters]

    def getTransmissionData(self, node: Hashable) -> tuple[bytes, bool, bool] | None:
        """The next piece for `node`, whether it is the first and whether it is the last."""
        try:
            data, sent = self._outgoing.get(node) or (self._path.read_bytes(), 0)
        except OSError as error:
            log.warning("no snapshot to send", error=repr(error))
            return None
        end = sent + PIECE_BYTES
        self._outgoing[node] = data, end
        if end >= len(data):
            del self._outgoing[node]
        return data[sent:end], sent == 0, end >= len(data)

    def setTransmissionData(self, piece: tuple[bytes, bool, bool] | None) -> bool:
        """Take a piece in; True once the whole snapshot is in place. A bad one is dropped, and the leader sends it again.

        So is one that tells nothing new: a leader that has just cut its log sends it on account of an old answer, and the
        library would throw away what was acknowledged after it (Raft paper, figure 13, step 6).
        """
        if piece is None:
            return False
        data, first, last = piece
        if first:
            self._incoming = []
        if self._incoming is None:
            return False
        self._incoming.append(data)
        if not last:
            return False
        whole, self._incoming = b"".join(self._incoming), None
        try:
            if self._has(msgspec.msgpack.decode(whole, type=Snapshot).last):
                return False
            write_whole(self._path, whole)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("a snapshot was not taken in", error=repr(error))
            return False
        return True

    def cancelTransmisstion(self, node: Hashable) -> None:  # the library's spelling
        self._outgoing.pop(node, None)
