"""`cluster`: the whole of it, and the two things that only a person can decide about it."""

from typing import Annotated

import typer

from ariacluster.cli.asking import YesOption, sure
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.domain.errors import InvalidInput, NotFound
from ariacluster.wire.resources import ClusterResource


def add_to(app: typer.Typer) -> None:
    clusters = typer.Typer(
        rich_markup_mode="rich", help="The cluster as a whole: look at it, merge it, begin it anew after a disaster."
    )
    clusters.callback(invoke_without_command=True)(family)
    app.add_typer(clusters, name="cluster")
    command(clusters, "status", examples=["ariacluster cluster status", "ariacluster cluster status -o json"])(status)
    command(clusters, "merge", examples=["ariacluster cluster merge", "ariacluster cluster merge 3f5512ba --yes"])(
        merge
    )
    command(clusters, "recover", examples=["ariacluster cluster recover"])(recover)


async def status(invocation: Invocation) -> None:
    """Who belongs to the cluster, who is missing, and which other clusters of its name are here."""
    async with invocation.client() as client:
        _show(invocation, await client.cluster())


async def merge(
    invocation: Invocation,
    into: Annotated[
        str,
        typer.Argument(metavar="[CLUSTER]", help="The id of the other cluster, or its beginning.", show_default=False),
    ] = "",
    yes: YesOption = False,
) -> None:
    """Dissolve this cluster into another one of its name, with all its nodes and tasks. Running downloads go on."""
    async with invocation.client() as client:
        mine = await client.cluster()
        found = [other for other in mine.others if other.id.startswith(into)]
        if not found:
            raise NotFound("No such cluster is heard here; `ariacluster cluster status` shows the others.")
        if len(found) > 1:
            raise InvalidInput(f"Say which one: {' or '.join(other.id for other in found)}.", field="cluster")
        nodes = ", ".join(found[0].nodes)
        sure(
            invocation.output,
            [
                f"The cluster {mine.id} ({mine.members} members) goes into {found[0].id} ({nodes}).",
                "Its tasks go along, and what runs goes on.",
            ],
            "Merge them?",
            yes,
        )
        _show(invocation, await client.merge(found[0].id))


async def recover(invocation: Invocation, yes: YesOption = False) -> None:
    """Begin the cluster anew with what this node knows, when the majority of its voters is gone for good."""
    async with invocation.client() as client:
        plan = await client.recovery()
        sure(invocation.output, plan.consequences, "Begin anew?", yes)
        _show(invocation, await client.recover(plan.confirm))


def _show(invocation: Invocation, cluster: ClusterResource) -> None:
    if not invocation.output.for_people:
        invocation.output.document(cluster)
        return
    from ariacluster.cli.cluster_view import cluster_story

    invocation.output.lines(cluster_story(cluster, invocation.output.width))
