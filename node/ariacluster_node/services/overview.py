"""The cluster at a glance: its members and its status as resources."""

from ariacluster.domain.member import NodeView
from ariacluster.domain.task import TaskState
from ariacluster.wire.resources import ClusterResource, NamedId, NodeResource, StatusResource, moment, node_resource
from ariacluster_node.ports import Clock

from .cluster import Cluster
from .members import Members
from .replica import Replica
from .roster import Roster


class Overviews:
    """What `/nodes` and `/status` answer, from this node's copy and its roster."""

    def __init__(self, replica: Replica, roster: Roster, members: Members, cluster: Cluster, clock: Clock) -> None:
        self._replica = replica
        self._roster = roster
        self._members = members
        self._cluster = cluster
        self._clock = clock

    def nodes(self) -> list[NodeResource]:
        """Every member, by name."""
        return [self._node(view) for view in sorted(self._roster.views(), key=lambda v: (v.member.name, v.member.id))]

    def node(self, name_or_id: str) -> NodeResource:
        """One member by id, or by name if only one bears it."""
        return self._node(self._roster.view(self._members.find(name_or_id).id))

    def status(self) -> StatusResource:
        """The cluster at a glance."""
        table, consensus, leader = self._replica.table, self._replica.status, self._cluster.leader()
        nodes = self.nodes()
        online = [node for node in nodes if node.status != "offline"]
        slots = sum(node.total_slots for node in online)
        used = sum(min(node.used_slots, node.total_slots) for node in online)
        membership = self._cluster.membership
        return StatusResource(
            node=NamedId(self._cluster.me.id, self._cluster.me.name),
            cluster=ClusterResource(
                id=membership.cluster_id if membership else "",
                name=self._cluster.cluster_name,
                mode="open",
                leader=NamedId(leader.id, leader.name) if leader else None,
                term=consensus.term if consensus else 0,
                voters=len(consensus.voters) if consensus else 0,
                members=len(table.members),
                has_quorum=consensus.has_quorum if consensus else False,
            ),
            active_workers=len(online),
            total_tasks=len(table.tasks),
            tasks_by_status={state.value: len(table.by_state[state]) for state in TaskState},
            system_load=round(100 * used / slots, 1) if slots else 0.0,
            download_speed=sum(node.download_speed for node in nodes),
            upload_speed=sum(node.upload_speed for node in nodes),
            version=self._cluster.me.version,
        )

    def _node(self, view: NodeView) -> NodeResource:
        return node_resource(
            view,
            role=self._cluster.role(view.member),
            used=self._replica.table.load_of(view.member.id),
            now=moment(self._clock.now()),
        )
