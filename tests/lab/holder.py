"""The process that holds a lab: the first one of its namespaces, so the kernel removes everything when it ends.

`python -m tests.lab.holder FOLDER [--ipv6-only] [--no-ula] [--leashed]`, as the first process of what
`available.namespaces` makes. Leashed, it ends when its standard input does: with the test that started it.

It has one thread, for entering a namespace is a thread's business, and does one thing after the other. Only what waits for
a process is answered later.
"""

import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import door
from .door import LabError
from .machine import Machine
from .switch import Switch

Files = list[int]
_SOCKETS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


class Holder:
    """Serves the door in `folder` until it is told to end. A verb of the door is a method here; its words are arguments."""

    def __init__(self, folder: Path, *, ipv6_only: bool, ula: bool, leashed: bool) -> None:
        self.folder = folder
        self.ipv6_only = ipv6_only
        self.ula = ula
        self.machines: dict[str, Machine] = {}
        self.switch = Switch()
        self._leashed = leashed
        self._selector = selectors.DefaultSelector()
        self._waiting: defaultdict[int, list[socket.socket]] = defaultdict(list)  # by pid, for its end
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._owner: dict[socket.socket, int] = {}  # who hangs up ends what it waits for
        self._verbs: dict[str, Callable[..., Any]] = {
            "hosts": self.hosts,
            "add": self.add,
            "start": self.start,
            "signal": self.signal,
            "kill": self.kill,
            "pause": lambda host: self._at(host).pause(),
            "resume": lambda host: self._at(host).resume(),
            "cut": self.cut,
            "heal": self.heal,
            "shape": lambda host, rate: self.switch.shape(host, self._at(host).network, rate),
            "multicast": self.multicast,
            "address": lambda host, address: self._at(host).readdress(address),
            "link": lambda host, up: self._at(host).link(up),
            "wipe": lambda host: self._at(host).wipe(),
            "clone": lambda source, target: self._at(target).copy_data(self._at(source)),
            "split": lambda hosts: self.switch.split(self._at(host).name for host in hosts),
            "bridge": self.switch.bridge,
        }

    def serve(self) -> None:
        """Until told to end; the caller then ends the process, and with it all else."""
        listener = door.listen(self.folder)
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(woken, selectors.EVENT_READ)
        if self._leashed:
            self._selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is listener:
                    visitor, _ = listener.accept()
                    self._selector.register(visitor, selectors.EVENT_READ)
                elif key.fileobj == woken:
                    os.read(woken, 4096)
                    self._reap()
                elif key.fileobj == 0 or (isinstance(key.fileobj, socket.socket) and self._serve_one(key.fileobj)):
                    return

    # -- the verbs ----------------------------------------------------------------------------------------------

    def hosts(self) -> tuple[list[dict[str, Any]], Files]:
        """All hosts; a process file descriptor (pidfd_open(2)) of each running node comes along, in the same order."""
        known = [
            {
                "name": machine.name,
                "address": machine.address,
                "ula": machine.ula,
                "files": str(machine.files),
                "running": machine.running,
                "paused": machine.paused,
                "code": machine.node.returncode if machine.node else None,
            }
            for machine in self.machines.values()
        ]
        return known, [os.pidfd_open(m.node.pid) for m in self.machines.values() if m.node and m.running]

    def add(self, name: str) -> None:
        if name in self.machines:
            raise LabError(f"there is a host called {name}")
        files = self.folder / "hosts" / name
        machine = Machine(name, len(self.machines) + 1, files, ipv4=not self.ipv6_only, ula=self.ula or self.ipv6_only)
        machine.power_on()
        self.switch.plug_in(name, machine.hardware, machine.network)
        machine.connect()
        self.machines[name] = machine

    def start(self, host: str, flags: list[str]) -> None:
        machine = self._at(host)
        machine.start_node(flags)
        if machine.node is not None:
            self._children[machine.node.pid] = machine.node

    def signal(self, host: str, number: int) -> None:
        """To the node alone."""
        machine = self._at(host)
        if machine.node is None or not machine.running:
            raise LabError(f"no node runs on {host}")
        os.kill(machine.node.pid, number)

    def kill(self, host: str) -> None:
        if init := self._at(host).power_off():
            while self._bury(block=True) != init:
                pass

    def cut(self, a: str, b: str | None, one_way: bool) -> None:
        self.switch.cut(self._at(a).name, self._at(b).name if b else None, one_way=one_way)

    def heal(self, a: str | None, b: str | None) -> None:
        self.switch.heal(self._at(a).name if a else None, self._at(b).name if b else None)

    def multicast(self, host: str | None, lost: int) -> None:
        self.switch.lose_multicast(self._at(host).name if host else None, lost)

    def _at(self, host: str) -> Machine:
        try:
            return self.machines[host]
        except KeyError:
            raise LabError(f"there is no host {host}; there are {', '.join(self.machines) or 'none'}") from None

    # -- visitors and children ----------------------------------------------------------------------------------

    def _serve_one(self, visitor: socket.socket) -> bool:
        """Read a request and answer it; True if it was the last one."""
        if visitor.fileno() < 0:  # dismissed since it knocked
            return False
        files: Files = []
        try:
            request, files = door.receive(visitor)
            return self._answer(visitor, request.pop("verb"), request, files)
        except LabError as error:
            self._reply(visitor, {"error": str(error)})
        except (EOFError, ConnectionError):
            self._dismiss(visitor)
        except Exception as error:
            traceback.print_exc()
            self._reply(visitor, {"error": f"{type(error).__name__}: {error}"})
        finally:
            for file in files:
                os.close(file)
        return False

    def _answer(self, visitor: socket.socket, verb: str, words: dict[str, Any], files: Files) -> bool:
        match verb:
            case "down":
                self._reply(visitor, {})
                return True
            case "socket":
                machine = self._at(words["host"])
                family = socket.AF_INET6 if words["ipv6"] else socket.AF_INET
                with machine.socket(family, _SOCKETS[words["kind"]]) as made:
                    self._reply(visitor, {}, [made.fileno()])
            case "wait":  # for the end of the node; its return code
                node = self._at(words["host"]).node
                if node is None or node.returncode is not None:
                    self._reply(visitor, {"answer": node.returncode if node else None})
                else:
                    self._waiting[node.pid].append(visitor)
            case "exec":  # its return code when it has ended; it ends when the visitor hangs up
                machine = self._at(words["host"])
                environment = {**machine.environment(), **words["environment"]}
                child = machine.spawn(words["command"], files, environment)
                self._children[child.pid] = child
                self._waiting[child.pid].append(visitor)
                self._owner[visitor] = child.pid
            case _ if verb in self._verbs:
                answer = self._verbs[verb](**words)
                sent: Files = []
                if verb == "hosts":
                    answer, sent = answer
                self._reply(visitor, {"answer": answer}, sent)
                for file in sent:
                    os.close(file)
            case _:
                raise LabError("there is no such verb")
        return False

    def _reply(self, visitor: socket.socket, message: object, files: Files | None = None) -> None:
        with suppress(OSError):  # it did not wait for the answer
            door.send(visitor, message, files or [])
        self._dismiss(visitor)

    def _dismiss(self, visitor: socket.socket) -> None:
        if pid := self._owner.pop(visitor, 0):
            child = self._children.get(pid)
            if child is not None and child.returncode is None:
                os.kill(pid, signal.SIGKILL)
        for waiting in self._waiting.values():
            if visitor in waiting:
                waiting.remove(visitor)
        self._selector.unregister(visitor)
        visitor.close()

    def _reap(self) -> None:
        while self._bury(block=False):
            pass

    def _bury(self, *, block: bool) -> int:
        """Take note of one child that has ended, and tell who waits for it; its pid, or 0 if there is none."""
        try:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            return 0
        if child := self._children.pop(pid, None):
            child.returncode = os.waitstatus_to_exitcode(status)
            for visitor in list(self._waiting.pop(pid, ())):
                self._owner.pop(visitor, None)
                self._reply(visitor, {"answer": child.returncode})
        return pid


def main(arguments: list[str]) -> None:
    folder, *flags = arguments
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another lab runs in this folder")
    holder = Holder(
        Path(folder), ipv6_only="--ipv6-only" in flags, ula="--no-ula" not in flags, leashed="--leashed" in flags
    )
    holder.serve()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
