"""A real web server as the origin of downloads: nginx on loopback, with one place for each way an origin can behave."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

import msgspec
import pytest

from tests.support import ports, processes

USER, PASSWORD = "ada", "lovelace"  # of /auth/
RETRY_AFTER_S = 1  # what /busy/ asks for
DEFAULT_SLOW = 500_000  # bytes/s of a connection to /slow/ whose URL names no rate

Place = Literal["files", "noranges", "slow", "auth", "busy", "secret", "gone"]

_CONF = r"""
daemon off;
master_process off;
pid "{work}/nginx.pid";
error_log "{work}/error.log" info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path "{work}/tmp-body";
    proxy_temp_path "{work}/tmp-proxy";
    fastcgi_temp_path "{work}/tmp-fastcgi";
    uwsgi_temp_path "{work}/tmp-uwsgi";
    scgi_temp_path "{work}/tmp-scgi";
    default_type application/octet-stream;
    sendfile on;
    # Unbuffered: a line is in the file as soon as its request has ended.
    log_format served "$status $body_bytes_sent $http_range|$request_uri";
    access_log "{work}/access.log" served;
    map $arg_rate $rate {{ default {slow}; "~^[0-9]+$" $arg_rate; }}
    server {{
        # A small send buffer: what a cut connection had not yet taken is hardly counted as sent.
        listen 127.0.0.1:{port} sndbuf=128k;
        location /files/ {{ alias "{served}/"; }}
        location /noranges/ {{ alias "{served}/"; max_ranges 0; }}
        location /slow/ {{ alias "{served}/"; limit_rate $rate; }}
        location /auth/ {{ alias "{served}/"; auth_basic "test"; auth_basic_user_file "{work}/passwords"; }}
        location /busy/ {{ add_header Retry-After {retry_after} always; return 503; }}
        location /secret/ {{ return 403; }}
        location /gone/ {{ return 410; }}
    }}
}}
"""
_LINE = re.compile(r"(?P<status>\d{3}) (?P<sent>\d+) (?P<range>[^|]*)\|(?P<target>.*)")


class Hit(msgspec.Struct, frozen=True):
    """One ended request: `path` without query and unquoted, `sent` body bytes, `range` as asked or "-"."""

    path: str
    status: int
    sent: int
    range: str


class Nginx:
    """One origin on one port; `stop` and `start` again are an outage. Made by `origin`."""

    def __init__(self, served: Path, work: Path) -> None:
        self.port = ports.free_port()
        self.served = served
        self._work = work
        self._process: processes.Process | None = None

    @property
    def process(self) -> processes.Process:
        """The running server: pause it, and the origin hangs."""
        assert self._process is not None, "the origin is stopped: call start first"
        return self._process

    def url(self, name: str, place: Place = "files", *, rate: int | None = None) -> str:
        """Where `name` of the served folder is offered; `rate` in bytes/s for each connection, at /slow/ only."""
        assert rate is None or place == "slow", "only /slow/ has a rate"
        return f"http://127.0.0.1:{self.port}/{place}/{quote(name)}" + (f"?rate={rate}" if rate is not None else "")

    async def start(self) -> None:
        """Returns when it answers."""
        program = await asyncio.to_thread(_program)
        await asyncio.to_thread(self._write_conf)
        self._process = await processes.start(
            [program, "-e", self._work / "error.log", "-p", self._work, "-c", self._work / "nginx.conf"],
            self._work,
            name="nginx",
        )
        await self._process.wait_until(lambda: ports.listens(self.port), "nginx answers")

    async def stop(self) -> None:
        """Ends it with all its connections."""
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def hits(self, path: str | None = None) -> list[Hit]:
        """Ended requests in their order, of all paths or of one as "/files/NAME".

        A running request is not in it, and one that has just ended comes a moment after its last byte: wait with `until`.
        """
        text = await asyncio.to_thread(self._log)
        return [hit for line in text.splitlines() if (hit := _hit(line)) and path in (None, hit.path)]

    async def bytes_sent(self, path: str) -> int:
        """Body bytes of all ended requests to "/files/NAME".

        A connection cut by the client counts with what went into its socket: some 100 kB more than it has read.
        """
        return sum(hit.sent for hit in await self.hits(path))

    def _log(self) -> str:
        log = self._work / "access.log"
        return log.read_text() if log.exists() else ""

    def _write_conf(self) -> None:
        self._work.mkdir(parents=True, exist_ok=True)
        (self._work / "passwords").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        (self._work / "nginx.conf").write_text(
            _CONF.format(
                work=self._work, served=self.served, port=self.port, slow=DEFAULT_SLOW, retry_after=RETRY_AFTER_S
            )
        )


@asynccontextmanager
async def origin(served: Path, work: Path) -> AsyncIterator[Nginx]:
    """nginx that serves the folder `served`, with its conf and logs in `work`; skips the test where there is no nginx."""
    server = Nginx(served, work)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


def _hit(line: str) -> Hit | None:
    if match := _LINE.fullmatch(line):
        path = unquote(match["target"].partition("?")[0])
        return Hit(path, int(match["status"]), int(match["sent"]), match["range"])
    return None  # a line that is being written


def _program() -> str:
    """Where nginx is, installed if we may; skips the test otherwise."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    if found := shutil.which("nginx", path=search):
        return found
    if os.geteuid() == 0 and (apt := shutil.which("apt-get")):
        # RUNLEVEL=1 keeps the package from starting a system-wide server on port 80.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]):
            subprocess.run([apt, *words], env=quiet, capture_output=True, check=False, timeout=100)
        if found := shutil.which("nginx", path=search):
            return found
    pytest.skip("no nginx on this machine: apt-get install nginx-light")
