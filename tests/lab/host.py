"""One host of a lab, driven by tests and people: its power, its network, and the API of its node."""

import asyncio
import contextlib
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import aiohttp
import msgspec

from ariacluster.wire.routes import DEFAULT_PORT

from .door import LabError

LIVEZ = "/livez"
_REQUEST_TIMEOUT_S = 15
_GRACE_S = 10.0  # for a node that was told to stop, before it is killed
_TAIL_BYTES = 3000


class Door(Protocol):
    """What a host needs of its lab."""

    async def call(
        self, verb: str, *, files: Sequence[int] = (), within: float | None = 30.0, **words: object
    ) -> Any: ...
    async def take(self, verb: str, **words: object) -> int: ...


class Ran(NamedTuple):
    """A command that has ended: its return code, and its output with its errors."""

    code: int
    output: str


class Facts(msgspec.Struct, frozen=True):
    """A host as the holder knows it. `pid` of the running node as seen from here, else 0; `code`: how the last one ended."""

    name: str
    address: str | None
    ula: str | None
    files: Path
    running: bool
    paused: bool
    code: int | None
    pid: int = 0


class Refused(Exception):
    """The API answered with an error: `status`, and the problem document in `body`."""

    def __init__(self, what: str, status: int, body: Any) -> None:
        super().__init__(f"{what}: {status} {body}")
        self.status = status
        self.body = body


class Host:
    """`facts` is how it was last seen: `Lab.look` renews it, and so does every verb of a lab that changes it."""

    def __init__(self, door: Door, facts: Facts) -> None:
        self._door = door
        self.facts = facts

    @property
    def name(self) -> str:
        """Its host name, and so the default name of its node."""
        return self.facts.name

    @property
    def address(self) -> str:
        """Where the others reach it: IPv4 if it has it, else its unique local IPv6 address."""
        address = self.facts.address or self.facts.ula
        assert address, f"{self.name} has no address that is not link-local"
        return address

    @property
    def api(self) -> str:
        """HOST:PORT of its node, for `--join` and the like."""
        return f"{_bracketed(self.address)}:{DEFAULT_PORT}"

    @property
    def downloads(self) -> Path:
        """Its node's download folder, as this machine sees it."""
        return self.facts.files / "downloads"

    @property
    def data(self) -> Path:
        """Its node's data folder, as this machine sees it."""
        return self.facts.files / "data"

    @property
    def log(self) -> Path:
        """The file with all that its nodes have written, one after the other."""
        return self.facts.files / "log"

    def __repr__(self) -> str:
        return f"<{self.name} {self.facts.address or self.facts.ula}>"

    # -- power --------------------------------------------------------------------------------------------------

    async def start(self, *flags: str) -> None:
        """Start the node of this checkout as `ariacluster up FLAGS` does. Returns when the process runs: see `answers`."""
        await self._door.call("start", host=self.name, flags=flags)

    async def stop(self) -> int:
        """Its return code after SIGTERM, resumed if it was paused; -9 if it had to be killed in the end."""
        await self._door.call("signal", host=self.name, number=signal.SIGTERM)
        await self.resume()
        try:
            return int(await self._door.call("wait", host=self.name, within=_GRACE_S))
        except LabError:
            await self.kill()
            return -signal.SIGKILL

    async def kill(self) -> None:
        """kill -9 of all that runs on it, aria2c included; its kernel closes the connections, as it does after a crash of
        programs. For a cut power cable, `Lab.cut` it before."""
        await self._door.call("kill", host=self.name)

    async def pause(self) -> None:
        """Everything on it stands still (SIGSTOP), while its kernel goes on to take packets."""
        await self._door.call("pause", host=self.name)

    async def resume(self) -> None:
        """Goes on after `pause`."""
        await self._door.call("resume", host=self.name)

    async def ended(self, within: float = 30.0) -> int:
        """Waits until the node leaves by itself; its return code. LabError if it does not within so many seconds."""
        return int(await self._door.call("wait", host=self.name, within=within))

    async def wipe(self) -> None:
        """Stops the node, if it runs, and removes its data folder; downloads stay."""
        with contextlib.suppress(LabError):
            await self.stop()
        await self._door.call("wipe", host=self.name)

    async def exec(
        self, *command: str, files: Sequence[int] | None = None, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run a command on it until it ends; the output is empty if `files` are its standard input, output and error."""
        if files is not None:
            code = await self._door.call(
                "exec", host=self.name, command=command, environment=env or {}, files=files, within=None
            )
            return Ran(int(code), "")
        with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as output:
            ran = await self.exec(*command, files=[nothing.fileno(), output.fileno(), output.fileno()], env=env)
            output.seek(0)
            return Ran(ran.code, output.read().decode(errors="replace"))

    # -- network ------------------------------------------------------------------------------------------------

    async def shape(self, rate: str | Literal[0]) -> None:
        """At most `rate`, in the words of tc ("20mbit"), from it and as much to it; 0 for no limit."""
        await self._door.call("shape", host=self.name, rate=str(rate))

    async def link(self, up: bool) -> None:
        """Its interface on or off."""
        await self._door.call("link", host=self.name, up=up)

    async def readdress(self, address: str) -> None:
        """Another address (IPv4 or IPv6, of the lab's subnet) instead of the one it had, as DHCP may give it."""
        await self._door.call("address", host=self.name, address=address)
        key = "ula" if ":" in address else "address"
        self.facts = msgspec.structs.replace(self.facts, **{key: address})

    async def socket(self, kind: Literal["tcp", "udp"] = "tcp", *, ipv6: bool = False) -> socket.socket:
        """A socket that is on that host, to be used from here; the caller closes it."""
        made = socket.socket(fileno=await self._door.take("socket", host=self.name, kind=kind, ipv6=ipv6))
        made.setblocking(False)
        return made

    # -- its node -----------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Any:
        """The JSON that its node answers. `Refused` for an error of the API, aiohttp.ClientError if nothing answers."""
        return await self.request("GET", path)

    async def post(self, path: str, body: Any = None) -> Any:
        """As `get`."""
        return await self.request("POST", path, body)

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """As `get`."""
        status, answer = await self.call(method, path, body)
        if status >= 400:
            raise Refused(f"{method} {path} on {self.name}", status, answer)
        return answer

    async def call(self, method: str, path: str, body: Any = None, *, of: "Host | None" = None) -> tuple[int, Any]:
        """Status and JSON of one request made on this host: to its own node, or over the LAN to that `of` another."""
        async with (
            self.session(of) as session,
            session.request(method, path, json=body) as response,
        ):
            return response.status, await response.json(content_type=None)

    @contextlib.asynccontextmanager
    async def session(self, of: "Host | None" = None) -> AsyncIterator[aiohttp.ClientSession]:
        """For one connection made on this host, to the API of its own node or of another's."""
        where = of.address if of else "127.0.0.1"
        ready = [await self.socket("tcp", ipv6=":" in where)]
        connector = aiohttp.TCPConnector(socket_factory=lambda _: ready.pop(), limit=1)
        try:
            async with aiohttp.ClientSession(
                f"http://{_bracketed(where)}:{DEFAULT_PORT}",
                connector=connector,
                timeout=aiohttp.ClientTimeout(_REQUEST_TIMEOUT_S),
            ) as session:
                yield session
        finally:
            for left in ready:
                left.close()

    async def alive(self) -> bool:
        """Whether its node's API answers at all."""
        try:
            return (await self.call("GET", LIVEZ))[0] == 200
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def status(self) -> Any:
        """`GET /status`; None while its node belongs to no cluster or does not answer."""
        try:
            status, body = await self.call("GET", "/status")
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        return body if status == 200 else None

    async def log_text(self) -> str:
        """All that its nodes have written."""
        return await asyncio.to_thread(self.log.read_text, errors="replace") if self.log.exists() else ""

    async def log_tail(self) -> str:
        """The end of it, under a heading: for the message of a test that fails."""
        return f"--- {self.name} ---\n{(await self.log_text())[-_TAIL_BYTES:]}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
