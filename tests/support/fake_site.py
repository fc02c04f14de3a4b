"""Whole nodes on fakes: every service as `main` puts them together, in one process and with no real thing behind them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from ariacluster.domain.commands import LANGUAGE, Command, Register
from ariacluster.domain.formation import Membership
from ariacluster.domain.member import Member, Report
from ariacluster.domain.task import Task, TaskSpec
from ariacluster_node.api.answers import Services
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services.asking import Asking
from ariacluster_node.services.bulk import Bulk
from ariacluster_node.services.catalogue import Catalogue
from ariacluster_node.services.cluster import Cluster
from ariacluster_node.services.dispatcher import Dispatcher
from ariacluster_node.services.documents import Documents
from ariacluster_node.services.event_hub import EventHub
from ariacluster_node.services.forming import Forming
from ariacluster_node.services.handover import Handover
from ariacluster_node.services.history import Histories
from ariacluster_node.services.lan import Lan
from ariacluster_node.services.listing import Listing
from ariacluster_node.services.members import Members
from ariacluster_node.services.moving import Moving
from ariacluster_node.services.overview import Overviews
from ariacluster_node.services.policy import Policies
from ariacluster_node.services.probing import Probing
from ariacluster_node.services.relaying import Relaying
from ariacluster_node.services.replica import Replica
from ariacluster_node.services.reports import Reports
from ariacluster_node.services.roster import Roster
from ariacluster_node.services.secrets import OpeningOrigins, Secrets
from ariacluster_node.services.submitting import Submitting
from ariacluster_node.services.tasks import Tasks
from ariacluster_node.services.transfers import Transfers
from ariacluster_node.services.voters import Voters
from ariacluster_node.services.worker import Worker

from .fake_clock import FakeClock
from .fake_consensus import FakeCluster, FakeConsensus
from .fake_discovery import Air, FakeDiscovery
from .fake_documents import FakeDocumentPeers, FakeDocumentStore
from .fake_downloader import FakeDownloader
from .fake_folders import FakeFolders
from .fake_machine import FakeMachine
from .fake_memory import FakeMemory
from .fake_origins import FakeOrigins
from .fake_partials import FakePartials
from .fake_peers import FakePeers
from .fake_vault import FakeVault

WELCOME = Membership(cluster_id="c" * 16, cluster_name="default", key="00" * 32, peers={})
SPEC = TaskSpec(urls=("http://origin/file.bin",))
ROOM = 10**12


class SiteNode:
    """One node. Its services are there; its loops run while the test says so (`lifecycle.cancelled_at_exit`)."""

    def __init__(
        self, site: "FakeSite", name: str, *, membership: Membership | None = WELCOME, invited_by: Sequence[str] = ()
    ) -> None:
        self.me = Member(
            id=name * 8,
            name=name,
            address=name,
            port=8000,
            raft=f"{name}:8001",
            slots=2,
            version="0.1.0",
            speaks=LANGUAGE,
        )
        self.door = f"{name}:8000"
        self.address = name
        """Where the machine says that it is."""
        self.discovery = FakeDiscovery(site.air) if site.multicast else None
        self.replica = Replica(self.me.id, site.clock)
        self.secrets = Secrets(FakeVault(), self._key)
        self.store = FakeDocumentStore()
        self.documents = Documents(
            self.replica, self.store, site.documents, site.clock, served_at="http://127.0.0.1:8000/engine/word"
        )
        site.documents.doors[self.door] = self.documents
        self.roster = Roster(self.replica, site.clock)
        self.memory = FakeMemory()
        self.lan = Lan(self.discovery, site.peers, site.clock, lambda: self.cluster.announcement())
        self.cluster = Cluster(
            self.me,
            "default",
            membership,
            self.replica,
            self.lan,
            self.memory,
            whereabouts=self._whereabouts,
            invited=bool(invited_by),
        )
        self.forming = Forming(
            self.cluster,
            self.lan,
            site.peers,
            site.clock,
            multicast=site.multicast,
            invited_by=tuple(invited_by),
        )
        self.moving = Moving(self.cluster, self.replica, self.lan, self.forming, self.memory, site.clock, self.secrets)
        self.downloader = FakeDownloader(slots=self.me.slots)
        self.folders = FakeFolders()
        self.machine = FakeMachine()
        self.origins = FakeOrigins()
        self.partials = site.partials
        self.renewed_worker()
        self.dispatcher = Dispatcher(self.replica, self.roster, site.clock, node_timeout=20.0)
        self.reports = Reports(
            self.replica,
            self.roster,
            self.cluster,
            self.worker,
            self.downloader,
            self.machine,
            site.peers,
            site.clock,
        )
        self.voters = Voters(self.replica, site.clock)
        self.probing = Probing(self.replica, OpeningOrigins(self.origins, self.secrets), site.clock)
        self.submitting = Submitting(self.replica, self.cluster, site.clock, self.probing, self.secrets, self.documents)
        self.tasks = Tasks(self.replica, self.roster, self.submitting, site.clock, self.probing)
        self.members = Members(self.replica, self.roster, site.clock)
        self.overviews = Overviews(
            self.replica, self.roster, self.members, self.cluster, self.moving, self.lan, site.clock
        )
        listing = Listing(
            self.replica, self.tasks, self.members, Catalogue(self.replica, self.roster, site.clock), site.clock
        )
        self.services = Services(
            self.tasks,
            self.members,
            self.overviews,
            self.replica,
            self.cluster,
            self.moving,
            self.reports,
            Policies(self.replica),
            Histories(self.replica),
            listing,
            self.submitting,
            Bulk(self.replica, listing),
            Relaying(self.replica, self.cluster, self.members, self.tasks, self.downloader, site.peers),
        )
        self.hub = EventHub(
            self.replica, self.roster, self.cluster, self.overviews, self.tasks, self.services.histories
        )
        self.consensus = FakeConsensus(self.replica, cluster=site.consensus, me=self.me.id, listens=self.me.raft)
        site.peers.clusters[self.door] = self.cluster
        site.peers.reports[self.door] = self.reports
        site.peers.relaying[self.door] = self.services.relaying
        site.partials.handovers[self.door] = Handover(
            self.replica, self.folders, lambda task_id: self.worker.writes(task_id)
        )

    @property
    def remembered(self) -> list[Membership]:
        """Every membership that was ever saved."""
        return self.memory.memberships

    @property
    def noted(self) -> list[str]:
        """Ids of the clusters whose log this node has noted to have."""
        return self.memory.noted

    def _key(self) -> bytes | None:
        return bytes.fromhex(self.cluster.membership.key) if self.cluster.membership else None

    async def _whereabouts(self) -> str:
        return self.address

    async def join_log(self) -> None:
        """Start the consensus, and let the services use it."""
        self.consensus._found = self.cluster.founds
        await self.consensus.start()
        self.replica.attach(self.consensus)

    def renewed_worker(self) -> Worker:
        """As after a crash of the program: nothing remembered, the same engine and folders."""
        self.worker = Worker(
            self.replica,
            self.downloader,
            self.folders,
            machine=self.machine,
            asking=Asking(OpeningOrigins(self.origins, self.secrets), self.folders),
            secrets=self.secrets,
            documents=self.documents,
            transfers=Transfers(self.replica, self.folders, self.partials),
        )
        return self.worker

    def task(self, task_id: str) -> Task:
        return self.replica.table.tasks[task_id]

    def row(self, task_id: str) -> Callable[[], str]:
        """What to wait for: the task's state now, or `gone`."""
        return lambda: self.task(task_id).state.value if task_id in self.replica.table.tasks else "gone"


class FakeSite:
    """What the nodes of one test have in common. `nodes` by name."""

    def __init__(self, *, multicast: bool = False) -> None:
        self.multicast = multicast
        self.clock = FakeClock()
        self.consensus = FakeCluster()
        self.air = Air()
        self.peers = FakePeers()
        self.documents = FakeDocumentPeers()
        self.partials = FakePartials()
        self.nodes: dict[str, SiteNode] = {}

    async def up(self, names: str) -> list[SiteNode]:
        """Voters that have been here for long: in the log, in the table, engines running. The first of them leads."""
        nodes = [SiteNode(self, name) for name in names]
        self.consensus.voters += [node.me.id for node in nodes]
        for node in nodes:
            await node.join_log()
            await node.downloader.start()
            self.nodes[node.me.name] = node
        await self.settled()
        await self.say(*(Register(node.me) for node in nodes))
        return nodes

    def heard(self, *names: str, trouble: str = "") -> None:
        """These have just reported much room, to everyone."""
        for node in self.nodes.values():
            for name in names:
                report = Report(node=self.nodes[name].me.id, disk_free=ROOM, disk_total=ROOM, trouble=trouble)
                node.roster.hear(report)

    def leader(self) -> SiteNode:
        return next(node for node in self.nodes.values() if node.me.id == self.consensus.leader)

    async def say(self, *commands: Command) -> None:
        """Commit the commands, and see every node apply them."""
        assert await self.leader().replica.propose(commands) == [None] * len(commands)
        await self.settled()

    async def settled(self) -> None:
        """Every node that can has applied what is committed."""
        await until(
            lambda: all(
                node.consensus.status().ready and node.consensus.status().applied == self.consensus.last
                for node in self.nodes.values()
                if node.consensus.status().leader
            )
        )


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Return once the condition holds; fails after `within_s`."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let everything that is ready to run do so, several times over: for what must *not* happen."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def working(*nodes: SiteNode) -> AsyncIterator[None]:
    """The workers of these nodes run."""
    async with cancelled_at_exit(*(node.worker.run() for node in nodes)):
        yield
