"""The node's own memory: who it is, which cluster it belongs to, and what it carries there from the one before, in a data
folder that one node at a time may use.

`membership.json` says which cluster it is; everything else is looked at in its light. A log lies in a folder named by its
cluster's id, a heritage names the cluster that it is meant for: what belongs to another one is left over, and removed.
"""

import asyncio
import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import TypeVar

import msgspec

from ariacluster.domain.errors import StartFailed
from ariacluster.domain.formation import Membership
from ariacluster_node.ports import Heritage

from .durable import write_durably

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_FORMAT = 3
"""1 knew the voters by their addresses; 2 had one folder for the log of whatever cluster."""


class _Versioned(msgspec.Struct, frozen=True):
    v: int


class _Identity(msgspec.Struct, frozen=True, kw_only=True):
    v: int = 1
    node_id: str


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    v: int = _FORMAT
    membership: Membership


class _LogNote(msgspec.Struct, frozen=True, kw_only=True):
    v: int = _FORMAT
    cluster_id: str


class _KeptHeritage(msgspec.Struct, frozen=True, kw_only=True):
    v: int = _FORMAT
    heritage: Heritage


F = TypeVar("F", _Identity, _Kept, _LogNote)

_LOG_FILES = "log-" + "[0-9]" * 12
"""What of the log must be there, in its folder; a snapshot alone does not tell what this node has voted."""


class NodeState:
    """The data folder. `lock` comes first; every failure is a `StartFailed` that names the file and says what to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock: int | None = None

    async def lock(self) -> None:
        """Make the folder (0700 if it is new) and take it for this process until `unlock` or the process ends."""
        await asyncio.to_thread(self._take)

    async def unlock(self) -> None:
        """Let another node use the folder. Idempotent."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            await asyncio.to_thread(os.close, lock)

    async def identity(self) -> str:
        """The node's id, 16 hex digits; made at the first call ever and the same for life."""
        return await asyncio.to_thread(self._identity)

    async def membership(self) -> Membership | None:
        """The cluster that was saved last; None on a fresh node."""
        kept = await asyncio.to_thread(self._load, "membership.json", _Kept)
        return kept.membership if kept else None

    async def save_membership(self, membership: Membership) -> None:
        """Remember the cluster; on the disk when this returns."""
        await asyncio.to_thread(self._save, "membership.json", _Kept(membership=membership))

    async def note_log(self, cluster_id: str) -> None:
        """Remember that this node has a log from now on, before it can become a voter; on the disk when this returns."""
        await asyncio.to_thread(self._note, cluster_id)

    async def check_log(self, membership: Membership | None) -> None:
        """`StartFailed` if the log does not fit what is remembered: a node that lost its log has lost what it voted, so it must
        not come back under its id; and a log without its cluster is nobody's."""
        await asyncio.to_thread(self._check, membership)

    def log_folder(self, cluster_id: str) -> Path:
        """Where the log of that cluster lies."""
        return self.folder / "raft" / cluster_id

    async def save_heritage(self, heritage: Heritage) -> None:
        """Keep what this node brings into another cluster; on the disk when this returns. It counts once that cluster's
        membership is saved."""
        await asyncio.to_thread(self._save_heritage, heritage)

    async def heritage(self, into: str) -> Heritage | None:
        """What is still to be brought into that cluster, if anything is."""
        return await asyncio.to_thread(self._load_heritage, into)

    async def drop_heritage(self) -> None:
        """It is in the cluster's table now. Idempotent."""
        await asyncio.to_thread(self._drop_heritage, "")

    async def tidy(self, cluster_id: str) -> None:
        """Remove the logs of the clusters that this node has left for `cluster_id`, and a heritage meant for another."""
        await asyncio.to_thread(self._tidy, cluster_id)

    def _note(self, cluster_id: str) -> None:
        if self._load("log.json", _LogNote) != (note := _LogNote(cluster_id=cluster_id)):
            self._save("log.json", note)

    def _check(self, membership: Membership | None) -> None:
        if membership is None:
            if left := next((self.folder / "raft").glob(f"*/{_LOG_FILES}"), None):
                raise StartFailed(
                    f"{left.parent} holds the log of a cluster, but {self.folder / 'membership.json'} is missing. Restore "
                    "that file, or start with an empty data folder."
                )
            return
        folder = self.log_folder(membership.cluster_id)
        there = any(path.stat().st_size > 0 for path in folder.glob(_LOG_FILES))
        note = self._load("log.json", _LogNote)
        if note is not None and note.cluster_id == membership.cluster_id and not there:
            raise StartFailed(
                f"The log of this node in {folder} is gone, and with it what the node has voted; it must not come back "
                "under its old id. Restore the folder, or start with an empty data folder and take the old node off with "
                "`ariacluster node rm`."
            )

    def _save_heritage(self, heritage: Heritage) -> None:
        path = self._heritage_path(heritage.into)
        try:
            write_durably(path, msgspec.msgpack.encode(_KeptHeritage(heritage=heritage)), mode=_PRIVATE_FILE)
        except OSError as error:
            raise StartFailed(f"{path} cannot be written: {error.strerror or error}. Make room.") from error

    def _load_heritage(self, into: str) -> Heritage | None:
        path = self._heritage_path(into)
        try:
            kept = msgspec.msgpack.decode(path.read_bytes(), type=_KeptHeritage).heritage
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartFailed(f"{path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:
            raise _damaged(path, "not what this program writes") from error
        return kept if kept.into == into else None

    def _tidy(self, cluster_id: str) -> None:
        for folder in (self.folder / "raft").glob("*"):
            if folder.name != cluster_id:
                shutil.rmtree(folder, ignore_errors=True)
        self._drop_heritage(cluster_id)

    def _heritage_path(self, into: str) -> Path:
        """One for each cluster: what is to go to the next one must not replace what is still to be brought into this one."""
        return self.folder / f"heritage-{into}"

    def _drop_heritage(self, but_into: str) -> None:
        for path in self.folder.glob("heritage-*"):
            if path != self._heritage_path(but_into):
                path.unlink(missing_ok=True)

    def _take(self) -> None:
        if self._lock is not None:
            return
        path = self.folder / "node.lock"
        try:
            if not self.folder.is_dir():
                self.folder.parent.mkdir(parents=True, exist_ok=True)
                # The mode of a folder that is there already is its owner's business; the files in it are private anyway.
                self.folder.mkdir(mode=_PRIVATE_FOLDER)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE)
        except OSError as error:
            raise StartFailed(
                f"The data folder {self.folder} cannot be used: {error.strerror or error}. "
                "Change its permissions or give another folder with --data."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode(errors="replace") or "unknown"
            os.close(lock)
            raise StartFailed(
                f"The data folder {self.folder} is in use by another node (pid {pid}). "
                "Stop that node or give this one its own folder with --data."
            ) from None
        except OSError as error:
            os.close(lock)
            raise StartFailed(f"The data folder {self.folder} cannot be locked: {error.strerror or error}.") from error
        self._lock = lock

    def _identity(self) -> str:
        known = self._load("identity.json", _Identity)
        if known is None:
            known = _Identity(node_id=secrets.token_hex(8))
            self._save("identity.json", known)
        elif len(known.node_id) != 16 or not set(known.node_id) <= set("0123456789abcdef"):
            raise _damaged(self.folder / "identity.json", "no node id of 16 hex digits")
        return known.node_id

    def _load(self, name: str, type: type[F]) -> F | None:
        path = self.folder / name
        try:
            data = path.read_bytes()
            version = msgspec.json.decode(data, type=_Versioned).v
            if version > _FORMAT:
                raise StartFailed(f"{path} was written by a newer Aria Cluster (format {version}); run that one.")
            if version < _FORMAT and type is not _Identity:
                raise StartFailed(
                    f"{path} was written by an older Aria Cluster (format {version}), whose log this one does not read. "
                    "Start with an empty data folder, or let that version finish its downloads first."
                )
            return msgspec.json.decode(data, type=type)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartFailed(f"{path} cannot be read: {error.strerror or error}.") from error
        except ValueError as error:  # msgspec's errors are some
            raise _damaged(path, "not what this program writes") from error

    def _save(self, name: str, value: _Identity | _Kept | _LogNote) -> None:
        path = self.folder / name
        try:
            write_durably(path, msgspec.json.format(msgspec.json.encode(value)), mode=_PRIVATE_FILE)
        except OSError as error:
            raise StartFailed(
                f"{path} cannot be written: {error.strerror or error}. Make room or change the permissions."
            ) from error


def _damaged(path: Path, how: str) -> StartFailed:
    return StartFailed(
        f"{path} is damaged ({how}). Restore it from a backup, or move the data folder away to start as a new node."
    )
