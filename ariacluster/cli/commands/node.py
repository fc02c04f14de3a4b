"""`node`: the machines of the cluster."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ariacluster.cli import units, watched
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.cli.output import ExitCode
from ariacluster.wire.requests import NodePatch
from ariacluster.wire.resources import NodeResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

INTERVAL = 1.0
"""Seconds between two looks at a node that is being emptied: it reports no sooner."""

Node = Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    nodes = typer.Typer(
        rich_markup_mode="rich",
        help="The machines of the cluster: list them, look at one, empty one, set how it works.",
    )
    nodes.callback(invoke_without_command=True)(family)
    app.add_typer(nodes, name="node")
    command(nodes, "ls", examples=["ariacluster node ls", "ariacluster node ls -o json"])(ls)
    command(nodes, "status", examples=["ariacluster node status nas"])(status)
    draining = ["ariacluster node drain nas", "ariacluster node drain nas --finish-within 10m --wait"]
    command(nodes, "drain", examples=draining)(drain)
    command(nodes, "undrain", examples=["ariacluster node undrain nas"])(undrain)
    setting = [
        "ariacluster node set nas --slots 8 --download-limit 5M",
        "ariacluster node set nas --slots own --download-limit 0 --upload-limit 500k",
    ]
    command(nodes, "set", examples=setting)(set_)
    command(nodes, "rm", examples=["ariacluster node rm nas"])(rm)
    command(app, "workers", hidden=True, examples=["ariacluster workers"])(ls)


async def ls(invocation: Invocation) -> None:
    """List the nodes: their state, load, disk and address."""
    async with invocation.client() as client:
        nodes = await client.nodes()
    if not invocation.output.for_people:
        invocation.output.document(nodes)
        return
    from ariacluster.cli.cluster_view import node_table

    invocation.output.lines(node_table(nodes, invocation.output.width, datetime.now(UTC)))


async def status(invocation: Invocation, node: Node) -> None:
    """Everything about one node."""
    async with invocation.client() as client:
        _show(invocation, await client.node(node))


async def drain(
    invocation: Invocation,
    node: Node,
    finish_within: Annotated[
        str,
        typer.Option("--finish-within", metavar="TIME", help="What it has begun may be finished in that time: 10m."),
    ] = "0",
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is empty and can be stopped. Ctrl-C leaves it draining.")
    ] = False,
) -> int:
    """Empty a node: nothing new for it, and what it has goes elsewhere with its bytes. Its finished files stay on it."""
    if (seconds := units.seconds_of(finish_within)) is None:
        raise typer.BadParameter(
            f"{finish_within!r} is no time; write 90s, 10m or 1h30m.", param_hint="--finish-within"
        )
    async with invocation.client() as client:
        drained = await client.drain(node, finish_within=seconds)
        if wait:
            return await _until_empty(invocation, client, drained)
    if invocation.output.for_people:
        _tell(invocation, drained)
    else:
        invocation.output.document(drained)
    return ExitCode.DONE


async def undrain(invocation: Invocation, node: Node) -> None:
    """Let a node take tasks again."""
    async with invocation.client() as client:
        found = await client.undrain(node)
    if invocation.output.for_people:
        _tell(invocation, found)
    else:
        invocation.output.document(found)


async def set_(
    invocation: Invocation,
    node: Node,
    slots: Annotated[
        str | None,
        typer.Option("--slots", metavar="N", help="Downloads at a time; 'own' for what its own settings say."),
    ] = None,
    download_limit: Annotated[
        str | None,
        typer.Option("--download-limit", metavar="SIZE", help="A second, over all its downloads: 5M; 0 for none."),
    ] = None,
    upload_limit: Annotated[
        str | None,
        typer.Option("--upload-limit", metavar="SIZE", help="A second, over all its downloads: 500k; 0 for none."),
    ] = None,
) -> None:
    """Set how a running node works. It holds until it is set anew, over restarts, too."""
    import msgspec

    patch = NodePatch(
        slots=msgspec.UNSET if slots is None else _slots(slots),
        download_limit=msgspec.UNSET if download_limit is None else _limit(download_limit, "--download-limit"),
        upload_limit=msgspec.UNSET if upload_limit is None else _limit(upload_limit, "--upload-limit"),
    )
    if patch == NodePatch():
        raise typer.BadParameter("Say what to set.", param_hint="--slots, --download-limit or --upload-limit")
    async with invocation.client() as client:
        _show(invocation, await client.tune(node, patch))


async def rm(
    invocation: Invocation,
    node: Node,
    force: Annotated[bool, typer.Option("--force", help="Even while it is online.")] = False,
) -> None:
    """Take a node off the cluster: its unfinished tasks run elsewhere. Started again, it comes back."""
    async with invocation.client() as client:
        message = await client.remove_node(node, force=force)
    answer = {"id": node, "message": message}
    if invocation.output.for_people:
        watched.tell(invocation.output, answer)
    else:
        invocation.output.document(answer)


async def _until_empty(invocation: Invocation, client: "NodeClient", node: NodeResource) -> int:
    """Tell what is left whenever that changes; done when nothing is. The downloads that a node of its own may lack are no
    reason to give up: another one may come."""
    output, told = invocation.output, ""
    try:
        while True:
            told = _progress(invocation, node, told)
            if node.drain_until is None:
                output.say(f"{node.name} takes tasks again: somebody called it off.")
                return ExitCode.FAILED
            if not node.tasks_left:
                break
            await asyncio.sleep(INTERVAL)
            nodes = await client.nodes()
            found = next((other for other in nodes if other.id == node.id), None)
            if found is None:
                output.say(f"{node.name} is off the cluster; its tasks run elsewhere.")
                return ExitCode.DONE
            node = found
    except asyncio.CancelledError:
        output.say(f"{node.name} goes on draining. To call it off: ariacluster node undrain {node.name}")
        raise
    if output.kind == "json":
        output.document(node)
    return ExitCode.DONE


def _progress(invocation: Invocation, node: NodeResource, told: str) -> str:
    """A line where what is left is not what was `told` last; what is told now."""
    from ariacluster.cli.cluster_view import drain_sentence

    sentence = drain_sentence(node)
    if sentence != told:
        if invocation.output.kind == "ndjson":
            invocation.output.record(node)
        elif invocation.output.for_people:
            _tell(invocation, node)
    return sentence


def _tell(invocation: Invocation, node: NodeResource) -> None:
    """A line about a node that is being emptied, or is no longer."""
    from rich.text import Text

    from ariacluster.cli.cluster_view import drain_sentence
    from ariacluster.cli.looks import node_state
    from ariacluster.cli.plain import plain

    cell = node_state(node.status)
    line = Text.assemble((f"{cell.text:<13}", cell.style), "  ", (plain(node.name), "bold"))
    sentence = drain_sentence(node) or "takes tasks again"
    invocation.output.sentence(line.append(f"  {plain(sentence)}"))


def _show(invocation: Invocation, node: NodeResource) -> None:
    if not invocation.output.for_people:
        invocation.output.document(node)
        return
    from ariacluster.cli.cluster_view import node_story

    invocation.output.lines(node_story(node, invocation.output.width, datetime.now(UTC)))


def _slots(text: str) -> int | None:
    if text == "own":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise typer.BadParameter(f"{text!r} is no number; write 8, or 'own'.", param_hint="--slots")
    return int(text)


def _limit(text: str, hint: str) -> int:
    if (limit := units.bytes_of(text)) is None:
        raise typer.BadParameter(f"{text!r} is no size; write 5M, 500k, or 0 for no limit.", param_hint=hint)
    return limit
