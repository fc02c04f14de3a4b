"""What only one of the nodes can say or do, asked for at any: it is asked for there."""

import asyncio

from ariacluster.domain.errors import Conflict, NoLeader, UnknownOutcome
from ariacluster.domain.task import TaskState
from ariacluster.wire.resources import LiveFile, LiveResource, LiveServer
from ariacluster.wire.showing import redact
from ariacluster_node.ports import Downloader, Relay

from .cluster import Cluster
from .members import Members
from .replica import Replica
from .tasks import Tasks

TRANSFER_WITHIN = 5.0
"""Seconds for another voter to take over: an election needs a fraction of one."""

LOOK_EVERY = 0.02
"""Seconds between two looks at who leads."""


class Relaying:
    """`relayed`: another member asks on somebody's behalf, and is answered by this node alone."""

    def __init__(
        self, replica: Replica, cluster: Cluster, members: Members, tasks: Tasks, downloader: Downloader, relay: Relay
    ) -> None:
        self._replica = replica
        self._cluster = cluster
        self._members = members
        self._tasks = tasks
        self._downloader = downloader
        self._relay = relay

    async def live(self, ref: str, *, relayed: bool) -> LiveResource:
        """What the engine that has the task says of it. `Unavailable` if its node does not answer."""
        task = self._tasks.find(ref)
        node = task.node if task.state is TaskState.DOWNLOADING else None
        if node is None or (relayed and node != self._replica.node_id):
            return LiveResource(id=task.id, running=False)
        if node != self._replica.node_id:
            member = self._replica.table.members.get(node)
            return (
                LiveResource(id=task.id, running=False)
                if member is None
                else await self._relay.live(member.door, task.id)
            )
        detail = await self._downloader.detail(task.id)
        if detail is None:
            return LiveResource(id=task.id, running=False)
        below = f"{task.spec.dir}/" if task.spec.dir else ""
        speeds: dict[str, int] = {}
        for uri, speed in detail.servers:  # a connection each
            speeds[redact(uri)] = speeds.get(redact(uri), 0) + speed
        return LiveResource(
            id=task.id,
            running=True,
            piece_length=detail.piece_length,
            piece_count=detail.piece_count,
            pieces=detail.pieces,
            files=[
                LiveFile(path=below + file.path, length=file.length, completed=file.completed, selected=file.selected)
                for file in detail.files
            ],
            servers=[LiveServer(uri=uri, speed=speed) for uri, speed in speeds.items()],
            seeders=detail.seeders,
            upload_speed=detail.upload_speed,
            uploaded=detail.uploaded,
        )

    async def transfer(self, ref: str, *, relayed: bool) -> None:
        """Hand the leadership to the voter `ref`, or to any other one if it is empty; returns once this node sees it lead."""
        status = self._replica.status
        leader = self._cluster.leader()
        if status is None or leader is None:
            raise NoLeader("The cluster has no leader right now, so there is nothing to hand over.")
        target = self._members.find(ref) if ref else None
        if target is not None and target.id == leader.id:
            raise Conflict(f"{target.name} leads already.", field="node")
        if target is not None and target.id not in status.voters:
            raise Conflict(f"{target.name} does not vote, and cannot lead.", field="node")
        if len(status.voters) == 1:
            raise Conflict("There is no other voter that could lead.")
        if leader.id == self._replica.node_id:
            await self._replica.consensus.transfer(timeout=TRANSFER_WITHIN, to=target.id if target else None)
        elif relayed:
            raise NoLeader("This node does not lead the cluster any more; ask again.")
        else:
            await self._relay.transfer(leader.door, target.id if target else "")
        await self._seen(leader.id)

    async def _seen(self, before: str) -> None:
        try:
            async with asyncio.timeout(TRANSFER_WITHIN):
                while True:
                    leader = self._cluster.leader()
                    if leader is not None and leader.id != before:
                        return
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            raise UnknownOutcome(
                "Nobody was seen to take over in time. Look at the status before trying again."
            ) from None
