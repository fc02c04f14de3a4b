"""One host, as the holder sees it: namespaces that stay, a first process that is its power, and what runs on it.

The network and the host name outlive a kill. Processes, `/proc` and mounts belong to the first process of the host's pid
namespace: when it is killed, the kernel kills all others with it, wherever they hid.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from . import kernel, switch
from .door import LabError

ROOT = Path(__file__).parents[2]
"""The checkout whose node runs on the hosts."""

SUBNET = "10.77.0"
ULA = "fd77:77:77:77"
MARK = "LAB_OF_HOST"
"""In the environment of all that runs on a host: the lab's folder and the host's name."""

_OWN = Path("/proc/self/ns")
_STAYING = {"net": kernel.NEWNET, "uts": kernel.NEWUTS}
_POWERED = {"ipc": kernel.NEWIPC, "mnt": kernel.NEWNS}


class Machine:
    """`address` is None on a LAN without IPv4, `ula` None where only link-local IPv6 is. `files` is the host's folder."""

    def __init__(self, name: str, number: int, files: Path, *, ipv4: bool, ula: bool) -> None:
        if not 1 <= number <= 250:
            raise LabError("a lab has room for 250 hosts")
        self.name = name
        self.number = number
        self.files = files
        self.hardware = f"02:00:0a:4d:00:{number:02x}"
        self.address = f"{SUBNET}.{number}" if ipv4 else None
        self.ula = f"{ULA}::{number:x}" if ula else None
        self.paused = False
        self.node: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._spaces: dict[str, int] = {}
        files.mkdir(parents=True, exist_ok=True)

    @property
    def network(self) -> int:
        """A file descriptor of its network namespace."""
        return self._spaces["net"]

    @property
    def data(self) -> Path:
        """The node's own memory."""
        return self.files / "data"

    @property
    def log(self) -> Path:
        """What the nodes of this host have written, one after the other."""
        return self.files / "log"

    @property
    def running(self) -> bool:
        """Whether its node runs; paused counts."""
        return self.node is not None and self.node.returncode is None

    def power_on(self) -> None:
        """Start the first process, if it does not run; at the first time it makes the host's network."""
        if self._init:
            return
        told, tells = os.pipe()
        kernel.unshare(kernel.NEWPID)
        own = os.open(_OWN / "pid", os.O_RDONLY)
        self._init = os.fork()
        if self._init == 0:
            self._be_init(tells)
        kernel.setns(own, kernel.NEWPID)
        os.close(own)
        os.close(tells)
        said = os.read(told, 1000)
        os.close(told)
        if said != b"up":
            raise LabError(f"{self.name} does not start: {said.decode(errors='replace')}")
        for kind in ("pid", *_POWERED, *(_STAYING if "net" not in self._spaces else ())):
            self._spaces[kind] = os.open(f"/proc/{self._init}/ns/{kind}", os.O_RDONLY)

    def connect(self) -> None:
        """Bring its interfaces up, with their addresses. Once, when it is plugged in."""
        with kernel.inside(self.network, kernel.NEWNET):
            for where in ("all", "default", switch.PORT_OF_HOST):
                settings = Path("/proc/sys/net/ipv6/conf", where)
                if settings.exists():
                    (settings / "accept_dad").write_text("0")  # the addresses are ours: no second of waiting for doubt
                    (settings / "keep_addr_on_down").write_text("1")
            switch.run("ip", "link", "set", "lo", "up")
            self._take(self.address, self.ula)
            switch.run(*f"ip link set {switch.PORT_OF_HOST} up".split())

    def readdress(self, address: str) -> None:
        """Another address instead of the one it had, as DHCP may give it."""
        with kernel.inside(self.network, kernel.NEWNET):
            sixth = ":" in address
            if before := self.ula if sixth else self.address:
                switch.run(*f"ip addr del {_with_net(before)} dev {switch.PORT_OF_HOST}".split())
            if sixth:
                self.ula = address
            else:
                self.address = address
            self._take(address)

    def link(self, up: bool) -> None:
        """Its interface on or off."""
        with kernel.inside(self.network, kernel.NEWNET):
            switch.run("ip", "link", "set", switch.PORT_OF_HOST, "up" if up else "down")

    def socket(self, family: int, kind: int) -> socket.socket:
        """A socket that is on this host whoever has it: sockets stay in the namespace where they were made."""
        with kernel.inside(self.network, kernel.NEWNET):
            return socket.socket(family, kind)

    def spawn(
        self, command: Sequence[str], files: Sequence[int], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """A process on this host, with these three as its standard input, output and error. LabError if it cannot."""
        self.power_on()
        stdin, stdout, stderr = files
        with kernel.inside(self._spaces["pid"], kernel.NEWPID):
            try:
                return subprocess.Popen(
                    command,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env={**environment, MARK: f"{self.files.parent.parent}:{self.name}"},
                    start_new_session=True,
                    preexec_fn=self._enter,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise LabError(f"{command[0]} does not start on {self.name}: {error}") from None

    def start_node(self, flags: Sequence[str]) -> None:
        """What `ariacluster up` runs, of this checkout, with the host's folders. LabError if it runs already."""
        if self.running:
            raise LabError(f"the node of {self.name} runs already")
        program = [sys.executable, "-m", "ariacluster_node.main"]
        folders = ["--data", str(self.data), "--dir", str(self.files / "downloads")]
        with open(os.devnull, "rb") as nothing, self.log.open("ab") as log:
            self.node = self.spawn(
                [*program, *folders, "--no-ui", *flags],
                [nothing.fileno(), log.fileno(), log.fileno()],
                self.environment(),
            )

    def environment(self) -> dict[str, str]:
        """Ours, without settings for nodes, with the host's own home and the checkout first."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ARIACLUSTER_")}
        return {**kept, "HOME": str(self.files), "PYTHONPATH": f"{ROOT}:{ROOT / 'node'}:{ROOT / 'ui'}"}

    def signal(self, number: int) -> None:
        """To everything that runs on it but its first process."""
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self) -> None:
        """All its processes stand still; its kernel goes on to take packets."""
        seen: set[int] = set()
        while new := set(self._processes()) - seen:  # one that was forked meanwhile stands still in the next round
            self.signal(signal.SIGSTOP)
            seen |= new
        self.paused = True

    def resume(self) -> None:
        """Goes on after `pause`."""
        self.signal(signal.SIGCONT)
        self.paused = False

    def power_off(self) -> int:
        """kill -9 of everything on it; the pid of its first process, which is gone once that is waited for. 0: it was off."""
        init, self._init = self._init, 0
        self.paused = False
        if init:
            os.kill(init, signal.SIGKILL)
            for kind in ("pid", *_POWERED):
                os.close(self._spaces.pop(kind))
        return init

    def copy_data(self, other: "Machine") -> None:
        """The data folder of `other` in the place of its own. LabError while its node runs."""
        self.wipe()
        if other.data.exists():
            shutil.copytree(other.data, self.data, symlinks=True)

    def wipe(self) -> None:
        """Its data folder is gone. LabError while its node runs."""
        if self.running:
            raise LabError(f"the node of {self.name} runs: stop it first")
        if self.data.exists():
            shutil.rmtree(self.data)

    def _take(self, *addresses: str | None) -> None:
        for address in filter(None, addresses):
            no_doubt = " nodad" if ":" in address else ""
            switch.run(*f"ip addr add {_with_net(address)} dev {switch.PORT_OF_HOST}{no_doubt}".split())

    def _processes(self) -> list[int]:
        if not self._init:
            return []
        here = os.fstat(self._spaces["pid"]).st_ino
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                pid = int(entry.name)
                if pid != self._init and (entry / "ns/pid").stat().st_ino == here:
                    found.append(pid)
        return found

    def _enter(self) -> None:
        for kind, flag in {**_STAYING, **_POWERED}.items():
            kernel.setns(self._spaces[kind], flag)
        os.chdir(self.files)

    def _be_init(self, tells: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries orphans
            if "net" in self._spaces:
                for kind, flag in _STAYING.items():
                    kernel.setns(self._spaces[kind], flag)
            else:
                kernel.unshare(kernel.NEWNET | kernel.NEWUTS)
                socket.sethostname(self.name)
            kernel.unshare(kernel.NEWIPC | kernel.NEWNS)
            kernel.mount("proc", "/proc")
            with suppress(OSError):  # without root, where the machine hides parts of /sys
                kernel.mount("sysfs", "/sys")
            os.write(tells, b"up")
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            while True:
                signal.pause()
        except BaseException as error:
            with suppress(OSError):
                os.write(tells, str(error).encode())
        finally:  # on no account may the copy of the holder go on
            os._exit(1)


def _with_net(address: str) -> str:
    return f"{address}/64" if ":" in address else f"{address}/24"
