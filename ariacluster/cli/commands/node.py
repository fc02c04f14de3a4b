"""`node`: the machines of the cluster."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ariacluster.cli import watched
from ariacluster.cli.invocation import Invocation, command, family


def add_to(app: typer.Typer) -> None:
    nodes = typer.Typer(
        rich_markup_mode="rich", help="The machines of the cluster: list them, look at one, take one off."
    )
    nodes.callback(invoke_without_command=True)(family)
    app.add_typer(nodes, name="node")
    command(nodes, "ls", examples=["ariacluster node ls", "ariacluster node ls -o json"])(ls)
    command(nodes, "status", examples=["ariacluster node status nas"])(status)
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


async def status(
    invocation: Invocation,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.", show_default=False)],
) -> None:
    """Everything about one node."""
    async with invocation.client() as client:
        found = await client.node(node)
    if not invocation.output.for_people:
        invocation.output.document(found)
        return
    from ariacluster.cli.cluster_view import node_story

    invocation.output.lines(node_story(found, invocation.output.width, datetime.now(UTC)))


async def rm(
    invocation: Invocation,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its name or id.", show_default=False)],
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
