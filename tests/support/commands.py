"""Programs that are run for what they say."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from tests.lab.available import path

ROOT = Path(__file__).parents[2]
_TAIL = 4000


class Failed(Exception):
    """A command that left with an error: its words, and the end of what it said."""


async def said(*command: str | Path, env: Mapping[str, str] | None = None, given: str = "") -> str:
    """What it wrote to its standard output; `Failed` if it left with an error. It runs in the checkout, and reads `given`."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, "PATH": path(), **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(given.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = " ".join(map(str, command))
        raise Failed(f"{words} left with {process.returncode}: {(out + err).decode(errors='replace')[-_TAIL:]}")
    return out.decode()
