"""On what it was measured."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

from .load import quantile

SYNCS = 50


class MachineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """`sync_ms`: the median of writing 4 KiB at the end of a file and syncing it, where the nodes have their folders."""

    cores: int
    load: float
    python: str
    pysyncobj: str
    system: str
    sync_ms: float
    sync_p99_ms: float


def facts(folder: Path) -> MachineFacts:
    """Takes some milliseconds of the disk below `folder`."""
    took: list[float] = []
    sync = getattr(os, "fdatasync", os.fsync)
    with (folder / "syncs").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            begun = time.perf_counter()
            file.write(b"s" * 4096)
            sync(file.fileno())
            took.append(time.perf_counter() - begun)
    return MachineFacts(
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0],
        python=platform.python_version(),
        pysyncobj=version("pysyncobj"),
        system=f"{platform.system()} {platform.machine()}",
        sync_ms=quantile(took, 0.5) * 1000,
        sync_p99_ms=quantile(took, 0.99) * 1000,
    )
