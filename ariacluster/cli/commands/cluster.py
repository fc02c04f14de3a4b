"""`cluster`: the whole of it, who leads it, and what only a person can decide about it."""

from typing import Annotated

import typer

from ariacluster.cli import units
from ariacluster.cli.asking import YesOption, sure
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.client.locate import normalise
from ariacluster.domain.errors import InvalidInput, NotFound
from ariacluster.wire.resources import ClusterResource


def add_to(app: typer.Typer) -> None:
    clusters = typer.Typer(
        rich_markup_mode="rich",
        help="The cluster as a whole: look at it, change who leads, merge it, begin it anew after a disaster.",
    )
    clusters.callback(invoke_without_command=True)(family)
    app.add_typer(clusters, name="cluster")
    command(clusters, "status", examples=["ariacluster cluster status", "ariacluster cluster status -o json"])(status)
    command(clusters, "merge", examples=["ariacluster cluster merge", "ariacluster cluster merge 3f5512ba --yes"])(
        merge
    )
    transferring = ["ariacluster cluster transfer", "ariacluster cluster transfer --to nas"]
    command(clusters, "transfer", examples=transferring)(transfer)
    command(
        clusters, "join", examples=["ariacluster cluster join nas", "ariacluster cluster join 10.0.0.7:8000 --yes"]
    )(join)
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
                f"The cluster {mine.id} ({units.plural(mine.members, 'member')}) goes into {found[0].id} ({nodes}).",
                "Its tasks go along, and what runs goes on.",
            ],
            "Merge them?",
            yes,
        )
        _show(invocation, await client.merge(found[0].id))


async def join(
    invocation: Invocation,
    address: Annotated[
        str, typer.Argument(metavar="HOST[:PORT]", help="Any node of the other cluster.", show_default=False)
    ],
    yes: YesOption = False,
) -> None:
    """Dissolve this cluster into that of another node, with all its nodes and tasks. Running downloads go on.

    The two must hear each other; where multicast does not reach, start the nodes with `ariacluster up --join HOST`.
    """
    from ariacluster.client.client import NodeClient

    try:
        url = normalise(address, field="HOST")
    except InvalidInput as error:
        raise typer.BadParameter(error.detail, param_hint="HOST") from None
    async with invocation.client() as client, NodeClient(url) as other:
        there, mine = await other.cluster(), await client.cluster()
        if there.id == mine.id:
            invocation.output.note("Both are in this cluster already.")
        else:
            sure(
                invocation.output,
                [
                    f"The cluster {mine.id} ({units.plural(mine.members, 'member')}) goes into {there.id} "
                    f"({there.name}, {units.plural(there.members, 'member')}).",
                    "Its tasks go along, and what runs goes on.",
                ],
                "Join it?",
                yes,
            )
            try:
                mine = await client.merge(there.id)
            except NotFound as error:
                hint = f"{error.detail} Where multicast does not reach, start its nodes with --join {address}."
                raise NotFound(hint, field=error.field) from None
        _show(invocation, mine)


async def transfer(
    invocation: Invocation,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="Who is to lead; else any other voter.")] = "",
) -> None:
    """Let another node lead, for example before this one is switched off. No download notices."""
    async with invocation.client() as client:
        _show(invocation, await client.transfer(to))


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
