"""The node's own memory: who it is and which cluster it belongs to, in a data folder that one node at a time may use."""

import asyncio
import fcntl
import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from ariacluster.domain.errors import StartFailed
from ariacluster.domain.formation import Membership

from .durable import write_durably

_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_FORMAT = 2
"""1 knew the voters by their addresses, and its log is not read any more."""


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

    async def check_log(self, folder: Path, membership: Membership | None) -> None:
        """`StartFailed` if the log in `folder` does not fit what is remembered: a node that lost its log has lost what it
        voted, so it must not come back under its id; and a log without its cluster is nobody's."""
        await asyncio.to_thread(self._check, folder, membership)

    def _note(self, cluster_id: str) -> None:
        if self._load("log.json", _LogNote) != (note := _LogNote(cluster_id=cluster_id)):
            self._save("log.json", note)

    def _check(self, folder: Path, membership: Membership | None) -> None:
        there = folder.is_dir() and any(path.stat().st_size > 0 for path in folder.glob(_LOG_FILES))
        if membership is None:
            if there:
                raise StartFailed(
                    f"{folder} holds the log of a cluster, but {self.folder / 'membership.json'} is missing. Restore that "
                    "file, or start with an empty data folder."
                )
            return
        note = self._load("log.json", _LogNote)
        if note is not None and note.cluster_id == membership.cluster_id and not there:
            raise StartFailed(
                f"The log of this node in {folder} is gone, and with it what the node has voted; it must not come back "
                "under its old id. Restore the folder, or start with an empty data folder and take the old node off with "
                "`ariacluster node rm`."
            )

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
