"""Every node's report to the leader, once a second; what the leader makes of them comes back to whoever is watched."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable, Iterator

import structlog

from ariacluster.domain.errors import AriaClusterError, InvalidInput, NoLeader
from ariacluster.domain.member import Member, Report
from ariacluster.wire.deltas import Listener, Lost, Memo, Teller
from ariacluster.wire.peers import Overview, OverviewFrame, ReportFrame
from ariacluster_node.ports import Clock, Downloader, Machine, Reporting, ReportStream

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

ANSWER_WITHIN = 2.0
"""Seconds for which who looks is kept waiting for a fresh overview."""

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds between tries to reach a leader, doubled with each, half of it and more by chance. A new leader refuses reports
until it may act, which is soon."""

COMPLAIN_AFTER = 4
"""Tries in vain until it is logged: the first ones belong to every election."""

SMOOTHING = 3.0
"""Seconds over which the speed is smoothed before it counts as reached: aria2 fills its buffers in bursts."""

HALF_LIFE = 600.0
"""Seconds in which a speed that was reached loses half of its worth: uplinks change with the time of the day."""


class Peak:
    """What a speed reached lately (bytes/s)."""

    def __init__(self) -> None:
        self._smooth = self._peak = 0.0
        self._at: float | None = None

    def take(self, speed: int, now: float) -> int:
        """The peak, now that `speed` is what it is at the moment `now` (s)."""
        if self._at is not None:
            passed = max(0.0, now - self._at)
            self._smooth += (speed - self._smooth) * (1 - math.exp(-passed / SMOOTHING))
            self._peak = max(self._peak * 0.5 ** (passed / HALF_LIFE), self._smooth)
        self._at = now
        return round(self._peak)


class Talk:
    """A node's end of one stream. `heard`: the number of the last frame that the leader had when it spoke last."""

    def __init__(self, stream: ReportStream) -> None:
        self._stream = stream
        self._teller = Teller()
        self._listener = Listener()
        self._got = 0
        self.heard = 0
        self.unclear = False
        """One of the two ends lost track: say something soon."""

    @property
    def next(self) -> int:
        """The number that the next frame will have."""
        return self._teller.number + 1

    async def tell(self, report: Report, now: float, *, watching: bool) -> None:
        news = self._teller.tell({report.node: (report, now)}, now)
        again, self.unclear = self._listener.lost and self._got > 0, False
        await self._stream.send(ReportFrame(news=news, watching=watching, got=self._got, again=again))

    async def hear(self) -> Overview:
        """What is new. Errors as `ReportStream.receive`."""
        frame = await self._stream.receive()
        self._got, self.heard = frame.news.number, frame.heard
        if frame.again:
            self._teller.forget()
            self.unclear = True
        try:
            return Overview(frame.term, tuple(self._listener.hear(frame.news)))
        except Lost:
            self.unclear = True
            return Overview(frame.term, ())


class Line:
    """The leader's end of one stream, for as long as it leads in `term`."""

    def __init__(self, term: int, roster: Roster, memo: Memo, clock: Clock, lead: Callable[[], int]) -> None:
        self.term = term
        self._roster = roster
        self._clock = clock
        self._lead = lead
        self._listener = Listener()
        self._teller = Teller(memo)
        self._news = asyncio.Event()
        self._ended = self._due = self._again = False
        self._heard = self._got = 0

    @property
    def nodes(self) -> set[str]:
        """Whose stream it is, once that has said something."""
        return set(self._listener.known)

    def hear(self, frame: ReportFrame) -> None:
        """A frame came. `NoLeader` if this node leads no more, `InvalidInput` if it is not one node's report."""
        if self._ended or self._lead() != self.term:
            raise NoLeader("This node does not lead the cluster any more.")
        self._got = frame.got
        if frame.again:
            self._teller.forget()
        self._due = frame.watching
        try:
            self._listener.hear(frame.news)
        except Lost:
            self._again = True
        else:
            if len(self._listener.known) != 1:
                raise InvalidInput("A node reports of itself alone.")
            self._again = False
            self._heard = frame.news.number
            for report in self._listener.known.values():
                self._roster.lead(True)
                self._roster.hear(report)
        self._news.set()

    async def next(self) -> OverviewFrame:
        """Wait for what is to go down. Never more than one frame is on the way: who reads slowly gets the latest when it has
        the one before. `NoLeader` once this node leads no more."""
        while not self._ended:
            if (self._due or self._again) and self._got == self._teller.number:
                self._due = False
                heard = self._roster.heard()
                for node in self._listener.known:  # it knows best how it fares
                    heard.pop(node, None)
                news = self._teller.tell(heard, self._clock.monotonic())
                return OverviewFrame(term=self.term, news=news, heard=self._heard, again=self._again)
            self._news.clear()
            await self._news.wait()
        raise NoLeader("This node does not lead the cluster any more.")

    def end(self) -> None:
        self._ended = True
        self._news.set()


class Look:
    """Somebody waits for what the leader has once it heard the frame `number`; None: that frame is not sent yet."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.answered = False
        self.over = asyncio.Event()


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
        self._peak = Peak()
        self._report: Report | None = None
        self._lines: set[Line] = set()
        self._memo = Memo()
        self._talk: Talk | None = None
        self._look: Look | None = None
        self._informed = float("-inf")
        self._asking = asyncio.Lock()
        self._wake = Wakeup()  # to look at itself anew
        self._due = Wakeup()  # to say something, or to leave the stream
        self._changed = Wakeup()  # another one leads, perhaps
        worker.on_trouble(self._wake)

    async def run(self) -> None:
        """Until cancelled."""
        self._replica.consensus.on_change(self._on_change)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._observe())
                group.create_task(self._follow())
        finally:
            for line in self._lines:
                line.end()

    def _on_change(self) -> None:
        self._check_lead()
        self._wake()
        self._due()
        self._changed()

    # -- this node's report -------------------------------------------------------------------------------------

    async def _observe(self) -> None:
        while True:
            self._check_lead()
            self._report = await self._own()
            self._roster.hear(self._report)
            self._due()
            await self._wake.wait(REPORT_PERIOD)

    async def _own(self) -> Report:
        vitals = await self._machine.vitals()
        totals = self._downloader.totals()
        now = self._clock.monotonic()
        return Report(
            node=self._replica.node_id,
            download_speed=totals.download_speed,
            upload_speed=totals.upload_speed,
            disk_free=vitals.disk_free,
            disk_total=vitals.disk_total,
            cpu=vitals.cpu,
            memory=vitals.memory,
            uptime=now - self._born,
            engine=self._downloader.version,
            trouble=self._worker.trouble,
            pressed=self._worker.pressed,
            peak_speed=self._peak.take(totals.download_speed, now),
            pace=self._worker.pace,
            tasks=self._worker.progress(),
        )

    # -- to the leader ------------------------------------------------------------------------------------------

    def _other_leader(self) -> Member | None:
        """Whom to report to; None while this node leads, or knows of no leader."""
        leader = self._cluster.leader()
        return None if leader is None or leader.id == self._replica.node_id else leader

    async def _follow(self) -> None:
        """Keep a stream to whoever leads."""
        tries = 0
        while True:
            leader = self._other_leader()
            if leader is None:
                tries = 0
                await self._changed.wait(REPORT_PERIOD)
                continue
            began = self._clock.monotonic()
            reason = ""
            try:
                await self._report_to(leader)
            except* AriaClusterError as errors:
                reason = _first(errors).detail
            if not reason:
                tries = 0
                continue
            tries = 1 if self._clock.monotonic() - began > LONGEST_PAUSE else tries + 1
            if tries == COMPLAIN_AFTER:
                log.warning("the leader does not hear this node", leader=leader.name, reason=reason)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries - 1, 10))
            await self._changed.wait(pause * (0.5 + secrets.randbelow(500) / 1000))

    async def _report_to(self, leader: Member) -> None:
        """Report to this leader as long as it leads; errors of ours, in a group or alone, once the stream has ended."""
        async with self._link.stream(leader.door) as stream:
            self._talk = talk = Talk(stream)
            try:
                async with asyncio.TaskGroup() as group:
                    listening = group.create_task(self._listen(talk))
                    while (now := self._other_leader()) is not None and (now.id, now.door) == (leader.id, leader.door):
                        if self._look is not None and self._look.number is None:
                            self._look.number = talk.next
                        report = self._report or await self._own()
                        await talk.tell(report, self._clock.monotonic(), watching=self._roster.watched)
                        await self._due.wait(REPORT_PERIOD)
                    listening.cancel()
            finally:
                self._talk = None
                if self._look is not None:
                    self._look.over.set()

    async def _listen(self, talk: Talk) -> None:
        while True:
            self._take(await talk.hear())
            look = self._look
            if look is not None and look.number is not None:
                if talk.heard >= look.number:
                    look.answered = True
                    look.over.set()
                else:  # that was on its way already: say that it came, and the next one will be sent
                    talk.unclear = True
            if talk.unclear:
                self._due()

    def _take(self, overview: Overview) -> None:
        self._roster.hear_all(overview)
        self._informed = self._clock.monotonic()

    async def freshen(self) -> None:
        """Somebody is about to look: return once what this node knows of the others is no older than `FRESH` seconds, or
        the leader cannot tell. From then on the overview keeps coming for a while."""
        self._roster.look()
        if self._replica.leads or self._age() < FRESH:
            return
        async with self._asking:  # who comes meanwhile waits for the same answer
            if self._age() >= FRESH:
                with contextlib.suppress(AriaClusterError, TimeoutError):
                    async with asyncio.timeout(ANSWER_WITHIN):
                        await self._ask()
                self._informed = self._clock.monotonic()

    def _age(self) -> float:
        return self._clock.monotonic() - self._informed

    async def _ask(self) -> None:
        """Have the leader's overview, by the stream there is or by one for this once."""
        if self._talk is not None:
            self._look = look = Look()
            self._due()
            try:
                await look.over.wait()
            finally:
                self._look = None
            if look.answered:
                return
        leader = self._other_leader()
        if leader is None:
            return
        async with self._link.stream(leader.door) as stream:
            talk = Talk(stream)
            asked = talk.next
            while talk.heard < asked:
                await talk.tell(await self._own(), self._clock.monotonic(), watching=True)
                self._take(await talk.hear())

    # -- as the leader ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def listen(self) -> Iterator[Line]:
        """A node opens a stream to this one; `NoLeader` if this one does not lead."""
        line = Line(self._cluster.require_lead(), self._roster, self._memo, self._clock, self._cluster.require_lead)
        self._lines.add(line)
        try:
            yield line
        finally:
            self._lines.discard(line)
            talking = {node for other in self._lines for node in other.nodes}
            for node in line.nodes - talking:
                self._roster.hung_up(node)

    def _check_lead(self) -> None:
        """Streams end with the lead: who reports to this node must look for the new one."""
        leads = self._replica.leads
        status = self._replica.status
        self._roster.lead(leads)
        for line in self._lines:
            if not leads or status is None or line.term != status.term:
                line.end()
        self._memo.keep(self._replica.table.members)


def _first(errors: BaseExceptionGroup[AriaClusterError]) -> AriaClusterError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
