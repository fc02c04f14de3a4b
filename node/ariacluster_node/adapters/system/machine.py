"""What this machine tells of itself: its load, its disk, its name and its address."""

import asyncio
import ipaddress
import socket
import threading
from pathlib import Path

import psutil

from ariacluster_node.ports import Vitals

# Any address that is not ours does: connecting a UDP socket asks the routing table and sends nothing (RFC 5737 range).
_FAR_AWAY = ("203.0.113.1", 9)


class LocalMachine:
    """Fills `Machine`. `folder` is the download folder; while it is missing, the disk where it would be is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        # psutil's own "since the last call" counts per thread, and these calls come from a pool of them.
        self._cpu_before: tuple[float, float] | None = None
        self._lock = threading.Lock()

    async def vitals(self) -> Vitals:
        """As of now; `cpu` is the mean since the last call, 0 at the first."""
        return await asyncio.to_thread(self._vitals)

    def _vitals(self) -> Vitals:
        free, total = self._disk()
        with self._lock:
            cpu = self._cpu()
        return Vitals(disk_free=free, disk_total=total, cpu=cpu, memory=psutil.virtual_memory().percent)

    def _disk(self) -> tuple[int, int]:
        for folder in (self._folder, *self._folder.parents):
            try:
                usage = psutil.disk_usage(str(folder))
            except OSError:
                continue
            return usage.free, usage.total
        return 0, 0

    def _cpu(self) -> float:
        times = psutil.cpu_times()
        # A guest's time is counted in user and nice already (proc(5), "/proc/stat").
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._cpu_before = self._cpu_before, (total, idle)
        if before is None or total <= before[0]:
            return 0.0
        share = 1 - (idle - before[1]) / (total - before[0])
        return round(100 * min(1.0, max(0.0, share)), 1)


def local_address() -> str:
    """The address that other machines of the LAN reach this one at: the one that packets to far away would bear, else the
    first of an interface that is up, else 127.0.0.1. Quick; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(_FAR_AWAY)
            return str(probe.getsockname()[0])
        except OSError:  # no default route: a LAN of its own
            pass
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        for address in addresses:
            if (
                name in up
                and address.family == socket.AF_INET
                and not ipaddress.ip_address(address.address).is_loopback
            ):
                return str(address.address)
    return "127.0.0.1"


def host_name() -> str:
    """The machine's name without its domain; the default name of its node."""
    return socket.gethostname().split(".")[0] or "node"
