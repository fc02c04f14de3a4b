"""`status`: the cluster at a glance."""

import typer

from ariacluster.cli.invocation import Invocation, command
from ariacluster.wire.resources import NodeResource, StatusResource


class Glance(StatusResource, frozen=True, kw_only=True):
    """What `status -o json` prints: the status of the API, and the nodes with it."""

    nodes: list[NodeResource]


def add_to(app: typer.Typer) -> None:
    command(app, "status", examples=["ariacluster status", "ariacluster status -o json | jq .cluster.leader.name"])(
        status
    )


async def status(invocation: Invocation) -> None:
    """The cluster at a glance: who leads, which nodes there are, how the tasks stand."""
    async with invocation.client() as client:
        now = await client.status()
        nodes = await client.nodes()
    if not invocation.output.for_people:
        fields = {name: getattr(now, name) for name in now.__struct_fields__}
        invocation.output.document(Glance(**fields, nodes=nodes))
        return
    from ariacluster.cli.cluster_view import glance

    invocation.output.lines(glance(now, nodes, invocation.output.width))
