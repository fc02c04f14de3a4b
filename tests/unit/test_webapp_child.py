"""The web app as a child: started again when it ends, told when its port is taken, gone when the node is."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ariacluster_node.adapters.webapp import Patience, WebApp, command
from ariacluster_node.adapters.webapp.child import PORT_TAKEN
from ariacluster_ui.main import TAKEN
from tests.support.processes import until

SOON = Patience(first=0.01, longest=0.05, end=5.0)

MARK = "open({file!r}, 'a').write(str(os.getpid()) + chr(10))"
LIVE = "import os, sys; " + MARK + "; sys.stdin.read()"
DIE = "import os, sys; " + MARK + "; sys.stderr.write('out of luck'); sys.exit({code})"


@asynccontextmanager
async def kept(program: str) -> AsyncIterator[None]:
    running = asyncio.create_task(WebApp([sys.executable, "-c", program], SOON).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pids"


def pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_is_started_again_when_it_ends_and_its_last_words_are_told(file: Path) -> None:
    with capture_logs() as logs:
        async with kept(DIE.format(file=str(file), code=3)):
            await until(lambda: len(pids(file)) >= 3, "three starts")
    ended = [line for line in logs if line["event"] == "the web app ended"]
    assert ended[0]["code"] == 3
    assert ended[0]["said"] == "out of luck"
    assert ended[1]["next_try_in"] > ended[0]["next_try_in"]


async def test_a_taken_port_is_told_as_such(file: Path) -> None:
    assert PORT_TAKEN == TAKEN
    with capture_logs() as logs:
        async with kept(DIE.format(file=str(file), code=TAKEN)):
            await until(lambda: len(pids(file)) >= 2, "two starts")
    assert any("port is in use" in line["event"] for line in logs)


async def test_it_ends_with_the_node(file: Path) -> None:
    async with kept(LIVE.format(file=str(file))):
        [pid] = await until(lambda: pids(file), "it runs")
        assert alive(pid)
    assert not alive(pid)


async def test_a_program_that_is_none_is_told_and_tried_again() -> None:
    running = asyncio.create_task(WebApp(["/nowhere/at/all"], SOON).run())
    with capture_logs() as logs:
        await until(lambda: len(logs) >= 2, "two tries")
    running.cancel()
    assert logs[0]["said"] == "No such file or directory"


def test_what_starts_it_is_told_everything() -> None:
    told = command(urls=["http://a:1", "http://b:2"], host="::", port=9, storage="/x", names=["nas.example.org"])
    assert told is not None
    assert told[1:4] == ["-P", "-m", "ariacluster_ui.main"]
    assert told[4:8] == ["--url", "http://a:1", "--url", "http://b:2"]
    assert told[-3:] == ["--allow-host", "nas.example.org", "--with-parent"]
