"""The `Downloader` port, filled by an aria2c of this node's own."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ariacluster.domain.errors import AriaClusterError, InvalidInput, StartFailed, Unavailable
from ariacluster.domain.reconcile import Download
from ariacluster.domain.selection import OPTION
from ariacluster_node.ports import Detail, EngineLimits, EngineTotals, Job

from .detail import detail_of
from .flags import Tuning
from .keeper import Keeper, Patience
from .locate import Program, locate
from .orders import limiting, options_of
from .process import Engine
from .rpc import Call, Refused, Rpc
from .status import KEYS, Entry, entries, families, fold

_MANY = 1_000_000
"""More than aria2 can list: all of them."""

_LISTS = (
    Call("aria2.tellActive", (KEYS,)),
    Call("aria2.tellWaiting", (0, _MANY, KEYS)),
    Call("aria2.tellStopped", (0, _MANY, KEYS)),
)

_ENDED = ("complete", "error", "removed")

_OK = "OK"
"""What aria2 says to a result that it removed."""

_LET_GO_S = 10.0
"""aria2 lets go of a download within milliseconds, or when the disk has taken what it holds."""

_NAP_S = 0.02

_AT_ONCE = 64
"""Jobs in one request: aria2 reads it in one go, and one that is not the rule has some 24 kB."""

_IO_ERROR, _BAD_METALINK, _BAD_TORRENT, _BAD_OPTION = 17, 20, 25, 28
"""aria2's codes for what it does not notice itself."""


class Aria2Downloader:
    """See the port. `data` is the node's data folder, which exists; `aria2c` an engine to use before any that is found."""

    def __init__(
        self,
        data: Path,
        *,
        tuning: Tuning | None = None,
        aria2c: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.version = ""
        self.deaths = 0
        self._data = data.absolute()
        self._tuning = tuning or Tuning()
        self._told = aria2c
        self._program: Program | None = None
        self._totals = EngineTotals()
        self._limits: EngineLimits | None = None
        self._jobs: dict[str, Job] = {}
        self._whole: set[str] = set()
        self._perhaps: set[str] = set()
        """What this engine may have: all else need not be looked for."""
        self._ended: dict[str, Entry] = {}
        """Of what was listed last, what has ended and stands alone."""
        self._callbacks: list[Callable[[], None]] = []
        self._keeper = Keeper(self._begin, patience or Patience(), on_engine=self._take_over, on_loss=self._lose)

    @property
    def pid(self) -> int | None:
        """The process of the engine that runs now."""
        return self._keeper.pid

    async def start(self) -> None:
        """See the port."""
        if self._program is None:
            self._program = await locate(self._told)
        await self._keeper.start()

    async def stop(self) -> None:
        """See the port."""
        await self._keeper.stop()
        self._forget_everything()

    async def add_all(self, jobs: Sequence[Job]) -> list[AriaClusterError | None]:
        """See the port."""
        errors = await self.remove_all([job.gid for job in jobs])
        going = [job for job, error in zip(jobs, errors, strict=True) if error is None]
        for job in going:
            self._perhaps.add(job.gid)
            self._jobs[job.gid] = job  # before the call: it may be whole when the answer comes
        told: dict[str, AriaClusterError] = {}
        for at in range(0, len(going), _AT_ONCE):
            try:
                answers = await self._keeper.rpc.multicall(list(map(_addition, going[at : at + _AT_ONCE])))
            except Unavailable as error:
                told.update((job.gid, error) for job in going[at:])
                break
            for job, answer in zip(going[at:], answers, strict=False):
                if isinstance(answer, Refused):
                    self._jobs.pop(job.gid, None)
                    told[job.gid] = InvalidInput(f"aria2 refused the download: {answer.message}")
        return [error or told.get(job.gid) for job, error in zip(jobs, errors, strict=True)]

    async def remove_all(self, gids: Sequence[str]) -> list[AriaClusterError | None]:
        """See the port. What ended without offspring goes in one call; else what is listed says what is left to do."""
        left = {gid for gid in gids if gid in self._perhaps}
        fault: AriaClusterError | None = None
        try:
            left -= await self._removed_at_once([gid for gid in gids if gid in left and gid in self._ended])
            left = await self._remove_families(left) if left else left
        except Unavailable as error:
            fault = error
        for gid in gids:
            if gid not in left:
                self._ended.pop(gid, None)
                self._perhaps.discard(gid)
                self._jobs.pop(gid, None)
                self._whole.discard(gid)
        return [(fault or _held_on(gid)) if gid in left else None for gid in gids]

    async def _removed_at_once(self, gids: Sequence[str]) -> set[str]:
        """Which of these, of what has ended, are gone now."""
        if not gids:
            return set()
        answers = await self._keeper.rpc.multicall([_removal(self._ended[gid]) for gid in gids])
        return {gid for gid, answer in zip(gids, answers, strict=True) if answer == _OK}

    async def _remove_families(self, gids: set[str]) -> set[str]:
        """Those that aria2 does not let go of."""
        deadline = asyncio.get_running_loop().time() + _LET_GO_S
        left = gids
        while True:
            found = families(await self._listed(self._keeper.rpc))
            if not (left := {gid for gid in left if gid in found}) or asyncio.get_running_loop().time() > deadline:
                return left
            # What is refused has changed meanwhile, or a child was born: the next round sees it.
            await self._keeper.rpc.multicall([_removal(entry) for gid in left for entry in found[gid]])
            await asyncio.sleep(_NAP_S)

    async def poll(self) -> dict[str, Download]:
        """See the port."""
        *lists, stat = await self._keeper.rpc.multicall([*_LISTS, Call("aria2.getGlobalStat")])
        self._totals = EngineTotals(
            download_speed=int(_value(stat)["downloadSpeed"]), upload_speed=int(_value(stat)["uploadSpeed"])
        )
        found = families(entries(map(_value, lists)))
        self._perhaps.update(found)
        self._ended = {
            gid: entry
            for gid, (entry, *others) in found.items()
            if not others and not entry.followed_by and entry.gid == gid and entry.status in _ENDED
        }
        return await self._checked({root: fold(root, family) for root, family in found.items()})

    async def detail(self, gid: str) -> Detail | None:
        """See the port."""
        job = self._jobs.get(gid)
        return None if job is None else await detail_of(self._keeper.rpc, gid, job.folder)

    async def tune(self, limits: EngineLimits) -> None:
        """See the port."""
        self._limits = limits
        await _limit(self._keeper.rpc, limits)

    def totals(self) -> EngineTotals:
        """See the port."""
        return self._totals

    def on_change(self, callback: Callable[[], None]) -> None:
        """See the port."""
        self._callbacks.append(callback)

    async def _listed(self, rpc: Rpc) -> list[Entry]:
        return entries(map(_value, await rpc.multicall(_LISTS)))

    async def _checked(self, downloads: dict[str, Download]) -> dict[str, Download]:
        """aria2 calls a broken torrent or Metalink document `complete`: nothing followed, and nothing is on the disk."""
        ended = [d for d in downloads.values() if d.status == "complete" and d.gid not in self._whole]
        # Once only, at the first sight of the end: the files are moved away afterwards.
        if fresh := [job for download in ended if (job := self._jobs.get(download.gid))]:
            for job, fault in zip(fresh, await asyncio.to_thread(_faults, fresh), strict=True):
                if fault is None:
                    self._whole.add(job.gid)
                    continue
                code, message = fault
                downloads[job.gid] = msgspec.structs.replace(
                    downloads[job.gid], status="error", error_code=code, error_message=message
                )
        return downloads

    async def _begin(self) -> Engine:
        assert self._program is not None  # `start` found it
        engine = await Engine.start(self._program, self._data, self._tuning)
        try:
            while (limits := self._limits) is not None:
                await _limit(engine.rpc, limits)
                if limits is self._limits:  # else it was told others meanwhile
                    break
        except BaseException as error:
            await engine.end(gently=False)
            if isinstance(error, Unavailable):
                raise StartFailed(f"It came up, and then did not take its limits: {error.detail}") from None
            raise
        return engine

    def _take_over(self, engine: Engine) -> None:
        self.version = engine.version
        engine.rpc.on_event = lambda method, gid: self._notify()
        self._notify()

    def _lose(self) -> None:
        """It ended, closed the connection, or hung and was killed."""
        self.deaths += 1
        self._forget_everything()

    def _forget_everything(self) -> None:
        """An engine that ended took its downloads along."""
        self._totals = EngineTotals()
        self._jobs.clear()
        self._whole.clear()
        self._perhaps.clear()
        self._ended.clear()

    def _notify(self) -> None:
        for callback in self._callbacks:
            asyncio.get_running_loop().call_soon(callback)


async def _limit(rpc: Rpc, limits: EngineLimits) -> None:
    try:
        await rpc.call("aria2.changeGlobalOption", limiting(limits))
    except Refused as refused:
        raise Unavailable(f"aria2 refused its limits: {refused.message}") from None


def _removal(entry: Entry) -> Call:
    """What brings it nearer to being forgotten. By force: saying goodbye to trackers may take a minute."""
    if entry.status in ("active", "waiting", "paused"):
        return Call("aria2.forceRemove", (entry.gid,))
    return Call("aria2.removeDownloadResult", (entry.gid,))


def _addition(job: Job) -> Call:
    return Call("aria2.addUri", (list(job.urls), options_of(job)))


def _held_on(gid: str) -> Unavailable:
    return Unavailable(f"aria2 does not let go of {gid}: its disk may be slow. Try again soon.")


def _value(answer: Any) -> Any:
    if isinstance(answer, Refused):
        raise Unavailable(f"aria2 refused to list its downloads: {answer.message}")
    return answer


def _faults(jobs: Sequence[Job]) -> list[tuple[int, str] | None]:
    """`_fault` of each. Blocks."""
    return [_fault(job) for job in jobs]


def _fault(job: Job) -> tuple[int, str] | None:
    """Why a download that ended well is not, as a code of aria2's and a sentence. Blocks."""
    if not job.folder.is_dir():
        return _IO_ERROR, f"The folder {job.folder.name} of the download is gone."
    wanted = job.options.get(OPTION)
    # The control file of a torrent stays when there was nothing to select.
    if any(not (wanted and name.endswith(".aria2")) for _, _, names in os.walk(job.folder) for name in names):
        return None
    if wanted:
        return _BAD_OPTION, f"{OPTION} asks for {wanted}, and there is no file of such a number in it"
    torrent = any(urlsplit(url).path.endswith(".torrent") for url in job.urls)
    kind = "torrent" if torrent else "Metalink document"
    return _BAD_TORRENT if torrent else _BAD_METALINK, f"The {kind} names nothing that can be downloaded."
