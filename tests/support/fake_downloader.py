"""An engine in memory that downloads what the test says, when it says so."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ariacluster.domain.errors import AriaClusterError, InvalidInput, Unavailable
from ariacluster.domain.reconcile import Download
from ariacluster_node.ports import Detail, DetailFile, EngineLimits, EngineTotals, Job


class FakeDownloader:
    """Fills `Downloader`. Up to `slots` downloads are active at once, in the order they came; no file is ever touched.

    `limits` is what `tune` said last, None before.
    `jobs` by gid is what was added and not removed; `added` and `removed` are what was asked, in order. `refusal`, while
    not empty, is aria2's text against every job. `on_add` may steer a download the moment it is added.
    """

    def __init__(self, *, slots: int = 5) -> None:
        self.version = ""
        self.deaths = 0
        self.slots = slots
        self.limits: EngineLimits | None = None
        self.jobs: dict[str, Job] = {}
        self.added: list[Job] = []
        self.removed: list[str] = []
        self.refusal = ""
        self.on_add: Callable[[Job], None] = lambda job: None
        self._downloads: dict[str, Download] = {}
        self._totals = EngineTotals()
        self._up = False
        self._callbacks: list[Callable[[], None]] = []

    async def start(self) -> None:
        self.version = "1.37.0"
        self._up = True

    async def stop(self) -> None:
        self._empty()
        self._up = False

    async def _add(self, job: Job) -> None:
        self._check_up()
        self.added.append(job)
        if self.refusal:
            raise InvalidInput(f"aria2 refused the download: {self.refusal}")
        self._downloads.pop(job.gid, None)
        self.jobs[job.gid] = job
        self._downloads[job.gid] = Download(gid=job.gid, status="waiting")
        self._fill_slots()
        self.on_add(job)

    async def add_all(self, jobs: Sequence[Job]) -> list[AriaClusterError | None]:
        return [await _refused(self._add(job)) for job in jobs]

    async def _remove(self, gid: str) -> None:
        self._check_up()
        self.removed.append(gid)
        if self._downloads.pop(gid, None) is not None:
            del self.jobs[gid]
            self._fill_slots()
            self._notify()

    async def remove_all(self, gids: Sequence[str]) -> list[AriaClusterError | None]:
        return [await _refused(self._remove(gid)) for gid in gids]

    async def poll(self) -> dict[str, Download]:
        self._check_up()
        self._totals = EngineTotals(
            download_speed=sum(download.speed for download in self._downloads.values()),
            upload_speed=sum(download.upload_speed for download in self._downloads.values()),
        )
        return dict(self._downloads)

    async def detail(self, gid: str) -> Detail | None:
        self._check_up()
        download = self._downloads.get(gid)
        if download is None or download.status != "active":
            return None
        files = (DetailFile(self.jobs[gid].out or "file", download.total, download.completed, True),)
        return Detail(files=files, servers=tuple((url, download.speed) for url in self.jobs[gid].urls))

    async def tune(self, limits: EngineLimits) -> None:
        self.limits, self.slots = limits, limits.slots
        self._check_up()
        self._fill_slots()

    def totals(self) -> EngineTotals:
        return self._totals

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def progress(self, gid: str, completed: int, total: int, *, speed: int = 0, connections: int = 1) -> None:
        """Some bytes came; without an event, as with aria2. A waiting download becomes active."""
        self._set(gid, status="active", completed=completed, total=total, speed=speed, connections=connections)

    def complete(self, gid: str, total: int | None = None) -> None:
        """It is whole: `total` bytes, or what the last progress said."""
        size = self._downloads[gid].total if total is None else total
        self._set(gid, status="complete", completed=size, total=size, speed=0, connections=0)
        self._fill_slots()
        self._notify()

    def fail(self, gid: str, code: int, message: str = "") -> None:
        """It ends in one of aria2's error codes."""
        self._set(gid, status="error", speed=0, connections=0, error_code=code, error_message=message)
        self._fill_slots()
        self._notify()

    def crash(self) -> None:
        """It is gone with all its downloads, and nobody is told: every call is `Unavailable` until `restart`."""
        self._empty()
        self._up = False
        self.deaths += 1

    def restart(self) -> None:
        """It is back after a `crash`, empty."""
        self._up = True
        self._notify()

    def _set(self, gid: str, **changes: object) -> None:
        self._downloads[gid] = msgspec.structs.replace(self._downloads[gid], **changes)

    def _fill_slots(self) -> None:
        active = sum(download.status == "active" for download in self._downloads.values())
        for gid, download in self._downloads.items():
            if active < self.slots and download.status == "waiting":
                self._downloads[gid] = msgspec.structs.replace(download, status="active")
                active += 1
                self._notify()

    def _empty(self) -> None:
        self.jobs.clear()
        self._downloads.clear()
        self._totals = EngineTotals()

    def _check_up(self) -> None:
        if not self._up:
            raise Unavailable("The aria2 of this node is not running right now.")

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()


async def _refused(call: Awaitable[None]) -> AriaClusterError | None:
    try:
        await call
    except AriaClusterError as error:
        return error
    return None
