"""Test content: folders of files from 1 kB to 200 MB, the same bytes on every machine, made at the speed of the disk."""

import asyncio
import fcntl
import hashlib
import math
import os
import random
import shutil
import struct
import tempfile
import zlib
from pathlib import Path

import msgspec

KB = 1_000
MB = 1_000_000

_BLOCK = 1 << 20
_STAMP_EVERY = 4096  # bytes; less than any range that a download asks for, so that no misplaced range looks right
_STAMP = struct.Struct(">IQ")  # file, offset
_FORMAT = 1  # goes up when the content of an equal plan changes, so that nobody finds the old one in the cache


class TreeFile(msgspec.Struct, frozen=True):
    """One file: `name` in its folder, `size` in bytes, `sha256` in hex."""

    name: str
    size: int
    sha256: str


class Tree(msgspec.Struct, frozen=True):
    """A folder and what is in it, largest file first. To be read, not written: other tests share it."""

    folder: Path
    files: tuple[TreeFile, ...]

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    def path(self, file: TreeFile) -> Path:
        """Where it lies."""
        return self.folder / file.name

    def near(self, size: int) -> TreeFile:
        """The file whose size is nearest to `size` bytes, measured as a ratio."""
        return min(self.files, key=lambda file: abs(math.log(file.size / size)))


def plan_sizes(
    count: int, *, total: int = 600 * MB, smallest: int = KB, largest: int = 200 * MB, seed: int = 1
) -> list[int]:
    """`count` sizes in bytes, largest first: one `largest`, one `smallest`, many small between; together at most `total`."""
    if count < 2 or smallest > largest or total < largest + smallest * (count - 1):
        raise ValueError(f"{count} files from {smallest} to {largest} bytes do not fit into {total}")
    dice = random.Random(seed)
    # Log-uniform, as download sizes are; a quarter of the largest at most, so that there is one of that size only.
    top = max(smallest, largest // 4)
    drawn = [smallest * (top / smallest) ** dice.random() for _ in range(count - 2)]
    extra = sum(size - smallest for size in drawn)
    room = total - largest - smallest * (count - 1)
    scale = min(1.0, room / extra) if extra else 0.0
    return sorted([largest, smallest, *(smallest + int((size - smallest) * scale) for size in drawn)], reverse=True)


def write_file(path: Path, size: int, *, seed: int = 1) -> TreeFile:
    """Writes `size` pseudo-random bytes that follow from `seed` and the file's name; no 4 kB of them come twice."""
    block = bytearray(random.Random(seed).randbytes(_BLOCK))
    # The number of the file in every stamp: files of one seed differ everywhere, not only in their first bytes.
    number = zlib.crc32(f"{seed}/{path.name}".encode())
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK):
            for offset in range(0, _BLOCK, _STAMP_EVERY):
                _STAMP.pack_into(block, offset, number, start + offset)
            part = memoryview(block)[: size - start]
            digest.update(part)
            file.write(part)
    return TreeFile(path.name, size, digest.hexdigest())


def make_tree(folder: Path, sizes: list[int], *, seed: int = 1) -> Tree:
    """Writes one file for each size into `folder`. Blocks: from a test's loop by `asyncio.to_thread`."""
    files = tuple(write_file(folder / f"file-{n:04}.bin", size, seed=seed) for n, size in enumerate(sizes))
    return Tree(folder, files)


def make_cached_tree(count: int = 60, *, total: int = 600 * MB, largest: int = 200 * MB, seed: int = 1) -> Tree:
    """The tree of this plan, made once on a machine and then found again, by all test runs. Blocks."""
    largest = min(largest, total // 3)
    cache = Path(tempfile.gettempdir(), f"ariacluster-test-content-{os.getuid()}")
    cache.mkdir(exist_ok=True)
    folder = cache / f"v{_FORMAT}-{count}-{total}-{largest}-{seed}"
    index = folder.with_suffix(".json")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # runs side by side wait for the one that makes it
        if index.exists():
            tree = Tree(folder, msgspec.json.decode(index.read_bytes(), type=tuple[TreeFile, ...]))
            if all(tree.path(file).is_file() and tree.path(file).stat().st_size == file.size for file in tree.files):
                return tree
        shutil.rmtree(folder, ignore_errors=True)
        tree = make_tree(folder, plan_sizes(count, total=total, largest=largest, seed=seed), seed=seed)
        for file in tree.files:
            tree.path(file).chmod(0o444)
        unfinished = index.with_suffix(".new")
        unfinished.write_bytes(msgspec.json.encode(tree.files))
        unfinished.rename(index)
        return tree


async def cached_tree(count: int = 60, *, total: int = 600 * MB, largest: int = 200 * MB, seed: int = 1) -> Tree:
    """`make_cached_tree` from a test's loop."""
    return await asyncio.to_thread(make_cached_tree, count, total=total, largest=largest, seed=seed)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hex. Blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
