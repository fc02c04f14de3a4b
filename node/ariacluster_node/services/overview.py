"""The cluster at a glance: its members and its status as resources."""

from ariacluster.domain.errors import NotReady
from ariacluster.domain.member import NodeView
from ariacluster.domain.placement import human, span
from ariacluster.domain.task import TaskState
from ariacluster.wire.resources import (
    ClusterResource,
    NamedId,
    NodeResource,
    OtherClusterResource,
    RecoveryResource,
    StatusResource,
)
from ariacluster.wire.showing import moment, node_resource
from ariacluster_node.ports import Clock

from .cluster import Cluster
from .lan import Lan
from .leftovers import Leftovers
from .members import Members
from .moving import Moving
from .replica import Replica
from .roster import Roster

HOLDS_TOLD = 5
"""Servers on hold that the status names one by one."""


class Overviews:
    """What `/nodes` and `/status` answer, from this node's copy and its roster."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        members: Members,
        cluster: Cluster,
        moving: Moving,
        lan: Lan,
        clock: Clock,
    ) -> None:
        self._replica = replica
        self._leftovers = Leftovers(replica)
        self._roster = roster
        self._members = members
        self._cluster = cluster
        self._moving = moving
        self._lan = lan
        self._clock = clock

    def nodes(self) -> list[NodeResource]:
        """Every member, by name."""
        return [self._node(view) for view in sorted(self._roster.views(), key=lambda v: (v.member.name, v.member.id))]

    def node(self, name_or_id: str) -> NodeResource:
        """One member by id, or by name if only one bears it."""
        return self._node(self._roster.view(self._members.find(name_or_id).id))

    def status(self) -> StatusResource:
        """The cluster at a glance."""
        table = self._replica.table
        nodes = self.nodes()
        online = [node for node in nodes if node.status != "offline"]
        slots = sum(node.total_slots for node in online)
        used = sum(min(node.used_slots, node.total_slots) for node in online)
        return StatusResource(
            node=NamedId(self._cluster.me.id, self._cluster.me.name),
            cluster=self.cluster(),
            active_workers=len(online),
            total_tasks=len(table.tasks),
            tasks_by_status={state.value: len(table.by_state[state]) for state in TaskState},
            system_load=round(100 * used / slots, 1) if slots else 0.0,
            download_speed=sum(node.download_speed for node in nodes),
            upload_speed=sum(node.upload_speed for node in nodes),
            version=self._cluster.me.version,
            problems=[*self._problems(nodes), *self._holds()],
            revision=status.applied if (status := self._replica.status) else 0,
        )

    def cluster(self) -> ClusterResource:
        """Who belongs together, who leads, and who is missing."""
        consensus, leader, membership = self._replica.status, self._cluster.leader(), self._cluster.membership
        return ClusterResource(
            id=membership.cluster_id if membership else "",
            name=self._cluster.cluster_name,
            mode="open",
            leader=NamedId(leader.id, leader.name) if leader else None,
            term=consensus.term if consensus else 0,
            voters=len(consensus.voters) if consensus else 0,
            members=len(self._replica.table.members),
            has_quorum=consensus.has_quorum if consensus else False,
            missing=self._missing(),
            others=[
                OtherClusterResource(
                    id=heard[0].cluster_id,
                    members=max(max(h.members for h in heard), len(heard)),
                    nodes=sorted(h.node_name for h in heard),
                )
                for heard in self._moving.others()
            ],
        )

    def recovery(self) -> RecoveryResource:
        """What `cluster recover` on this node would do. `NotReady` while it belongs to no cluster."""
        membership = self._cluster.membership
        if membership is None:
            raise NotReady("This node belongs to no cluster yet; ask again in a few seconds.")
        missing = self._missing()
        names = " and ".join(node.name for node in missing) or "the missing nodes"
        return RecoveryResource(
            confirm=membership.cluster_id,
            missing=missing,
            consequences=[
                f"A new cluster begins with what {self._cluster.me.name} knows: {len(self._replica.table.tasks)} tasks.",
                f"What {names} decided and {self._cluster.me.name} has not heard of is not in it until they come back.",
                "Tasks that they were given are begun again elsewhere; what both have finished is kept once.",
                f"When {names} come back they join the new cluster by themselves, and bring along what they know.",
                "Say it on one node only: said on two, there are two clusters (`ariacluster cluster merge` mends that).",
            ],
        )

    def _missing(self) -> list[NamedId]:
        status = self._replica.status
        return [NamedId(node, self._replica.table.name_of(node)) for node in (status.missing if status else ())]

    def _problems(self, nodes: list[NodeResource]) -> list[str]:
        problems = []
        if lost := self._replica.quorum_lost():
            problems.append(
                f"{lost} Bring them back; if they are gone for good, `ariacluster cluster recover` begins anew without them."
            )
        if self._lan.twins:
            problems.append(
                f"Another node announces this node's id at {', '.join(self._lan.twins)}: was the data folder copied? Stop one "
                "of the two, and start it with an empty data folder."
            )
        for heard in self._moving.others():
            names = ", ".join(sorted(h.node_name for h in heard))
            problems.append(
                f"Another cluster of this name is here, {heard[0].cluster_id} ({names}): `ariacluster cluster merge` makes "
                "one of the two."
            )
        problems.extend(
            f"{node.name} takes no tasks: {node.trouble}" for node in nodes if node.trouble and node.status != "offline"
        )
        least = self._replica.table.policy.min_free
        problems.extend(
            f"{node.name} takes no tasks: it has only {human(node.disk_free)} free, and {human(least)} are to stay free."
            for node in nodes
            if node.disk_total
            and node.disk_free < least
            and node.status != "offline"
            and not node.trouble
            and not node.witness
        )
        versions = sorted({node.version for node in nodes if node.status != "offline"})
        if len(versions) > 1:
            problems.append(
                f"The nodes run different versions ({', '.join(versions)}); update the older ones when it suits you."
            )
        return problems

    def _holds(self) -> list[str]:
        """The origins that want to be left alone, as far as tasks ask for them."""
        now = self._clock.now()
        held = sorted((o.until, name) for name, o in self._replica.table.origins.items() if o.until > now)
        told = [
            f"{name} asked for fewer requests; all nodes leave it alone for another {span(until - now)}."
            for until, name in held[:HOLDS_TOLD]
        ]
        if more := len(held) - len(told):
            told.append(f"{more} more servers asked for fewer requests, and are left alone for a while.")
        return told

    def _node(self, view: NodeView) -> NodeResource:
        used = self._replica.table.load_of(view.member.id)
        return node_resource(
            view,
            policy=self._replica.table.policy,
            role=self._cluster.role(view.member),
            used=used,
            left=used if view.member.drain_until is None else used + self._leftovers.on(view.member.id),
            now=moment(self._clock.now()),
        )
