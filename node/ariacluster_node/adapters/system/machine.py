"""What this machine tells of itself: its load, its disk, its name and its address."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from ariacluster_node.ports import Vitals

# Any address that is not ours does: connecting a UDP socket asks the routing table and sends nothing (ranges of RFC 5737
# and RFC 3849).
_FAR_AWAY = ("203.0.113.1", 9)
_FAR_AWAY_V6 = ("2001:db8::1", 9)

_INTERFACES = Path("/sys/class/net")
"""Where Linux tells which interface has a device of its own and which is made up (a bridge, a tunnel)."""


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


def local_address(bind: str = "0.0.0.0") -> str:
    """The address that other machines of the LAN reach this one at; quick, sends nothing.

    The one that packets to far away would bear, by IPv4 else IPv6; else the first of an interface that is up, network
    cards first; else 127.0.0.1. IPv6 counts if `bind` is `::`. A link-local one (`fe80::1%eth0`) is the last resort: its
    scope is our name of the link.
    """
    families = [socket.AF_INET, socket.AF_INET6] if bind == "::" else [socket.AF_INET]
    for family in families:
        if (address := _towards_far_away(family)) is not None:
            return address
    return min(_of_interfaces(families), default=(0, 0, "", "127.0.0.1"))[-1]


def _towards_far_away(family: int) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect(_FAR_AWAY if family == socket.AF_INET else _FAR_AWAY_V6)
            address = str(probe.getsockname()[0])
    except OSError:  # no default route: a LAN of its own; or no IPv6 at all
        return None
    # A link-local address names no way to here without its scope, and a loopback one none at all.
    return None if ipaddress.ip_address(address.partition("%")[0]).is_link_local else address


def _of_interfaces(families: Sequence[int]) -> Iterator[tuple[int, int, str, str]]:
    """Addresses of interfaces that are up, each after what it is sorted by."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    for name, addresses in psutil.net_if_addrs().items():
        card = not (_INTERFACES / name / "device").exists()
        for address in addresses:
            if name not in up or address.family not in families:
                continue
            told = ipaddress.ip_address(address.address.partition("%")[0])
            if not told.is_loopback:
                kind = 2 * told.is_link_local + (told.version == 6)
                yield kind, card, name, str(address.address)


def host_name() -> str:
    """The machine's name without its domain; the default name of its node."""
    return socket.gethostname().split(".")[0] or "node"
