"""`node`: the machines of the cluster."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from ariacluster.cli.invocation import Invocation, command, family


def add_to(app: typer.Typer) -> None:
    nodes = typer.Typer(rich_markup_mode="rich", help="The machines of the cluster: list them, look at one.")
    nodes.callback(invoke_without_command=True)(family)
    app.add_typer(nodes, name="node")
    command(nodes, "ls", examples=["ariacluster node ls", "ariacluster node ls -o json"])(ls)
    command(nodes, "status", examples=["ariacluster node status nas"])(status)
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
