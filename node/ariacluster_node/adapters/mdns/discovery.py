"""`Discovery` by multicast DNS.

An entry is announced without probing first (RFC 6762 section 8.1): its name is a random 64-bit id, and a second saved
is a second earlier that two fresh nodes see each other. Should a copied data folder bear the same id, both are told
(`twins`). Presence follows the SRV record, which lives a minute, and not the PTR record, which zeroconf keeps for at
least 19: a node that was killed is asked after, and forgotten. An entry is changed in place and never taken back while
the node lives: whoever hears a goodbye takes it for dead.
"""

import asyncio
from collections.abc import Awaitable, Coroutine

import structlog
from zeroconf import BadTypeInNameException, DNSQuestionType, Error, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.formation import Heard

from . import interfaces
from .announcement import SERVICE, entry_name, from_txt, host, to_txt
from .questions import everybody, namesakes
from .sleep import Sleep
from .twins import ASK_PERIOD, Twins

log = structlog.get_logger()

TEND_PERIOD = 3.0
"""Seconds between two looks at the interfaces and at who has gone silent: reading, and only of what is here."""

_HOST_TTL = 60
"""Seconds that SRV and address records live: with a look every `TEND_PERIOD`, a killed node is gone within 70."""

_SAY_AGAIN_AFTER = 1.5
"""Seconds."""

_ASK_TIMEOUT_MS = 3000
_ASK_AGAIN = 60.0
"""Seconds until a node that did not answer is asked after once more. What it announces is heard in any case."""

_MAX_ENTRIES = 1000
"""A LAN has no more nodes; a flood of entries has."""

_MAX_ASKING = 32
"""Questions at the same time; who is not asked after now is at the next look."""


class ZeroconfDiscovery:
    """Fills `Discovery`. `bind` is the address that the API listens on; `::` speaks on all interfaces, `0.0.0.0` on all
    that have IPv4."""

    def __init__(self, bind: str) -> None:
        self._bind = bind
        self._mine: Heard | None = None
        self._here: list[interfaces.Interface] = []
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._info: AsyncServiceInfo | None = None
        self._entries: dict[str, float] = {}  # each with the time (of the loop) before which it is not asked after
        self._heard: dict[str, Heard] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._saying: asyncio.Task[None] | None = None
        self._asking: set[str] = set()
        self._tending: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._complaint = ""
        self._twins = Twins()

    async def start(self, mine: Heard) -> None:
        self._mine = mine
        await self._look_after()
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="mdns")

    async def listen(self) -> None:
        """Hear the others and say nothing: for who looks for a node and is none."""
        await self._look_after()

    async def update(self, mine: Heard) -> None:
        self._mine = mine
        async with self._changing:
            await self._announce()

    def heard(self) -> list[Heard]:
        return sorted(self._heard.values(), key=lambda heard: heard.node_id)

    def ask(self) -> None:
        if self._zeroconf is None or not self._here:
            return
        self._zeroconf.zeroconf.async_send(everybody())
        for entry in self._entries.keys() - self._heard.keys():
            self._entries[entry] = 0.0
            self._resolve(entry)

    @property
    def twins(self) -> tuple[str, ...]:
        """`host:port` of the API of every other node that announces this node's id now; empty if none does."""
        return self._twins.doors(asyncio.get_running_loop().time())

    async def stop(self) -> None:
        if self._tending:
            self._tending.cancel()
            await asyncio.wait({self._tending})
            self._tending = None
        async with self._changing:
            await self._close()

    async def _tend(self) -> None:
        loop, sleep, asked = asyncio.get_running_loop(), Sleep(), 0.0
        while True:
            await asyncio.sleep(TEND_PERIOD)
            slept = sleep.seconds(TEND_PERIOD)
            if slept:
                log.info("this machine slept; asking who is there", seconds=round(slept))
            await self._look_after(anew=slept > 0)
            if self._zeroconf and self._mine and (slept or loop.time() >= asked + ASK_PERIOD):
                asked = loop.time()
                self._zeroconf.zeroconf.async_send(namesakes(self._mine.node_id))

    async def _look_after(self, *, anew: bool = False) -> None:
        """Open what is not open (the network may come up after us), follow the interfaces, ask after the silent; `anew`:
        after everybody."""
        async with self._changing:
            try:
                here = interfaces.usable(self._bind, await asyncio.to_thread(interfaces.present))
                if anew and self._zeroconf:
                    self._doubt(self._zeroconf.zeroconf)
                if self._zeroconf is None:
                    await self._open(here)
                elif here != self._here or anew:
                    await self._follow(self._zeroconf, here)
            except (OSError, RuntimeError, ValueError, Error) as error:
                reason = str(error) or type(error).__name__
                if reason != self._complaint:  # once for each reason, not every few seconds
                    self._complaint = reason
                    log.warning("multicast does not work here; no node is heard", reason=reason, hint="use --join")
        for entry in list(self._entries):
            self._resolve(entry)

    async def _open(self, here: list[interfaces.Interface]) -> None:
        self._require_any(here)
        self._zeroconf = AsyncZeroconf(interfaces=interfaces.voices(here))
        try:
            await self._zeroconf.zeroconf.async_wait_for_start()
            if not self._zeroconf.zeroconf.engine.senders:
                raise OSError("no interface takes multicast")
            await self._browse(self._zeroconf)
        except (OSError, RuntimeError, Error):
            await self._close()
            raise
        self._here = here
        await self._announce()
        self._complaint = ""
        log.info("listening for other nodes", addresses=[str(i.ip) for i in here])

    async def _follow(self, zeroconf: AsyncZeroconf, here: list[interfaces.Interface]) -> None:
        """Speak and listen on what is here now, under the same entry. Who is on a new link is asked, not waited for."""
        before, self._here = self._here, here
        try:
            await self._announce()  # first, for zeroconf says what is registered as soon as it gets a new voice
            await zeroconf.async_update_interfaces(interfaces.voices(here))
            self._require_any(here)
            self._keep(self._say_again())
            await self._browse(zeroconf)
            for entry in self._entries:
                self._entries[entry] = 0.0
        except (OSError, RuntimeError, ValueError, Error):
            self._here = before if here else here  # to be tried again
            raise
        self._complaint = ""
        if here != before:
            log.info("listening for other nodes", addresses=[str(i.ip) for i in here])

    async def _say_again(self) -> None:
        """What others have heard less than a second before an announcement, our former address too, they do not drop for
        it (RFC 6762 section 10.2)."""
        await asyncio.sleep(_SAY_AGAIN_AFTER)
        async with self._changing:
            await self._announce()

    def _require_any(self, here: list[interfaces.Interface]) -> None:
        if not here:
            raise OSError(f"no interface that is up takes multicast on {self._bind}")

    async def _browse(self, zeroconf: AsyncZeroconf) -> None:
        """Ask at once who is there, and listen from then on."""
        if self._browser:
            await self._browser.async_cancel()
        # QM, for the answer to a QU question is unicast to port 5353: of several programs that share it on one machine
        # (other nodes, avahi), the system gives it to one, and mostly not to the one that asked.
        self._browser = AsyncServiceBrowser(
            zeroconf.zeroconf, SERVICE, handlers=[self._on_change], question_type=DNSQuestionType.QM
        )

    def _doubt(self, zeroconf: Zeroconf) -> None:
        """What was heard may be long untrue: forget its records, so that it is asked for. Who does not answer is gone."""
        for entry in self._entries:
            self._entries[entry] = 0.0
            info = _info(entry)
            if info is None:
                continue
            info.load_from_cache(zeroconf)
            for name in (entry, info.server):
                zeroconf.cache.async_remove_records(zeroconf.cache.async_entries_with_name(name) if name else [])

    async def _announce(self) -> None:
        """Publish the entry, or what changed about it."""
        if self._zeroconf is None or self._mine is None or not self._here:
            return
        addresses = list(dict.fromkeys(str(i.ip) for i in self._here))
        try:
            info = AsyncServiceInfo(
                SERVICE,
                entry_name(self._mine.node_id),
                port=self._mine.port,
                properties=to_txt(self._mine),
                server=host(self._mine.node_id),
                parsed_addresses=addresses,
                host_ttl=_HOST_TTL,
                other_ttl=_HOST_TTL,
            )
            self._twins.say(self._mine.port, addresses)
            if self._info is None:
                said: Awaitable[object] = await self._zeroconf.async_register_service(info, cooperating_responders=True)
            else:
                said = await self._zeroconf.async_update_service(info)
            self._info = info
            if self._saying:  # zeroconf says everything three times: what it was saying is not true any more
                self._saying.cancel()
            self._saying = self._keep(_through(said))
        except (OSError, Error, InvalidInput, ValueError) as error:
            log.warning("this node is not announced", reason=str(error) or type(error).__name__)

    async def _close(self) -> None:
        """Say goodbye and let go of everything; safe to repeat."""
        zeroconf, self._zeroconf = self._zeroconf, None
        browser, self._browser = self._browser, None
        self._info = None
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._entries.clear()
        self._heard.clear()
        if zeroconf is None:
            return
        try:
            if browser:
                await browser.async_cancel()
            await zeroconf.async_close()
        except (OSError, Error) as error:
            log.debug("mdns did not close cleanly", reason=str(error))

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._entries.pop(name, None)
            if self._is_mine(name) and self._mine:  # a twin's goodbye; whoever heard it thinks that we are gone
                self._keep(self.update(self._mine))
            self._forget(name)
            return
        if name not in self._entries and len(self._entries) >= _MAX_ENTRIES:
            log.debug("too many entries", ignored=name)
            silent = next((entry for entry in self._entries if entry not in self._heard), None)
            if silent is None:
                return
            del self._entries[silent]
        self._entries.setdefault(name, 0.0)
        self._resolve(name)

    def _resolve(self, entry: str) -> None:
        """Read an entry from what zeroconf has heard, or ask for it."""
        if self._zeroconf is None:
            return
        info = _info(entry)
        if info is None:
            log.debug("entry ignored", entry=entry)
        elif info.load_from_cache(self._zeroconf.zeroconf):
            self._take(info)
        elif (
            entry not in self._asking
            and len(self._asking) < _MAX_ASKING
            and self._entries.get(entry, 0.0) <= asyncio.get_running_loop().time()
        ):
            self._asking.add(entry)
            self._keep(self._ask(self._zeroconf.zeroconf, info))

    async def _ask(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        try:
            if await info.async_request(zeroconf, _ASK_TIMEOUT_MS, DNSQuestionType.QM):
                self._take(info)
            else:
                self._entries[info.name] = asyncio.get_running_loop().time() + _ASK_AGAIN
                self._forget(info.name)
        except (OSError, Error) as error:
            log.debug("entry not resolved", entry=info.name, reason=str(error))
        finally:
            self._asking.discard(info.name)

    def _is_mine(self, entry: str) -> bool:
        return self._mine is not None and entry.lower() == entry_name(self._mine.node_id)

    def _take(self, info: AsyncServiceInfo) -> None:
        addresses = info.parsed_scoped_addresses()
        if self._mine and self._is_mine(info.name):
            now = asyncio.get_running_loop().time()
            self._twins.hear(self._mine.node_id, info.port or 0, addresses, self._here, now)
            return
        address = interfaces.reachable(addresses, self._here)
        heard = from_txt(info.name, info.properties, info.port, address) if address else None
        if heard is None:
            log.debug("entry ignored", entry=info.name)
            self._forget(info.name)
            return
        if info.name not in self._heard:
            log.info("node heard", node=heard.node_name, node_id=heard.node_id, address=f"{heard.address}:{heard.port}")
        self._heard[info.name] = heard

    def _forget(self, entry: str) -> None:
        if gone := self._heard.pop(entry, None):
            log.info("node no longer heard", node=gone.node_name, node_id=gone.node_id)

    def _keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _info(entry: str) -> AsyncServiceInfo | None:
    """None if that is no name of an entry."""
    try:
        return AsyncServiceInfo(SERVICE, entry)
    except BadTypeInNameException:
        return None


async def _through(said: Awaitable[object]) -> None:
    try:
        await said
    except (OSError, Error) as error:
        log.debug("announcement not sent", reason=str(error))
