"""A load, and what was measured of it. The load is made inside the process of the node that it goes through."""

import math
import secrets

import msgspec

from ariacluster.domain.task import Task, TaskSpec

DIFFERENT = 64
"""So many different commands: the library compresses what it sends, and would do too well with one."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """`window`: proposals under way at a time. `batch`: commands in one proposal. `size`: bytes of a command.

    It ends after `seconds` or after `count` proposals, whichever comes first.
    """

    name: str
    window: int
    batch: int = 1
    size: int = 600
    seconds: float = 1.0
    count: int = 1_000_000

    def payloads(self) -> list[bytes]:
        return [secrets.token_hex(self.size * self.batch // 2).encode() for _ in range(DIFFERENT)]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """`commands` were committed in `seconds`; latencies in ms, of a proposal. `failed` proposals are in none of these."""

    commands: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        return self.commands / self.seconds if self.seconds > 0 else 0.0


def measured(latencies_s: list[float], seconds: float, load: Load, failed: int) -> Measured:
    """Of one load, by the latencies of its proposals."""
    return Measured(
        commands=len(latencies_s) * load.batch,
        seconds=seconds,
        p50_ms=quantile(latencies_s, 0.5) * 1000,
        p99_ms=quantile(latencies_s, 0.99) * 1000,
        max_ms=max(latencies_s, default=0.0) * 1000,
        failed=failed,
    )


def quantile(values: list[float], q: float) -> float:
    """The smallest value that at least the share `q` of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * q) - 1, 0)] if ordered else 0.0


def task(number: int) -> Task:
    """A row of the table, about 600 bytes encoded; the same for the same number."""
    where = f"https://mirror.example.org/pool/main/{number % 977:04d}/archive-{number:08d}.tar.zst"
    spec = TaskSpec(
        urls=(where, where.replace("mirror", "second"), where.replace("mirror", "third")),
        out=f"archive-{number:08d}.tar.zst",
        dir=f"nightly/{number % 31}",
        options={"split": "8", "max-connection-per-server": "4", "user-agent": "nightly mirror job"},
        headers=("Accept: application/octet-stream", f"X-Job: {number}"),
        checksum=f"sha-256={number:064x}",
        tags={"team": "builds", "kind": "nightly"},
    )
    return Task(id=f"{number:032x}", spec=spec, seq=number, created_at=number, updated_at=number)
