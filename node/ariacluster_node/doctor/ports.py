"""The two ports of a node, and who has them."""

import asyncio
import errno

import msgspec
import psutil

from ariacluster.domain.errors import StartFailed
from ariacluster_node import lifecycle
from ariacluster_node.config import Settings

from .finding import Finding, ok, problem, warning
from .folders import Data

CHECK = "ports"


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """`taken`: something listens there, the process `pid` if the system tells. `wrong`: why it could not be had at all."""

    number: int
    what: str
    option: str
    taken: bool = False
    pid: int | None = None
    program: str = ""
    wrong: str = ""


async def look(settings: Settings) -> list[Port]:
    return await asyncio.to_thread(
        lambda: [
            _port(settings.bind, settings.port, "API", "--port"),
            _port(settings.bind, settings.consensus_port, "consensus", "--peer-port"),
        ]
    )


def judge(ports: list[Port], data: Data, node_here: str | None) -> list[Finding]:
    """`node_here`: the id of the node that answers at the API's port of this machine, None if none does."""
    own = node_here is not None and node_here == data.node_id
    stranger = None if node_here is None or own else ports[0].pid
    found = [_judge_one(port, data, own, port.pid == stranger is not None) for port in ports]
    if node_here is not None and not own:
        found[0] = warning(
            CHECK,
            f"Port {ports[0].number} ({ports[0].what}) is served by a node with another data folder than {data.place.folder}.",
            "If you mean that node, say its --data here; for a second node on this machine choose another --port.",
        )
    elif own and data.holder is None:
        found.append(
            problem(
                CHECK,
                f"The node that runs here bears the id in {data.place.folder}, but uses another folder: one is a copy.",
                "Never start a node with the copy: each needs its own id. Say the right --data here.",
            )
        )
    if data.holder is not None and not own:
        pid = f" (pid {data.holder})" if data.holder else ""
        found.append(
            warning(
                CHECK,
                f"A node with this data folder runs{pid}, but it does not answer at port {ports[0].number}.",
                "Say here what it was started with (--port, --bind, --config). If that is right already, it hangs: look "
                "into its log.",
            )
        )
    return found


def _judge_one(port: Port, data: Data, own: bool, strangers: bool) -> Finding:
    what = f"Port {port.number} ({port.what})"
    if port.wrong:
        return problem(CHECK, port.wrong, "Give an address of this machine with --bind, or a port from 1024 on.")
    if not port.taken:
        return ok(CHECK, f"{what} is free.")
    if own if port.pid is None or not data.holder else port.pid == data.holder:
        return ok(CHECK, f"{what} is served by the node that runs here.")
    if strangers:
        return warning(CHECK, f"{what} is served by that node, too.", f"Choose another with {port.option} NUMBER.")
    by = f"{port.program or 'a program'} (pid {port.pid})" if port.pid else "another program"
    return problem(
        CHECK, f"{what} is taken by {by}.", f"End that program, or choose another port with {port.option} NUMBER."
    )


def _port(bind: str, number: int, what: str, option: str) -> Port:
    """Blocking; takes the port for a moment, just as a node does."""
    port = Port(number=number, what=what, option=option)
    try:
        lifecycle.listen(bind, number, what).close()
    except StartFailed as error:
        # Raised "from None", so that nobody is shown it; it is there all the same.
        if getattr(error.__context__, "errno", None) != errno.EADDRINUSE:
            return msgspec.structs.replace(port, wrong=error.detail)
        pid, program = _listener(number)
        return msgspec.structs.replace(port, taken=True, pid=pid, program=program)
    return port


def _listener(number: int) -> tuple[int | None, str]:
    """Whose it is; the system tells of the processes of other users only to root."""
    try:
        pids = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == number
        ]
        pid = next((pid for pid in pids if pid), None)
        return pid, psutil.Process(pid).name() if pid else ""
    except (psutil.Error, OSError):
        return None, ""
