"""A node that is heard on the network, for a machine that has none of its own. The node's side of the house can hear."""

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec

from ariacluster.cli.siblings import part_of_node
from ariacluster.domain.errors import InvalidInput

LISTEN = 2.0
"""Seconds: multicast answers come within about half a second, and a person waits for this."""

OTHERS = 0.4
"""Seconds after the first one in which others are waited for: was it the only cluster?"""

START = 5.0
"""Seconds that the program may take to start, on a slow machine."""


class Nearby(msgspec.Struct, frozen=True):
    """A node that is heard."""

    name: str
    cluster: str
    cluster_id: str
    url: str


async def listen() -> list[Nearby]:
    """Who is heard within a short time; nobody where the node's side is not installed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *part_of_node("nearby"),
            str(LISTEN),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return []
    assert process.stdout is not None
    heard: list[Nearby] = []
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START + LISTEN) as patience:
                async for line in process.stdout:
                    with contextlib.suppress(msgspec.MsgspecError):
                        heard.append(msgspec.json.decode(line, type=Nearby))
                    soon = asyncio.get_running_loop().time() + OTHERS
                    patience.reschedule(min(soon, patience.when() or soon))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return heard


def choose(heard: Sequence[Nearby]) -> list[Nearby]:
    """Whom to ask, in this order. `InvalidInput` where that is a person's to say, for there are several clusters."""
    settled = [near for near in heard if near.cluster_id] or list(heard)
    clusters = {near.cluster_id or near.url: near for near in settled}
    if len(clusters) > 1:
        said = ", ".join(f"{near.cluster} ({near.name}, {near.url})" for near in clusters.values())
        raise InvalidInput(f"Several clusters are heard here: {said}. Say which node to ask.", field="--url")
    return sorted(settled, key=lambda near: (near.name, near.url))
