"""A disk in memory whose power can be cut, whose process can be killed in the middle of a call, and that can fail.

What was synced survives. Of the rest a power cut keeps what the dice say: nothing, all, a beginning, or blocks with holes
of zeros or of what older files left there; names that were not synced in any subset. A kill alone loses nothing written.
"""

import random
from pathlib import Path

from ariacluster_node.adapters.raft.store.disk import Data, Disk

BLOCK: int = 512
"""Bytes that a disk writes whole or not at all."""

_STALE: int = 64 * 1024
"""So much of removed files is remembered, as garbage that looks like ours."""


class Killed(BaseException):
    """The process is gone; not an error that anything may handle."""


class _Inode:
    """The bytes of a file. `data[:synced]` is on disk but for the `holes`: pages that a failed sync has dropped.

    `before`: what is on disk instead, while a truncation has not reached it.
    """

    __slots__ = ("before", "data", "holes", "name", "synced")

    def __init__(self, name: str) -> None:
        self.name = name
        self.data = bytearray()
        self.synced = 0
        self.before: bytes | None = None
        self.holes: list[tuple[int, int]] = []

    def truncate(self, size: int) -> None:
        if self.synced > size:
            if self.before is None:
                self.before = bytes(self.data[: self.synced])
            self.synced = size
        self.holes = [(start, min(end, size)) for start, end in self.holes if start < size]
        if len(self.data) > size:
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        self.synced = len(self.data)
        self.before = None

    def fail_to_sync(self) -> None:
        """The kernel has dropped the pages and calls them clean: the next sync will succeed, and not write them."""
        if self.synced < len(self.data):
            self.holes.append((self.synced, len(self.data)))
            self.synced = len(self.data)


class PowerDisk(Disk):
    """`disk.Disk` in memory: the same calls, the same promises. One process at a time; all dice come from outside.

    After a kill every call raises `Killed` until `restart` or `cut_power`; files opened before stay dead for ever.
    Operations are the calls that change something: create, write, sync, truncate, rename, remove, sync_folder.
    """

    def __init__(self, dice: random.Random, folder: Path = Path("/disk")) -> None:
        super().__init__(folder)
        self.operations = 0
        """How many there were so far."""
        self.trace: list[str] | None = None
        """Set it to a list to have every operation told there."""
        self._dice = dice
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._unsynced: list[tuple[str | None, str | None, _Inode]] = []  # old name, new name, whose
        self._stale = bytearray()
        self._life = 0
        self._dead = False
        self._until_kill = 0
        self._failing: OSError | None = None

    # What a test does to it.

    def kill_at(self, n: int) -> None:
        """The `n`th operation from now (1: the next) raises `Killed` and has a part of its effect. 0: none does."""
        self._until_kill = n

    def kill(self) -> None:
        """The process dies now, between two operations."""
        self._dead = True

    def fail_with(self, error: OSError | None) -> None:
        """Operations raise it from now on; a write is short, and what a failing sync left out is lost in silence."""
        self._failing = error

    def restart(self) -> None:
        """A new process on the same machine: it finds all that was written. Ends `kill_at`; a failing disk goes on so."""
        self._life += 1
        self._dead = False
        self._until_kill = 0

    def cut_power(self, dice: random.Random | None = None) -> None:
        """The machine goes off and on again: a new process finds what was synced, and of the rest what the dice keep."""
        dice = dice or self._dice
        style = dice.randrange(4)
        count = len(self._unsynced)
        some = dice.randint(0, count)
        for number, (old, new, inode) in enumerate(self._unsynced):
            if (False, True, number < some, style == 3 and dice.random() < 0.5)[style]:
                self._rename_durable(old, new, inode)
        self._unsynced.clear()
        self._names = dict(self._durable)
        for name in sorted(self._names):
            self._names[name].name = name
            self._settle(self._names[name], dice)
        self.restart()

    def flip(self, name: str, bit: int) -> None:
        """The disk has forgotten one bit; numbered from the beginning of the file."""
        self._names[name].data[bit // 8] ^= 1 << bit % 8

    def put(self, name: str, data: bytes) -> None:
        """The file is there, with these bytes, on disk."""
        inode = _Inode(name)
        inode.data += data
        inode.sync()
        self._names[name] = self._durable[name] = inode

    # What a program does with it.

    def names(self) -> list[str]:
        self._alive()
        return sorted(self._names)

    def read(self, name: str) -> bytes:
        return bytes(self._inode(name).data)

    def size(self, name: str) -> int:
        return len(self._inode(name).data)

    def open_read(self, name: str) -> "_Reader":
        return _Reader(self, self._inode(name))

    def create(self, name: str) -> "_File":
        done = self._begin("create", name)
        inode = self._names.get(name)
        if done:
            if inode is not None:
                inode.truncate(0)
            else:
                inode = self._names[name] = _Inode(name)
                self._unsynced.append((None, name, inode))
        self._end()
        assert inode is not None
        return _File(self, inode)

    def append(self, name: str) -> "_File":
        return _File(self, self._inode(name))

    def truncate(self, name: str, size: int) -> None:
        inode = self._inode(name)
        if self._begin("truncate", name):
            inode.truncate(size)
            if not self._ending() or self._dice.random() < 0.5:
                inode.sync()
        self._end()

    def rename(self, old: str, new: str) -> None:
        inode = self._inode(old)
        if self._begin("rename", f"{old} {new}"):
            self._forget(self._names.get(new))
            del self._names[old]
            self._names[new] = inode
            inode.name = new
            self._unsynced.append((old, new, inode))
        self._end()

    def remove(self, name: str) -> None:
        inode = self._inode(name)
        if self._begin("remove", name):
            self._forget(inode)
            del self._names[name]
            self._unsynced.append((name, None, inode))
        self._end()

    def sync_folder(self) -> None:
        if self._begin("sync_folder", ""):
            for change in self._unsynced:
                self._rename_durable(*change)
            self._unsynced.clear()
        self._end()

    # Inside.

    def _alive(self) -> None:
        if self._dead:
            raise Killed

    def _inode(self, name: str) -> _Inode:
        self._alive()
        inode = self._names.get(name)
        if inode is None:
            raise FileNotFoundError(2, "No such file or directory", str(self.folder / name))
        return inode

    def _begin(self, what: str, name: str) -> bool:
        """Count an operation; answers whether it has its effect."""
        if self._dead:
            raise Killed
        self.operations += 1
        if self.trace is not None:
            self.trace.append(f"{what} {name}".rstrip())
        if self._until_kill:
            self._until_kill -= 1
            if not self._until_kill:
                self._dead = True
                return self._dice.random() < 0.5
        if self._failing is not None:
            raise self._failing
        return True

    def _ending(self) -> bool:
        return self._dead or self._failing is not None

    def _end(self) -> None:
        if self._dead:
            raise Killed

    def _rename_durable(self, old: str | None, new: str | None, inode: _Inode) -> None:
        if old is not None and self._durable.get(old) is inode:
            del self._durable[old]
        if new is not None:
            self._durable[new] = inode

    def _forget(self, inode: _Inode | None) -> None:
        if inode is not None:
            self._stale += inode.data[:_STALE]
            del self._stale[:-_STALE]

    def _settle(self, inode: _Inode, dice: random.Random) -> None:
        """What the platters hold of it when the power is gone."""
        if inode.before is not None and dice.random() < 0.5:
            inode.data[:] = inode.before
        else:
            for start, end in inode.holes:
                self._tear(inode.data, start, end, dice)
            if inode.synced < len(inode.data):
                style = dice.randrange(4)
                if style == 0:
                    del inode.data[inode.synced :]
                elif style >= 2:
                    del inode.data[dice.randint(inode.synced, len(inode.data)) :]
                    if style == 3:
                        self._tear(inode.data, inode.synced, len(inode.data), dice)
        inode.holes.clear()
        inode.sync()

    def _tear(self, data: bytearray, start: int, end: int, dice: random.Random) -> None:
        while start < end:
            size = min(BLOCK - start % BLOCK, end - start)
            fate = dice.randrange(4)
            if fate == 0:
                data[start : start + size] = bytes(size)
            elif fate == 1:
                data[start : start + size] = dice.randbytes(size)
            elif fate == 2 and len(self._stale) >= size:
                at = dice.randint(0, len(self._stale) - size)
                data[start : start + size] = self._stale[at : at + size]
            start += size


class _File:
    __slots__ = ("_disk", "_inode", "_life")

    def __init__(self, disk: PowerDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._life = disk._life

    @property
    def _name(self) -> str:
        """The one that it has now."""
        return self._inode.name

    def write(self, data: Data) -> None:
        disk = self._disk
        if self._life != disk._life or disk._dead:
            raise Killed
        try:
            disk._begin("write", self._name)
            if disk._dead:
                raise Killed
        except BaseException:
            self._inode.data += data[: disk._dice.randint(0, len(data))]
            raise
        self._inode.data += data

    def sync(self) -> None:
        disk = self._disk
        if self._life != disk._life:
            raise Killed
        try:
            if disk._begin("sync", self._name):
                self._inode.sync()
        except OSError:
            self._inode.fail_to_sync()
            raise
        disk._end()

    def close(self) -> None:
        pass


class _Reader:
    __slots__ = ("_disk", "_inode", "_life", "size")

    def __init__(self, disk: PowerDisk, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self._life = disk._life
        self.size = len(inode.data)

    def pread(self, offset: int, size: int) -> bytes:
        if self._life != self._disk._life:
            raise Killed
        self._disk._alive()
        return bytes(self._inode.data[offset : offset + size])

    def close(self) -> None:
        pass
