"""A LAN for a test or a person: made, changed and ended through its holder."""

import asyncio
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from tests.support import processes

from . import door
from .available import available, namespaces, path
from .door import LabError
from .host import Facts, Host
from .machine import ROOT
from .origin import LanOrigin

T = TypeVar("T")

ORIGIN = "origin"
_WITHIN_S = 20.0
_LOOK_PAUSE_S = 0.1


class Lab:
    """`async with Lab(hosts=5) as lab`: hosts without nodes on one LAN, gone at the end, and also if this process is killed.

    Everything is in `folder`; without one, in a new one that goes with the lab. `ula` gives the hosts unique local IPv6
    addresses, `ipv6_only` no others; link-local ones they have in any case.
    """

    def __init__(
        self, hosts: int = 3, *, folder: Path | None = None, ipv6_only: bool = False, ula: bool = True
    ) -> None:
        self.hosts: list[Host] = []
        self.folder = folder or Path()
        self._count = hosts
        self._ipv6_only = ipv6_only
        self._ula = ula
        self._temporary = folder is None
        self._holder: subprocess.Popen[bytes] | None = None
        self._origin: LanOrigin | None = None

    async def __aenter__(self) -> Self:
        if self._temporary:
            self.folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="lab-"))
        try:
            self._holder = await asyncio.to_thread(
                start_holder, self.folder, ipv6_only=self._ipv6_only, ula=self._ula, leashed=True
            )
            for number in range(1, self._count + 1):
                await self.add(f"host{number}")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for host in self.hosts:  # pytest shows it with the failure
                sys.stderr.write(await host.log_tail() + "\n")
        await self._end()

    @classmethod
    async def attach(cls, folder: Path) -> Self:
        """The lab that runs in that folder. LabError if there is none."""
        lab = cls(folder=folder)
        await lab.look()
        return lab

    async def look(self) -> list[Host]:
        """`hosts` with new facts."""
        known, pids = await asyncio.to_thread(_look, self.folder)
        facts = [Facts(**{**entry, "files": Path(entry["files"])}) for entry in known]
        facts = [
            msgspec.structs.replace(fact, pid=pids.pop(0)) if fact.running else fact  # in the same order
            for fact in facts
        ]
        by_name = {host.name: host for host in self.hosts}
        for fact in facts:
            if fact.name in by_name:
                by_name[fact.name].facts = fact
            elif self._origin is None or fact.name != ORIGIN:  # no node runs there
                self.hosts.append(Host(self, fact))
        return self.hosts

    async def add(self, name: str) -> Host:
        """One more host on the LAN."""
        await self.call("add", name=name)
        return next(host for host in await self.look() if host.name == name)

    def host(self, name: str) -> Host:
        """By its name, or its number. LabError if there is none."""
        for host in self.hosts:
            if host.name in (name, f"host{name}"):
                return host
        raise LabError(f"there is no host {name}; there are {', '.join(host.name for host in self.hosts) or 'none'}")

    # -- the network --------------------------------------------------------------------------------------------

    async def cut(self, a: Host, b: Host | None = None, *, one_way: bool = False) -> None:
        """Nothing gets from `a` to `b` any more, nor back unless `one_way`. Without `b`: `a` is cut off from all."""
        await self.call("cut", a=a.name, b=b.name if b else None, one_way=one_way)

    async def heal(self, a: Host | None = None, b: Host | None = None) -> None:
        """Undoes the cuts between the two, those of `a` with anybody, or all cuts."""
        await self.call("heal", a=a.name if a else None, b=b.name if b else None)

    async def multicast(self, setting: int | Literal["on", "off"], host: Host | None = None) -> None:
        """So many percent of the mDNS packets (UDP 5353) to each receiver get lost, by dice; "off" is 100. Of one host (to
        and from it), or of all, also of those to come."""
        lost = {"on": 0, "off": 100}[setting] if isinstance(setting, str) else setting
        await self.call("multicast", host=host.name if host else None, lost=lost)

    async def split(self, *away: Host) -> None:
        """These hosts are on a switch of their own from now on, without a wire to that of the others."""
        await self.call("split", hosts=[host.name for host in away])

    async def bridge(self) -> None:
        """A wire between the two switches."""
        await self.call("bridge")

    async def clone(self, source: Host, target: Host) -> None:
        """The data folder of `source` in the place of that of `target`, as when a disk is copied."""
        await self.call("clone", source=source.name, target=target.name)

    async def origin(self) -> LanOrigin:
        """A web server on a host of its own, for downloads; `Host.shape` of its `host` bounds its uplink. The same one each
        time."""
        if self._origin is None:
            host = await self.add(ORIGIN)
            self.hosts.remove(host)
            self._origin = LanOrigin(host, await host.socket("tcp", ipv6=self._ipv6_only))
            await self._origin.open()
        return self._origin

    # -- what the nodes say -------------------------------------------------------------------------------------

    async def until(
        self, condition: Callable[[], Awaitable[T]], what: str = "the condition holds", *, within: float = 10.0
    ) -> T:
        """The first true value of `condition`, asked again and again; TimeoutError names `what` after so many seconds."""
        return await processes.until(condition, what, timeout=within)

    async def running(self) -> list[Host]:
        """The hosts whose node runs and is not paused."""
        return [host for host in await self.look() if host.facts.running and not host.facts.paused]

    async def alive(self, hosts: Sequence[Host] | None = None, *, within: float = 30.0) -> None:
        """Until the API of each of them (default: of all that run) answers. AssertionError at once if a node has ended."""
        waiting = list(hosts if hosts is not None else await self.running())

        async def answer() -> bool:
            for host in await self.look():
                if host in waiting and not host.facts.running:
                    raise AssertionError(f"{host.name} ended with {host.facts.code}\n{await host.log_tail()}")
            answers = await asyncio.gather(*(host.alive() for host in waiting))
            waiting[:] = [host for host, answered in zip(waiting, answers, strict=True) if not answered]
            if waiting:
                await asyncio.sleep(_LOOK_PAUSE_S)
            return not waiting

        try:
            await self.until(answer, within=within)
        except TimeoutError:
            raise AssertionError(f"no API within {within} s: {', '.join(host.name for host in waiting)}") from None

    async def said(self) -> dict[str, Any]:
        """What the running nodes answer to `GET /status`, by host; None where there is no answer or no cluster yet."""
        hosts = await self.running()
        return dict(zip([h.name for h in hosts], await asyncio.gather(*(h.status() for h in hosts)), strict=True))

    async def clusters(self) -> set[str]:
        """The ids of all clusters that running nodes belong to."""
        return {status["cluster"]["id"] for status in (await self.said()).values() if status}

    async def one_cluster(self, *, within: float = 10.0, members: int | None = None) -> str:
        """The cluster's id, once all running nodes tell the same one, the same leader, that they have a quorum, and `members`
        members (default: as many as run). AssertionError shows what each said last."""
        last: dict[str, Any] = {}

        async def united() -> str:
            last.clear()
            last.update(await self.said())
            told = {_gist(status) for status in last.values()}
            wanted = len(last) if members is None else members
            if len(told) == 1 and (gist := told.pop()) and gist[1] and gist[2] and gist[3] == wanted:
                return gist[0]
            await asyncio.sleep(_LOOK_PAUSE_S)
            return ""

        try:
            return await self.until(united, within=within)
        except TimeoutError:
            seen = "\n".join(f"  {name}: {_gist(status)}" for name, status in last.items())
            raise AssertionError(
                f"not one cluster within {within} s; each said (cluster, leader, has quorum, members):\n{seen}"
            ) from None

    # -- the holder ---------------------------------------------------------------------------------------------

    async def call(self, verb: str, *, files: Sequence[int] = (), within: float | None = 30.0, **words: object) -> Any:
        """The holder's answer. LabError if it refuses or has ended."""
        answer, _ = await asyncio.to_thread(door.call, self.folder, verb, words, files=files, within=within)
        return answer

    async def take(self, verb: str, **words: object) -> int:
        """As `call`; the open file that came with the answer, for the caller to close."""
        _, [file] = await asyncio.to_thread(door.call, self.folder, verb, words)
        return file

    async def holder(self) -> int:
        """The pid of the process whose end is the end of the lab."""
        return await asyncio.to_thread(door.holder_of, self.folder)

    async def down(self) -> None:
        """End everything on it and of it; the folder stays."""
        await asyncio.to_thread(end, self.folder)

    async def _end(self) -> None:
        if self._origin is not None:
            await self._origin.shut()
        if self._holder is not None:
            await asyncio.to_thread(_unleash, self._holder)
        if self._temporary:
            await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)


def start_holder(folder: Path, *, ipv6_only: bool, ula: bool, leashed: bool) -> subprocess.Popen[bytes]:
    """A new holder, when its door is open. Leashed, it ends when the pipe to it is closed, by whatever closes it: also our
    end. LabError where no lab can be made, or if one runs in that folder."""
    if reason := available():
        raise LabError(reason)
    if pid := holder_in(folder):
        raise LabError(f"a lab runs in {folder} already (pid {pid}): end it first")
    folder.mkdir(parents=True, exist_ok=True)
    flags = [*["--ipv6-only"] * ipv6_only, *["--no-ula"] * (not ula), *["--leashed"] * leashed]
    with (folder / "holder.log").open("wb") as log:
        holder = subprocess.Popen(
            [*namespaces(), sys.executable, "-m", "tests.lab.holder", str(folder.resolve()), *flags],
            stdin=subprocess.PIPE if leashed else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "PATH": path(), "PYTHONPATH": f"{ROOT}:{ROOT / 'node'}"},
            start_new_session=True,
        )
    try:
        _wait_for_door(folder, holder)
    except BaseException:
        _unleash(holder)
        raise
    return holder


def holder_in(folder: Path) -> int:
    """The pid of the holder of the lab that runs in that folder; 0 if there is none."""
    try:
        return door.holder_of(folder)
    except LabError:
        return 0


def end(folder: Path) -> None:
    """End the lab in that folder: when it returns, nothing of it runs. LabError if there is none."""
    holder = os.pidfd_open(door.holder_of(folder))
    try:
        door.call(folder, "down")
        select.select([holder], [], [], _WITHIN_S)
    finally:
        os.close(holder)


def _wait_for_door(folder: Path, holder: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        if holder_in(folder):
            return
        if holder.poll() is not None:
            break
        time.sleep(0.01)
    raise LabError(f"the lab does not start: {(folder / 'holder.log').read_text(errors='replace')}")


def _unleash(holder: subprocess.Popen[bytes]) -> None:
    """End it; when it returns, everything has ended with it."""
    if holder.stdin:
        holder.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            holder.wait(_WITHIN_S)
    holder.kill()
    holder.wait()


def _look(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    known, files = door.call(folder, "hosts")
    pids = []
    for file in files:
        pids.append(_pid(file))
        os.close(file)
    return known, pids


def _pid(pidfd: int) -> int:
    """The number that the process has here (proc(5), fdinfo); -1 when it is gone."""
    told = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("Pid:")))


def _gist(status: Any) -> tuple[str, str, bool, int] | None:
    if not status:
        return None
    cluster = status["cluster"]
    leader = cluster["leader"]["name"] if cluster["leader"] else ""
    return cluster["id"], leader, cluster["has_quorum"], cluster["members"]
