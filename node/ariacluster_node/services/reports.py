"""Every node's report to the leader, once a second; what the leader makes of them comes back to whoever is watched."""

import asyncio

import structlog

from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.member import Report
from ariacluster.wire.peers import Overview, ReportFrame
from ariacluster_node.ports import Clock, Downloader, Machine, Reporting

from .cluster import Cluster
from .replica import Replica
from .roster import Roster
from .wakeup import Wakeup
from .worker import Worker

log = structlog.get_logger()

REPORT_PERIOD = 1.0
"""Seconds between reports."""

FRESH = 2.0
"""Seconds: an overview that is watched is never older, unless the leader is silent."""


class Reports:
    """Runs on every node; the receiving end answers where this node leads."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        cluster: Cluster,
        worker: Worker,
        downloader: Downloader,
        machine: Machine,
        link: Reporting,
        clock: Clock,
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._cluster = cluster
        self._worker = worker
        self._downloader = downloader
        self._machine = machine
        self._link = link
        self._clock = clock
        self._born = clock.monotonic()
        self._unheard = False
        self._informed = float("-inf")
        self._asking = asyncio.Lock()
        self._wake = Wakeup()
        worker.on_trouble(self._wake)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            report = await self._own()
            self._roster.hear(report)
            if not self._replica.leads:
                await self._send(report, watching=self._roster.watched)
            await self._wake.wait(REPORT_PERIOD)

    async def freshen(self) -> None:
        """Somebody is about to look: return once what this node knows of the others is no older than `FRESH` seconds, or
        the leader cannot tell. From then on the overview keeps coming for a while."""
        self._roster.look()
        if self._replica.leads or self._age() < FRESH:
            return
        async with self._asking:  # who comes meanwhile waits for the same answer
            if self._age() >= FRESH:
                await self._send(await self._own(), watching=True)
                self._informed = self._clock.monotonic()

    def _age(self) -> float:
        return self._clock.monotonic() - self._informed

    def receive(self, frame: ReportFrame) -> Overview | None:
        """A node reports to this one; `NoLeader` if this one does not lead."""
        term = self._cluster.require_lead()
        self._roster.hear(frame.report)
        return self._roster.overview(term) if frame.watching else None

    async def _own(self) -> Report:
        vitals = await self._machine.vitals()
        totals = self._downloader.totals()
        return Report(
            node=self._replica.node_id,
            download_speed=totals.download_speed,
            upload_speed=totals.upload_speed,
            disk_free=vitals.disk_free,
            disk_total=vitals.disk_total,
            cpu=vitals.cpu,
            memory=vitals.memory,
            uptime=self._clock.monotonic() - self._born,
            engine=self._downloader.version,
            trouble=self._worker.trouble,
            tasks=self._worker.progress(),
        )

    async def _send(self, report: Report, *, watching: bool) -> None:
        leader = self._cluster.leader()
        if leader is None:
            return
        frame = ReportFrame(report, watching=watching)
        try:
            overview = await self._link.report(leader.door, frame)
        except AriaClusterError as error:
            if not self._unheard:
                log.warning("the leader does not hear this node", leader=leader.name, reason=error.detail)
            self._unheard = True
            return
        self._unheard = False
        if overview is not None:
            self._roster.hear_all(overview)
            self._informed = self._clock.monotonic()
