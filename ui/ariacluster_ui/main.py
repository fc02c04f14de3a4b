"""The program `ariacluster-ui`: flags, the port, and then the site. NiceGUI is imported last, when its folder is settled."""

import errno
import os
import signal
import socket
import sys
import threading
from typing import Annotated

import typer

from ariacluster.domain.errors import StartFailed
from ariacluster.wire.routes import DEFAULT_UI_PORT

from .options import LOCAL, Options, options, settle

TAKEN = 78
"""Exit code for a port that another program has; the node tells it apart from a crash."""

BELOW = 3
"""How much the node's own work goes before a page, where both want the processor."""

GRACE = 4.0
"""Seconds that an end may take before it is forced."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class PortTaken(StartFailed):
    code = "port_taken"


@app.command(epilog="Example: ariacluster ui --url http://nas:8000 --port 8090")
def ui(
    url: Annotated[
        list[str] | None,
        typer.Option(
            help=f"A node to follow; more than one: the first that answers. Default: {LOCAL}.",
            envvar="ARIACLUSTER_URL",
            metavar="URL",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; :: is every one.", metavar="ADDRESS")] = "::",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = DEFAULT_UI_PORT,
    storage: Annotated[str, typer.Option(help="The folder for its own memory.", metavar="FOLDER")] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name under which browsers may ask for it, besides those of a LAN.", metavar="NAME"),
    ] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Show the cluster in a browser, through any of its nodes."""
    run(options(url, host, port, storage, allow_host, with_parent=with_parent))


def run(told: Options) -> None:
    """Serve until told to end. `PortTaken`, `StartFailed`."""
    taken = listen(told.host, told.port)
    try:
        told.storage.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartFailed(f"The folder {told.storage} cannot be made: {error.strerror}.", field="storage") from None
    settle(told.storage)
    if told.with_parent:
        os.nice(BELOW)
        threading.Thread(target=_end_with_parent, daemon=True).start()
    from . import site

    site.serve(told, taken)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, on IPv6 and IPv4 for `::`."""
    try:
        if host == "::" and not socket.has_dualstack_ipv6():
            host = "0.0.0.0"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        taken = socket.create_server((host, port), family=family, backlog=512, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} (web app) is in use; stop the program that has it or choose another with --port.",
                field="port",
            ) from None
        raise StartFailed(f"Cannot listen on {host} port {port}: {error.strerror or error}.", field="port") from None
    taken.setblocking(False)
    return taken


def _end_with_parent() -> None:
    """The node holds the other end of standard input: it closes however the node ends."""
    while os.read(0, 4096):
        pass
    threading.Timer(GRACE, os._exit, [0]).start()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """`ariacluster ui` runs it under its own name."""
    try:
        app(prog_name=os.environ.get("ARIACLUSTER_PROG", "ariacluster-ui"))
    except StartFailed as error:
        sys.stderr.write(f"error: {error.detail}\n")
        sys.exit(TAKEN if isinstance(error, PortTaken) else 1)


if __name__ == "__main__":
    main()
