"""The engine as the worker knows it: what it does, for which attempt, within which limits, and which download ends it."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from ariacluster.domain.errors import AriaClusterError, InvalidInput, Unavailable
from ariacluster.domain.member import Member
from ariacluster.domain.policy import Policy
from ariacluster.domain.reconcile import Download
from ariacluster.domain.suspects import Guilty, Run, Suspects
from ariacluster.domain.task import Task
from ariacluster_node.ports import Downloader, EngineLimits, Job

from .documents import Documents
from .secrets import Secrets

log = structlog.get_logger()


class Begin(NamedTuple):
    """A task, the folder that it goes into, and what its file is called if the task does not say."""

    task: Task
    folder: Path
    out: str | None = None


class Engine:
    """`downloads` and `attempts` are for the plan: what the engine has, and the attempt that each was added for.
    `clock` tells seconds and never goes back."""

    def __init__(
        self, downloader: Downloader, clock: Callable[[], float], secrets: Secrets, documents: Documents
    ) -> None:
        self.downloads: dict[str, Download] = {}
        self.attempts: dict[str, int] = {}
        self.down = False
        """It could not be asked."""
        self._downloader = downloader
        self._seen: dict[str, Download] = {}
        self._suspects = Suspects()
        self._deaths = downloader.deaths
        self._limits: EngineLimits | None = None
        self._clock = clock
        self._secrets = secrets
        self._documents = documents

    @property
    def guilty(self) -> list[Guilty]:
        """Downloads that end it."""
        return self._suspects.guilty

    def writes(self, task_id: str) -> bool:
        """Has it, or may it have, a download of the task? False only once it has let go of the files."""
        return task_id in self.attempts or task_id in self.downloads

    def runs(self, task_id: str) -> bool:
        """Did it say that it downloads it, or will when there is a slot?"""
        download = self.downloads.get(task_id)
        return download is not None and download.status in ("active", "waiting", "paused")

    async def look(self) -> str:
        """What it does, and whether it ended since the last look. Why it cannot be asked, if it cannot."""
        deaths, fault = self._downloader.deaths, ""
        try:
            downloads = await self._downloader.poll()
        except Unavailable as error:
            downloads, fault = {}, error.detail
        if deaths != self._deaths:
            self._deaths = deaths
            self._suspects.ended(self._running(), self._clock())
            self.attempts = {}
        self.downloads, self.down = downloads, bool(fault)
        if not fault:
            self._seen = downloads
            self.attempts = {gid: attempt for gid, attempt in self.attempts.items() if gid in downloads}
        return fault

    def _running(self) -> list[Run]:
        """What it had begun, as last seen; with what was added since, and those next in line, which may have begun."""
        begun, waiting = [], []
        for gid, attempt in self.attempts.items():
            seen = self._seen.get(gid)
            if seen is None or seen.status == "active":
                begun.append(Run(gid, attempt))
            elif seen.status == "waiting":
                waiting.append(Run(gid, attempt))
        return begun + waiting[: len(begun)]

    def held_back(self, rows: Sequence[Task]) -> set[str]:
        """Which of the tasks of this node it is not to have now, lest it ends again. Whatever else was known is
        forgotten."""
        runs = [Run(task.id, task.attempt) for task in rows]
        going = [Run(gid, self.attempts.get(gid, 0)) for gid in self.downloads if self.runs(gid)]
        self._suspects.look(runs, going, self._clock())
        return self._suspects.held(runs)

    def acquit(self, task: Task) -> None:
        """It is whole: it ends no engine."""
        self._suspects.acquit(Run(task.id, task.attempt))

    async def add_all(self, works: Sequence[Begin]) -> list[AriaClusterError | None]:
        """See the port. While the answer is awaited, and if it is lost, the engine counts as having them."""
        errors: dict[str, AriaClusterError] = {}
        jobs: list[Job] = []
        for task, folder, out in works:
            try:
                jobs.append(await self._job(task, folder, out))
            except AriaClusterError as error:
                errors[task.id] = error
        attempts = {task.id: task.attempt for task, *_ in works}
        self.attempts.update((job.gid, attempts[job.gid]) for job in jobs)
        for job, refusal in zip(jobs, await self._downloader.add_all(jobs) if jobs else (), strict=True):
            if refusal is not None:
                errors[job.gid] = refusal
            if isinstance(refusal, InvalidInput):
                self.attempts.pop(job.gid, None)
        return [errors.get(task.id) for task, *_ in works]

    async def _job(self, task: Task, folder: Path, out: str | None) -> Job:
        spec = self._secrets.opened(task.spec)
        if (document := spec.document) is not None:
            await self._documents.at_hand(document.digest)
            spec = self._documents.for_engine(spec, document)
        return Job(
            gid=task.id,
            urls=spec.urls,
            folder=folder,
            out=spec.out or out,
            options=spec.options,
            headers=spec.headers,
            checksum=spec.checksum,
            connections=task.connections,
        )

    async def drop_all(self, gids: Sequence[str]) -> list[AriaClusterError | None]:
        """See the port, `remove_all`."""
        errors = await self._downloader.remove_all(gids)
        for gid, error in zip(gids, errors, strict=True):
            if error is None:
                self.attempts.pop(gid, None)
                self.downloads.pop(gid, None)
        return errors

    async def drop(self, gid: str) -> None:
        """`drop_all` of one: what was in its way is raised."""
        if error := (await self.drop_all([gid]))[0]:
            raise error

    def disown(self, present: Collection[str]) -> list[str]:
        """Downloads whose folder is not among those that are present: no attempt owns them, so that they begin anew."""
        vanished = [gid for gid in self.attempts if gid not in present]
        self.attempts.update(dict.fromkeys(vanished, 0))
        return vanished

    async def tune(self, member: Member | None, policy: Policy) -> None:
        """Work within the limits that people set of this node, or of all."""
        if member is None:
            return
        limits = EngineLimits(
            slots=max(1, policy.slots_of(member)),  # with none it is given nothing; what it has goes on
            download_limit=member.tuning.download_limit,
            upload_limit=member.tuning.upload_limit,
        )
        if limits != self._limits:
            self._limits = limits
            try:
                await self._downloader.tune(limits)
            except Unavailable as error:
                log.info("limits come with the next engine", reason=error.detail)
