"""No engine: what a witness has, which votes and downloads nothing."""

from collections.abc import Callable

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Download
from ariacluster_node.ports import EngineLimits, EngineTotals, Job


class NoDownloader:
    """Fills `Downloader`, and never has anything."""

    version = ""
    deaths = 0

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def add(self, job: Job) -> None:
        raise Unavailable("This node is a witness: it downloads nothing.")

    async def remove(self, gid: str) -> None:
        """There is nothing to remove."""

    async def poll(self) -> dict[str, Download]:
        return {}

    async def detail(self, gid: str) -> None:
        """There is nothing to tell of."""

    async def tune(self, limits: EngineLimits) -> None:
        """There is nothing to limit."""

    def totals(self) -> EngineTotals:
        return EngineTotals()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Nothing ever changes."""
