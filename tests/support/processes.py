"""Real programs run for a test: their output in a file, their signals by pid, and an end for sure.

Every program gets a process group of its own and a mark in its environment that its children inherit, so that also those
which left the group or lost their parent are found and ended. Should the test run itself be killed, a guard does that.
"""

import asyncio
import inspect
import itertools
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals
from typing import TypeVar, cast, overload

import psutil

T = TypeVar("T")

_MARK = "TESTS_OF_ARIACLUSTER"
_RUN = uuid.uuid4().hex
_POLL_S = 0.01
_LONGEST_POLL_S = 0.1
_SHARE = 10
"""Who waits leaves the machine to what is waited for: it is asked again after so many times of what the asking took."""
_TAIL_BYTES = 4000
_serial = itertools.count(1)
_guard: tuple[int, int] | None = None  # pid that made it, and our end of its pipe

_GUARD = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
while os.read(0, 4096):
    pass
import psutil
mark, run = sys.argv[1:]
for process in psutil.process_iter():
    try:
        if process.environ().get(mark, "").startswith(run):
            process.kill()
    except (psutil.Error, OSError):
        pass
"""


@overload
async def until(condition: Callable[[], Awaitable[T]], what: str, *, timeout: float = ...) -> T: ...
@overload
async def until(condition: Callable[[], T], what: str, *, timeout: float = ...) -> T: ...
async def until(condition: Callable[[], T | Awaitable[T]], what: str, *, timeout: float = 10.0) -> T:
    """The first true value of `condition`, asked again and again; TimeoutError names `what` after `timeout` seconds."""
    now = asyncio.get_running_loop().time
    deadline = now() + timeout
    while True:
        asked = now()
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return cast(T, value)
        if now() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        await asyncio.sleep(min(max(_POLL_S, _SHARE * (now() - asked)), _LONGEST_POLL_S))


class Process:
    """One running program; made by `start`, and ended by `stop` also when it has paused or left children."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path, mark: str) -> None:
        self.name = name
        self.log = log
        self.pid = popen.pid
        self._popen = popen
        self._mark = mark

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal when one ended it."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """A paused program counts as running."""
        return self.returncode is None

    async def text(self) -> str:
        """Everything that it has written so far, standard output and error in one."""
        return await asyncio.to_thread(self.log.read_text, errors="replace")

    async def wait(self, *, timeout: float = 10.0) -> int:
        """Its return code when it has left by itself; TimeoutError after `timeout` seconds."""
        await until(lambda: not self.running, f"{self.name} (pid {self.pid}) leaves", timeout=timeout)
        return self._popen.returncode

    async def wait_for_text(self, text: str, *, timeout: float = 10.0) -> str:
        """The output once `text` is in it; AssertionError with the end of the output when it dies or stays silent."""

        async def written() -> str:
            output = await self.text()
            return output if text in output else ""

        return await self.wait_until(written, f"“{text}” in its output", timeout=timeout)

    @overload
    async def wait_until(self, condition: Callable[[], Awaitable[T]], what: str, *, timeout: float = ...) -> T: ...
    @overload
    async def wait_until(self, condition: Callable[[], T], what: str, *, timeout: float = ...) -> T: ...
    async def wait_until(self, condition: Callable[[], T | Awaitable[T]], what: str, *, timeout: float = 10.0) -> T:
        """As `until`, but fails at once when the program has ended before; AssertionError shows the end of its output."""

        async def true() -> T | None:
            ended = not self.running  # looked at first: what it did just before its end still counts
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if not value and ended:
                raise AssertionError(f"{self.name} left with {self.returncode} before {what}\n{await self._tail()}")
            return cast(T, value) or None

        try:
            return cast(T, await until(true, what, timeout=timeout))
        except TimeoutError as error:
            raise AssertionError(f"{self.name}: {error}\n{await self._tail()}") from error

    def signal(self, number: Signals) -> None:
        """To this one program, not to its children; nothing happens when it has ended."""
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 of this one program: a crash. Its children live on, as they would."""
        self.signal(SIGKILL)

    def pause(self) -> None:
        """Stops it where it stands (SIGSTOP): a hang, while its sockets stay open."""
        self.signal(SIGSTOP)

    def resume(self) -> None:
        """Goes on after `pause`."""
        self.signal(SIGCONT)

    async def family(self) -> list[psutil.Process]:
        """What lives of it and of all that it has started, whatever their group or parent is by now."""
        return await asyncio.to_thread(self._family)

    async def signal_family(self, number: Signals) -> None:
        """To it and all that it has started: SIGKILL is a power cut, SIGSTOP a machine that hangs."""
        await asyncio.to_thread(self._signal_family, number)

    async def stop(self, *, grace: float = 5.0) -> int:
        """Its return code, after SIGTERM, `grace` seconds, and SIGKILL to whatever of its family is left."""
        self.signal(SIGTERM)
        self.resume()  # a paused program does not see the SIGTERM before
        try:
            with suppress(TimeoutError):
                await self.wait(timeout=grace)
        finally:
            self.kill()

        async def gone() -> bool:
            await self.signal_family(SIGKILL)
            return not self.running and not await self.family()

        await until(gone, f"{self.name} (pid {self.pid}) and its children are gone")
        return self._popen.returncode

    def _family(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _signal_family(self, number: Signals) -> None:
        for member in self._family():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return os.getpgid(process.pid) == self.pid or process.environ().get(_MARK) == self._mark
        except (psutil.Error, OSError):  # ended meanwhile, or of another user
            return False

    async def _tail(self) -> str:
        return f"--- {self.log} ---\n{(await self.text())[-_TAIL_BYTES:]}"


def _outside() -> dict[str, str]:
    """Our environment without what makes libraries believe that they are tested: what is started is a real program."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


async def start(
    args: Sequence[str | Path],
    folder: Path,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Process:
    """Starts a program; its output goes to `folder`/NAME.log. `env` is added to the environment. The caller stops it."""
    return await asyncio.to_thread(_start, args, folder, name or Path(args[0]).name, env or {}, cwd)


@asynccontextmanager
async def running(
    args: Sequence[str | Path],
    folder: Path,
    *,
    name: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[Process]:
    """`start`, and `stop` at the end of the block."""
    process = await start(args, folder, name=name, env=env, cwd=cwd)
    try:
        yield process
    finally:
        await process.stop()


def _start(args: Sequence[str | Path], folder: Path, name: str, env: Mapping[str, str], cwd: Path | None) -> Process:
    _ensure_guard()
    folder.mkdir(parents=True, exist_ok=True)
    mark = f"{_RUN}-{next(_serial)}"
    with _new_log(folder, name).open("wb") as log:
        popen = subprocess.Popen(
            args,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**_outside(), **env, _MARK: mark},
            start_new_session=True,
        )
    return Process(name, popen, Path(log.name), mark)


def _new_log(folder: Path, name: str) -> Path:
    """A file of its own for each start: a text of the run before must not be taken for one of this."""
    candidates = itertools.chain([f"{name}.log"], (f"{name}.{number}.log" for number in itertools.count(2)))
    return next(path for path in (folder / candidate for candidate in candidates) if not path.exists())


def _ensure_guard() -> None:
    """Starts, once, a process that waits for our end and then kills what carries our mark.

    A parent-death signal would not do: it comes when the *thread* that started the child ends.
    """
    global _guard
    if _guard is not None and _guard[0] == os.getpid():
        return
    theirs, ours = os.pipe()
    try:
        subprocess.run(
            [sys.executable, "-c", _GUARD, _MARK, _RUN],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=30,
        )
    finally:
        os.close(theirs)
    _guard = (os.getpid(), ours)
