"""The `Downloader` port, filled by an aria2c of this node's own."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ariacluster.domain.errors import InvalidInput, StartFailed, Unavailable
from ariacluster.domain.reconcile import Download
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

_IO_ERROR, _BAD_METALINK, _BAD_TORRENT = 17, 20, 25
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

    async def add(self, job: Job) -> None:
        """See the port."""
        await self.remove(job.gid)
        self._perhaps.add(job.gid)
        self._jobs[job.gid] = job  # before the call: it may be whole when the answer comes
        try:
            await self._keeper.rpc.call("aria2.addUri", list(job.urls), options_of(job))
        except Refused as refused:
            self._jobs.pop(job.gid, None)
            raise InvalidInput(f"aria2 refused the download: {refused.message}") from None

    async def remove(self, gid: str) -> None:
        """See the port. What ended without offspring goes in one call; else what is listed says what is left to do."""
        if gid not in self._perhaps:
            return
        if not await self._removed_at_once(self._ended.get(gid)):
            await self._remove_family(gid)
        self._ended.pop(gid, None)
        self._perhaps.discard(gid)
        self._jobs.pop(gid, None)
        self._whole.discard(gid)

    async def _removed_at_once(self, entry: Entry | None) -> bool:
        return entry is not None and _OK in await self._keeper.rpc.multicall([_removal(entry)])

    async def _remove_family(self, gid: str) -> None:
        deadline = asyncio.get_running_loop().time() + _LET_GO_S
        while family := families(await self._listed(self._keeper.rpc)).get(gid):
            # What is refused has changed meanwhile, or a child was born: the next round sees it.
            await self._keeper.rpc.multicall([_removal(entry) for entry in family])
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"aria2 does not let go of {gid}: its disk may be slow. Try again soon.")
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
        return {root: await self._checked(fold(root, family)) for root, family in found.items()}

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

    async def _checked(self, download: Download) -> Download:
        """aria2 calls a broken torrent or Metalink document `complete`: nothing followed, and nothing is on the disk."""
        job = self._jobs.get(download.gid)
        if download.status != "complete" or job is None or download.gid in self._whole:
            return download
        # Once only, at the first sight of the end: the files are moved away afterwards.
        fault = await asyncio.to_thread(_fault, job)
        if fault is None:
            self._whole.add(download.gid)
            return download
        code, message = fault
        return msgspec.structs.replace(download, status="error", error_code=code, error_message=message)

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


def _value(answer: Any) -> Any:
    if isinstance(answer, Refused):
        raise Unavailable(f"aria2 refused to list its downloads: {answer.message}")
    return answer


def _fault(job: Job) -> tuple[int, str] | None:
    """Why a download that ended well is not, as a code of aria2's and a sentence. Blocks."""
    if not job.folder.is_dir():
        return _IO_ERROR, f"The folder {job.folder.name} of the download is gone."
    if any(names for _, _, names in os.walk(job.folder)):
        return None
    torrent = any(urlsplit(url).path.endswith(".torrent") for url in job.urls)
    kind = "torrent" if torrent else "Metalink document"
    return _BAD_TORRENT if torrent else _BAD_METALINK, f"The {kind} names nothing that can be downloaded."
