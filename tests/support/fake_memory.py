"""What a node keeps on its disk, in memory."""

from ariacluster.domain.formation import Membership
from ariacluster_node.ports import Heritage


class FakeMemory:
    """Fills `Memory`. `memberships` is every one that was saved, in order; `noted` the logs that were; `saved` is every call
    that wrote something, by name."""

    def __init__(self) -> None:
        self.memberships: list[Membership] = []
        self.noted: list[str] = []
        self.kept: dict[str, Heritage] = {}
        """By the cluster that it is meant for."""
        self.saved: list[str] = []

    async def save_membership(self, membership: Membership) -> None:
        self.saved.append("membership")
        self.memberships.append(membership)

    async def note_log(self, cluster_id: str) -> None:
        self.noted.append(cluster_id)

    async def save_heritage(self, heritage: Heritage) -> None:
        self.saved.append("heritage")
        self.kept[heritage.into] = heritage

    async def heritage(self, into: str) -> Heritage | None:
        return self.kept.get(into)

    async def drop_heritage(self) -> None:
        self.kept.clear()

    async def tidy(self, cluster_id: str) -> None:
        self.saved.append("tidy")
        self.kept = {into: kept for into, kept in self.kept.items() if into == cluster_id}
