"""The command itself: its options are those of a node, its output that of the command line."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ariacluster.cli.output import ExitCode, Kind, Output
from ariacluster_node import config, logs

from .examination import Examination
from .finding import Finding, is_well
from .report import lines, verdict

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.command(epilog="Example: ariacluster doctor --config /etc/ariacluster/node.toml")
def doctor(
    cluster: Annotated[str | None, typer.Option(help=config.sentence("cluster"))] = None,
    bind: Annotated[str | None, typer.Option(help=config.sentence("bind"), metavar="ADDRESS")] = None,
    port: Annotated[int | None, typer.Option(help=config.sentence("port"))] = None,
    peer_port: Annotated[int | None, typer.Option(help=config.sentence("peer_port"))] = None,
    data: Annotated[str | None, typer.Option(help=config.sentence("data"), metavar="FOLDER")] = None,
    dir: Annotated[str | None, typer.Option(help=config.sentence("dir"), metavar="FOLDER")] = None,
    join: Annotated[list[str] | None, typer.Option(help=config.sentence("join"), metavar="HOST[:PORT]")] = None,
    mdns: Annotated[bool | None, typer.Option(help=config.sentence("mdns"))] = None,
    witness: Annotated[bool | None, typer.Option("--witness", help=config.sentence("witness"))] = None,
    aria2c: Annotated[str | None, typer.Option(help=config.sentence("aria2c"), metavar="FILE")] = None,
    config_file: Annotated[Path | None, typer.Option("--config", help="A TOML file with these settings.")] = None,
    output: Annotated[
        Kind, typer.Option("-o", "--output", help="For people, or for scripts.", show_default="table")
    ] = Kind.TABLE,
) -> None:
    """Look for what is wrong on this machine and between it and the other nodes, and say what to do about it.

    Give it the options that the node is started with. It takes about five seconds and changes nothing. The exit code is 1 if
    there is a problem; warnings alone are none.
    """
    flags: dict[str, Any] = {
        "cluster": cluster,
        "bind": bind,
        "port": port,
        "peer_port": peer_port,
        "data": data,
        "dir": dir,
        "join": join or None,
        "mdns": mdns,
        "witness": witness,
        "aria2c": aria2c,
    }
    logs.configure("error", "text")  # what the adapters have to say is among the findings
    try:
        code = asyncio.run(_run(Examination(flags, config_file), Output(output)))
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read it has seen enough (`| head`). What is still buffered must not fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = ExitCode.DONE
    raise typer.Exit(code)


async def _run(examination: Examination, output: Output) -> int:
    found: list[Finding] = []
    with _waiting(output) as waiting:
        async for finding in examination.findings(waiting):
            found.append(finding)
            if output.for_people:
                output.lines(lines(finding, output.width))
            elif output.kind is Kind.NDJSON:
                output.record(finding)
    if output.for_people:
        output.sentence(verdict(found))
    elif output.kind is Kind.JSON:
        output.document(found)
    code = ExitCode.DONE if is_well(found) else ExitCode.FAILED
    if examination.hung:
        # A thread that hangs in the system cannot be ended, and Python would wait for it.
        sys.stdout.flush()
        os._exit(code)
    return code


@contextlib.contextmanager
def _waiting(output: Output) -> Iterator[Any]:
    """A line that turns while it is waited, on a terminal."""
    if not output.live:
        yield lambda what: None
        return
    with output.console.status("") as status:
        yield lambda what: status.update(f"{what} …")


def main() -> None:
    """`ariacluster doctor`, which says its name in the environment."""
    app(prog_name=os.environ.get("ARIACLUSTER_PROG", "python -m ariacluster_node.doctor"))
