"""The members of the cluster: finding one, taking one off."""

from ariacluster.domain.commands import Unregister
from ariacluster.domain.errors import Conflict, NotFound
from ariacluster.domain.member import Member

from .replica import Replica
from .roster import Roster


class Members:
    """What people do with members."""

    def __init__(self, replica: Replica, roster: Roster) -> None:
        self._replica = replica
        self._roster = roster

    def find(self, name_or_id: str) -> Member:
        """One member by id, or by name if only one bears it. `NotFound`, `Conflict`."""
        members = self._replica.table.members
        if (member := members.get(name_or_id)) is not None:
            return member
        found = [m for m in members.values() if m.name == name_or_id]
        if not found:
            raise NotFound(f"There is no node {name_or_id!r}; `ariacluster node ls` names them.")
        if len(found) > 1:
            raise Conflict(f"{len(found)} nodes are called {name_or_id!r}; give the id.")
        return found[0]

    async def take_off(self, name_or_id: str, *, force: bool) -> Member:
        """Strike a node off for good: its tasks run elsewhere, its vote goes. One that is online only by `force`; the roster
        must be fresh to tell."""
        member = self.find(name_or_id)
        if self._roster.view(member.id).online and not force:
            raise Conflict(
                f"{member.name} is online; stop it first, or say force=true (--force) to take it off as it runs."
            )
        await self._replica.change(Unregister(member.id))
        return member
