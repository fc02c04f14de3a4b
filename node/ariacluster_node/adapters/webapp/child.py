"""The web app's process. The node works without it: whatever happens to it is told in the log, and tried again."""

import asyncio
import contextlib
import importlib.util
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence

import msgspec
import structlog

log = structlog.get_logger()

PACKAGE = "ariacluster_ui"

PORT_TAKEN = 78
"""Its exit code for a port that another program has: contract with `ariacluster_ui.main`."""

TAIL = 5
"""Lines of what it said last that are told when it ends."""


MAX_LINE = 8192


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: before the first restart and at most, of a steady run, and for its end."""

    first: float = 1.0
    longest: float = 60.0
    steady: float = 60.0
    end: float = 5.0


class WebApp:
    """`run` keeps one process of `command` alive until it is cancelled."""

    def __init__(self, command: Sequence[str], patience: Patience | None = None) -> None:
        self._command = command
        self._patience = patience or Patience()

    async def run(self) -> None:
        """Until cancelled, and no process is left then. Never raises otherwise."""
        clock = asyncio.get_running_loop().time
        pause = self._patience.first
        while True:
            since = clock()
            code, said = await self._once()
            if clock() - since >= self._patience.steady:
                pause = self._patience.first
            if code == PORT_TAKEN:
                log.warning("the web app's port is in use; the node works without it", said=said, next_try_in=pause)
            else:
                log.warning("the web app ended", code=code, said=said, next_try_in=pause)
            await asyncio.sleep(pause)
            pause = min(self._patience.longest, pause * 2)

    async def _once(self) -> tuple[int | None, str]:
        """Its exit code and last words; None if it could not be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,  # it ends when this closes, so also when the node is killed
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                process_group=0,  # Ctrl-C in a terminal is for the node, which ends it
            )
        except OSError as error:
            return None, error.strerror or str(error)
        log.info("web app started", pid=process.pid)
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=TAIL)
        try:
            async for line in _lines(process.stderr):
                last.append(line)
                log.debug("web app", said=line)
            return await process.wait(), " ".join(last)
        finally:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Ask it to leave, and see to it that it does."""
        with contextlib.suppress(ProcessLookupError):
            if process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), self._patience.end)
            if process.returncode is None:
                process.kill()
        await process.wait()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """What is written, a line at a time; one that is too long is told in pieces."""
    while text := await stream.read(MAX_LINE):
        for line in text.decode(errors="replace").splitlines():
            if line.strip():
                yield line.strip()


def command(*, urls: Sequence[str], host: str, port: int, storage: str, names: Sequence[str]) -> list[str] | None:
    """What starts it; None if it is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        return None
    told = [
        *(word for one in urls for word in ("--url", one)),
        "--host",
        host,
        "--port",
        str(port),
        "--storage",
        storage,
    ]
    allowed = [word for name in names for word in ("--allow-host", name)]
    # -P: nothing in the folder that the node was started in may pass itself off as a part of the program.
    return [sys.executable, "-P", "-m", f"{PACKAGE}.main", *told, *allowed, "--with-parent"]
