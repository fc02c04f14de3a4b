"""No engine: what a witness has, which votes and downloads nothing."""

from collections.abc import Callable, Sequence

from ariacluster.domain.errors import AriaClusterError, Unavailable
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

    async def add_all(self, jobs: Sequence[Job]) -> list[AriaClusterError | None]:
        return [Unavailable("This node is a witness: it downloads nothing.") for _ in jobs]

    async def remove_all(self, gids: Sequence[str]) -> list[AriaClusterError | None]:
        return [None for _ in gids]

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
