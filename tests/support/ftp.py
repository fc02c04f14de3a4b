"""A real FTP server as the origin of downloads: pyftpdlib, anonymous and read-only, on loopback."""

import asyncio
import importlib.util
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import ports, processes

_SENT = re.compile(r"RETR (?P<path>.+) completed=(?P<completed>[01]) bytes=(?P<bytes>\d+) ")

# Its 226 (done) comes a moment late. An aria2c that gets it in one read with the 125 (begins) does not see it and waits
# for another until its --timeout, 60 s, before it reports success; without the delay every third small file did that.
_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.log import config_logging
from pyftpdlib.servers import FTPServer

class Handler(FTPHandler):
    authorizer = DummyAuthorizer()

    def respond(self, resp, *args, **kwargs):
        answer = super().respond
        if not resp.startswith("226"):
            return answer(resp, *args, **kwargs)
        self.ioloop.call_later(0.3, lambda: None if self._closed else answer(resp, *args, **kwargs))

port, folder = sys.argv[1:]
Handler.authorizer.add_anonymous(folder)
config_logging()
FTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


class Ftp:
    """One server on one port. Made by `origin`."""

    def __init__(self, served: Path, port: int, process: processes.Process) -> None:
        self.served = served
        self.port = port
        self.process = process

    def url(self, name: str) -> str:
        """Where `name` of the served folder is offered."""
        return f"ftp://127.0.0.1:{self.port}/{quote(name)}"

    async def bytes_sent(self, name: str) -> int:
        """Bytes of all ended transfers of `name`, with what a cut one had put into its socket; wait with `until`."""
        path = str(await asyncio.to_thread(self.served.resolve) / name)
        sent = _SENT.finditer(await self.process.text())
        return sum(int(match["bytes"]) for match in sent if match["path"] == path)


@asynccontextmanager
async def origin(served: Path, work: Path) -> AsyncIterator[Ftp]:
    """pyftpdlib that serves the folder `served`, its log in `work`; skips the test where it is not installed."""
    if importlib.util.find_spec("pyftpdlib") is None:
        pytest.skip("no pyftpdlib: pip install pyftpdlib")
    port = ports.free_port()
    # A process of its own, with warnings off: it leans on asyncore, whose import warns, and warnings fail the tests.
    args = [sys.executable, "-W", "ignore", "-c", _SERVER, str(port), str(served)]
    async with processes.running(args, work, name="ftp") as process:
        await process.wait_for_text(">>> starting FTP server")
        yield Ftp(served, port, process)
