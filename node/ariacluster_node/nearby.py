"""`python -m ariacluster_node.nearby SECONDS`: which nodes this machine hears, for a command line that has none of its own.

A JSON object on a line for each as it is heard: `name`, `cluster`, `cluster_id`, `url`. It announces nothing.
"""

import asyncio
import contextlib
import sys

import msgspec

from ariacluster.domain.formation import Heard
from ariacluster_node import logs
from ariacluster_node.adapters.mdns.discovery import ZeroconfDiscovery

ADDRESSES = ("::", "127.0.0.1")
"""Where nodes listen: on all interfaces, or for this machine alone."""

LOOK = 0.05
"""Seconds between two looks at what was heard."""


async def hear(seconds: float, addresses: tuple[str, ...] = ADDRESSES) -> None:
    """Write down who is heard until the time is over."""
    ears = [ZeroconfDiscovery(address) for address in addresses]
    told: set[str] = set()
    try:
        await asyncio.gather(*(ear.listen() for ear in ears))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    for heard in (heard for ear in ears for heard in ear.heard()):
                        if heard.node_id not in told:
                            told.add(heard.node_id)
                            sys.stdout.write(_line(heard))
                            sys.stdout.flush()
                    await asyncio.sleep(LOOK)
    finally:
        for ear in ears:
            await ear.stop()


def _line(heard: Heard) -> str:
    told = {
        "name": heard.node_name,
        "cluster": heard.cluster_name,
        "cluster_id": heard.cluster_id,
        "url": f"http://{heard.door}",
    }
    return msgspec.json.encode(told).decode() + "\n"


if __name__ == "__main__":
    logs.configure("critical", "text")
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(hear(float(sys.argv[1])))
