"""One aria2c as a child of this node: started, known to be ours, ended."""

import asyncio
import contextlib
import os
import secrets
import socket
from pathlib import Path

import structlog

from ariacluster.domain.errors import StartFailed, Unavailable

from . import leftover
from .flags import Tuning, command_line
from .locate import Program
from .rpc import Refused, Rpc

log = structlog.get_logger()

_UP_S = 15.0
"""It answers after 0.05 s on an idle machine."""

_KNOCK_S = 0.02
_TERM_S = 5.0
"""After SIGTERM it saves its control files and is gone in a second."""

_TRIES = 5
"""Between finding a free port and using it somebody else may take it."""


class Engine:
    """A running aria2c that answered to our secret."""

    def __init__(self, process: asyncio.subprocess.Process, rpc: Rpc, version: str) -> None:
        self.process = process
        self.rpc = rpc
        self.version = version

    @classmethod
    async def start(cls, program: Program, data: Path, tuning: Tuning) -> "Engine":
        """Start one on free ports. `data` is this node's, absolute, and exists. `StartFailed` if none comes up."""
        await asyncio.to_thread(leftover.clear, data)
        story = ""
        for _ in range(_TRIES):
            try:
                return await _start_once(program, data, tuning)
            except Unavailable as error:
                story = error.detail
                log.info("engine did not come up", reason=story)
        raise StartFailed(f"{program.path} does not start: {story}")

    async def end(self, *, gently: bool = True) -> None:
        """Let it save and leave, or (not `gently`, or when that takes too long) kill it. Idempotent."""
        await _end(self.process, gently=gently)
        await self.rpc.close()


async def _start_once(program: Program, data: Path, tuning: Tuning) -> Engine:
    """`Unavailable` with the story if it ended, did not answer, or somebody else answered in its place."""
    secret = secrets.token_hex(16)
    secret_file, said = data / "aria2c.secret.conf", data / "aria2c.err"
    rpc_port = _free_port()
    flags = command_line(tuning, data=data, secret_file=secret_file, rpc_port=rpc_port)
    process: asyncio.subprocess.Process | None = None
    try:
        try:
            await asyncio.to_thread(_write_private, secret_file, f"rpc-secret={secret}\n")
            errors = await asyncio.to_thread(_open_private, said)
        except OSError as error:
            raise _unwritable(data, error) from None
        try:
            process = await asyncio.create_subprocess_exec(
                program.path,
                *program.flags,
                *flags,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                process_group=0,  # Ctrl-C in a terminal is for us: we end it after our downloads are accounted for
            )
        except OSError as error:
            raise StartFailed(f"{program.path} cannot be executed ({error.strerror}).") from None
        finally:
            os.close(errors)
        try:
            await asyncio.to_thread(leftover.remember, data, process.pid)
        except OSError as error:
            raise _unwritable(data, error) from None
        rpc = await _greet(process, rpc_port, secret, said)
        try:
            version = str((await rpc.call("aria2.getVersion"))["version"])
        except BaseException:
            await rpc.close()
            raise
        log.info("engine started", pid=process.pid, version=version, path=str(program.path))
        return Engine(process, rpc, version)
    except BaseException:
        if process is not None:
            await _end(process, gently=False)
        raise
    finally:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(secret_file.unlink)


def _unwritable(data: Path, error: OSError) -> StartFailed:
    return StartFailed(f"The node cannot write to its data folder {data}: {error.strerror}.")


async def _greet(process: asyncio.subprocess.Process, port: int, secret: str, said: Path) -> Rpc:
    """Knock until our engine opens, or has ended."""
    opening = asyncio.create_task(_knock(port, secret))
    exited = asyncio.create_task(process.wait())
    try:
        # aria2 lives on when it could bind only the port of [::1]: then whoever has the other one may be silent.
        await asyncio.wait({opening, exited}, timeout=_UP_S, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            return opening.result()
        if exited.done():
            words = await asyncio.to_thread(_first_line, said)
            raise Unavailable(words or f"it ended at once with code {process.returncode} (is its port taken?).")
        raise Unavailable(f"it did not answer within {_UP_S:.0f} s.")
    finally:
        opening.cancel()
        exited.cancel()
        await asyncio.gather(opening, exited, return_exceptions=True)


async def _knock(port: int, secret: str) -> Rpc:
    while True:
        try:
            return await Rpc.open(port, secret)
        except Refused:
            raise Unavailable(f"another program answers on its port {port}.") from None
        except Unavailable:
            await asyncio.sleep(_KNOCK_S)


async def _end(process: asyncio.subprocess.Process, *, gently: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if gently and process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _TERM_S)
        if process.returncode is None:
            process.kill()
    await process.wait()


def _free_port() -> int:
    """A loopback port that is free now; nothing holds it for us."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(_open_private(path), "w") as file:
        file.write(text)


def _open_private(path: Path) -> int:
    """A new file that only we can read, opened for writing; an old one is replaced, whatever its mode or kind."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _first_line(path: Path) -> str:
    """What it complained of before it ended: the program's own name and trailing help left out."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[0].strip()[:200] if lines else ""
