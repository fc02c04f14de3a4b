"""The kernel's groups of processes that a test's daemons make, and leave behind, empty, when they are killed."""

import secrets
from contextlib import suppress
from pathlib import Path

_PREFIX = "ariacluster-test-"
_ROOT = Path("/sys/fs/cgroup")


def new_name() -> str:
    """Of a group that `sweep` will remove."""
    return f"{_PREFIX}{secrets.token_hex(4)}"


def unified() -> Path | None:
    """Where the groups of version 2 are, if there are any."""
    kinds = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next((Path(at) for _, at, kind, *_ in kinds if kind == "cgroup2"), None)


def sweep() -> list[Path]:
    """Remove the groups of those that have ended; which could not be removed. Blocks."""
    groups = [*_ROOT.glob(f"{_PREFIX}*"), *_ROOT.glob(f"*/{_PREFIX}*")]
    for group in groups:
        for inner in sorted(group.rglob("*/"), reverse=True):
            with suppress(OSError):
                inner.rmdir()
        with suppress(OSError):
            group.rmdir()
    return [group for group in groups if group.exists()]
