"""The members of the cluster: finding one, emptying one, setting how it works, taking one off."""

import msgspec

from ariacluster.domain.commands import Drain, Tune, Undrain, Unregister
from ariacluster.domain.errors import Conflict, InvalidInput, NotFound
from ariacluster.domain.member import Member
from ariacluster.wire.requests import NodePatch
from ariacluster_node.ports import Clock

from .replica import Replica
from .roster import Roster


class Members:
    """What people do with members."""

    def __init__(self, replica: Replica, roster: Roster, clock: Clock) -> None:
        self._replica = replica
        self._roster = roster
        self._clock = clock

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

    def named(self, name_or_id: str, *, field: str = "node") -> Member:
        """As `find`, for a node that is named in a body: `InvalidInput` if there is none."""
        try:
            return self.find(name_or_id)
        except NotFound as error:
            raise InvalidInput(error.detail, field=field) from None

    async def drain(self, name_or_id: str, finish_within: float) -> Member:
        """Empty a node: it is given nothing new, and what it does not finish within so many seconds goes elsewhere."""
        member = self.find(name_or_id)
        if member.witness:
            raise Conflict(f"{member.name} is a witness: it has no tasks, and may be stopped at any time.")
        await self._replica.change(Drain(member.id, self._clock.now() + round(finish_within * 1000)))
        return member

    async def undrain(self, name_or_id: str) -> Member:
        """Let a node take tasks again; no change if it does."""
        member = self.find(name_or_id)
        if member.drain_until is not None:
            await self._replica.change(Undrain(member.id))
        return member

    async def tune(self, name_or_id: str, patch: NodePatch) -> Member:
        """Set what the patch names of how a node works; it holds until it is set anew."""
        member = self.find(name_or_id)
        if member.witness:
            raise Conflict(f"{member.name} is a witness: it downloads nothing, so there is nothing to set.")
        tuning = msgspec.structs.replace(member.tuning, **_named(patch))
        if tuning != member.tuning:
            await self._replica.change(Tune(member.id, tuning))
        return member

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


def _named(patch: NodePatch) -> dict[str, int | None]:
    """What a patch names."""
    given = {name: getattr(patch, name) for name in patch.__struct_fields__}
    return {name: value for name, value in given.items() if value is not msgspec.UNSET}
