"""A node that is none, and who speaks to it: the client, and the command line."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ariacluster.cli.main import main
from ariacluster.client.client import NodeClient
from tests.support.fake_node import FakeNode, Ran, Run


@pytest.fixture
async def fake() -> AsyncIterator[FakeNode]:
    async with FakeNode() as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeNode) -> AsyncIterator[NodeClient]:
    async with NodeClient(fake.url) as client:
        yield client


@pytest.fixture
def run(fake: FakeNode, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program inside this process: a tenth of the time of a process of its own."""
    monkeypatch.setenv("ARIACLUSTER_URL", fake.url)
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    async def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = await asyncio.wait_for(asyncio.to_thread(main, arguments), 30)
        return Ran(code, *capsys.readouterr())

    return run
