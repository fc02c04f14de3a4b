"""A systemd of a test's own: process 1 of namespaces that end with it, on a copy of this machine's files that is in memory."""

import asyncio
import functools
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import psutil

from tests.lab.available import namespaces, path
from tests.support import cgroups, processes
from tests.support.commands import ROOT, Failed, said

SYSTEMD = Path("/lib/systemd/systemd")
BROUGHT = tuple(dict.fromkeys((str(ROOT), sys.prefix, sys.base_prefix)))
"""This checkout, and its Python."""

# $1: an empty folder, $2: systemd, then the folders that must be there wherever they are mounted. `container` makes units
# leave alone what belongs to the machine.
_BOOT = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 cgroup2 sys/fs/cgroup
for at in run tmp dev; do mount -t tmpfs tmpfs $at; done
for device in null zero full random urandom tty; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts dev/mqueue
mount -t devpts devpts dev/pts
ln -s pts/ptmx dev/ptmx
systemd=$2
shift 2
for folder; do mkdir -p "./$folder"; mount --bind "$folder" "./$folder"; done
printf '[Unit]\nWants=systemd-journald.service\n' > etc/systemd/system/only.target
mkdir -p old
pivot_root . old
cd /
umount -l old
exec env container=test "$systemd" --system --unit=only.target --log-target=journal --show-status=0
"""


@functools.cache
def missing() -> str | None:
    """None where one can be tried, else why not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a systemd of our own needs root on Linux"
    if not SYSTEMD.exists():
        return "systemd is not installed: apt-get install systemd"
    if lacking := [program for program in ("ip", "unshare", "nsenter") if not shutil.which(program, path=path())]:
        return f"programs that are not here: {', '.join(lacking)}"
    if cgroups.unified() is None:
        return "the kernel's groups of version 2 are not mounted"
    return None


class Systemd:
    """One that runs. Its files are this machine's, and what is written to them is seen by it alone."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    async def run(self, *command: str | Path, given: str = "") -> str:
        """What a command said that ran there; `Failed` if it left with an error."""
        there = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        return await said("nsenter", f"--target={self._pid}", *there, *command, given=given)

    async def write(self, file: str, text: str) -> None:
        """A file, and the folder that it is in."""
        await self.run("install", "-D", "-m", "644", "/dev/stdin", file, given=text)

    async def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        shown = await self.run("systemctl", "show", f"--property={','.join(properties)}", unit)
        return dict(line.split("=", 1) for line in shown.splitlines())


@asynccontextmanager
async def booted(folder: Path) -> AsyncIterator[Systemd]:
    """One that has started; `Failed` with what was said if it does not. `folder` is a new one."""
    root = cgroups.unified()
    assert root is not None
    await asyncio.to_thread(cgroups.sweep)
    group = root / cgroups.new_name()
    group.mkdir()
    folder.mkdir(parents=True)
    first, *kinds = namespaces()
    enter = 'echo $$ > "$0/cgroup.procs"; exec "$@"'
    inside = [first, "--cgroup", *kinds, "sh", "-ec", _BOOT, "sh", *map(str, (folder, SYSTEMD, *BROUGHT))]
    process = await processes.start(
        ["sh", "-ec", enter, str(group), *inside], folder.parent, name="systemd", env={"PATH": path()}
    )
    try:

        async def answers() -> Systemd | None:
            for child in await asyncio.to_thread(psutil.Process(process.pid).children):
                system = Systemd(child.pid)
                try:
                    await system.run("systemctl", "is-active", "only.target")
                except Failed:
                    continue
                return system
            return None

        try:
            found = await process.wait_until(answers, "systemd has started", timeout=30)
        except AssertionError as error:
            raise Failed(str(error)) from None
        assert found is not None
        yield found
    finally:
        await process.signal_family(SIGKILL)
        await process.stop()
        await processes.until(lambda: not cgroups.sweep(), "the kernel lets go of its groups", timeout=10)
