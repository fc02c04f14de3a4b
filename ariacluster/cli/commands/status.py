"""`status`: the cluster at a glance."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from ariacluster.cli.invocation import Invocation, command
from ariacluster.wire.resources import NodeResource, StatusResource

if TYPE_CHECKING:
    from rich.text import Text

    from ariacluster.cli.output import Output
    from ariacluster.cli.scene import Scene
    from ariacluster.client.client import NodeClient

PERIOD = 1.0
"""Seconds between two points of the curves, and between two records for a script."""


class Glance(StatusResource, frozen=True, kw_only=True):
    """What `status -o json` prints: the status of the API, and the nodes with it."""

    nodes: list[NodeResource]


def add_to(app: typer.Typer) -> None:
    examples = [
        "ariacluster status",
        "ariacluster status --watch",
        "ariacluster status -o json | jq .cluster.leader.name",
    ]
    command(app, "status", examples=examples)(status)


async def status(
    invocation: Invocation,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="The whole terminal, kept up to date; q or Ctrl-C ends it.")
    ] = False,
) -> None:
    """The cluster at a glance: who leads, which nodes there are, how the tasks stand.

    With --watch and -o ndjson, an object each second in which something is new.
    """
    output = invocation.output
    async with invocation.client() as client:
        if watch:
            await _watch(output, client)
            return
        now = await client.status()
        nodes = await client.nodes()
    if not output.for_people:
        output.document(_glance(now, nodes))
        return
    from ariacluster.cli.cluster_view import glance

    output.lines(glance(now, nodes, output.width))


def _glance(now: StatusResource, nodes: list[NodeResource]) -> Glance:
    fields = {name: getattr(now, name) for name in now.__struct_fields__}
    return Glance(**fields, nodes=nodes)


async def _watch(output: "Output", client: "NodeClient") -> None:
    from ariacluster.cli.scene import first_look, keep

    if output.kind == "json":
        raise typer.BadParameter("What never ends is told with -o ndjson.", param_hint="--watch")
    scene = await first_look(client)
    if output.live:
        from ariacluster.cli.cluster_screen import draw
        from ariacluster.cli.screen import show

        async def feed(changed: asyncio.Event) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(keep(scene, client.url, changed))
                group.create_task(_tick(scene, changed))

        def picture(width: int, height: int) -> "list[Text]":
            scene.beat += 1
            return draw(scene, width, height)

        await show(output, picture, feed)
        return
    keeping = asyncio.create_task(keep(scene, client.url, asyncio.Event()))
    try:
        await _tell(output, scene)
    finally:
        keeping.cancel()


async def _tick(scene: "Scene", changed: asyncio.Event) -> None:
    while True:
        scene.tick()
        changed.set()
        await asyncio.sleep(PERIOD)


async def _tell(output: "Output", scene: "Scene") -> None:
    """For a pipe, a line or an object each second in which something is new."""
    from ariacluster.cli.cluster_view import headline

    told: object = None
    while True:
        glance = _glance(scene.status, list(scene.nodes.values()))
        line = headline(scene.status)
        new: object = line.plain if output.for_people else glance
        if new != told:
            told = new
            if output.for_people:
                output.sentence(line)
            else:
                output.record(glance)
        await asyncio.sleep(PERIOD)
