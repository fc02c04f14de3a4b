"""Keep an engine running: watch it, and start another when it dies or hangs."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from ariacluster.domain.errors import StartFailed, Unavailable

from .process import Engine
from .rpc import DOWN, Refused, Rpc

log = structlog.get_logger()


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds: between looks, until silence is a hang, before the first restart and at most, and of a steady run."""

    look: float = 2.0
    hang: float = 10.0
    first: float = 0.5
    longest: float = 30.0
    steady: float = 60.0


class Backoff:
    """How long to wait before the next start: doubling, until one has run steadily."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._next = patience.first

    def after(self, uptime: float) -> float:
        """Seconds to wait after a run of `uptime` seconds; a start that failed is a run of 0."""
        if uptime >= self._patience.steady:
            self._next = self._patience.first
        delay = self._next
        self._next = min(self._patience.longest, delay * 2)
        return delay


class Keeper:
    """Owns the engine. `begin` makes a new one; `on_engine` is called with each one that runs, `on_loss` when it ended."""

    def __init__(
        self,
        begin: Callable[[], Awaitable[Engine]],
        patience: Patience,
        *,
        on_engine: Callable[[Engine], None],
        on_loss: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._patience = patience
        self._on_engine = on_engine
        self._on_loss = on_loss
        self._engine: Engine | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def rpc(self) -> Rpc:
        """The connection to the engine that runs; `Unavailable` while none does."""
        if self._engine is None or self._engine.rpc.closed.is_set():
            raise Unavailable(DOWN)
        return self._engine.rpc

    @property
    def pid(self) -> int | None:
        """Of the engine that runs."""
        return self._engine.process.pid if self._engine else None

    async def start(self) -> None:
        """Start the first engine. `StartFailed` if it does not come up; later ones are tried for ever."""
        if self._keeping is not None:
            return
        engine = await self._begin()
        self._welcome(engine)
        self._keeping = asyncio.create_task(self._keep(engine))

    async def stop(self) -> None:
        """End the engine and watch no more. Idempotent."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.end()

    async def _keep(self, engine: Engine) -> None:
        clock = asyncio.get_running_loop().time
        backoff = Backoff(self._patience)
        while True:
            since = clock()
            reason = await self._watch(engine)
            await engine.end(gently=False)
            self._engine = None
            self._on_loss()
            delay = backoff.after(clock() - since)
            log.warning("engine lost", reason=reason, code=engine.process.returncode, restart_in=delay)
            engine = await self._begin_again(backoff, delay)
            self._welcome(engine)

    async def _begin_again(self, backoff: Backoff, delay: float) -> Engine:
        while True:
            await asyncio.sleep(delay)
            try:
                return await self._begin()
            except StartFailed as error:
                delay = backoff.after(0)
                log.error("engine does not start", reason=error.detail, next_try_in=delay)

    def _welcome(self, engine: Engine) -> None:
        self._engine = engine
        self._on_engine(engine)

    async def _watch(self, engine: Engine) -> str:
        """Return why it is of no more use, once it is."""
        exited = asyncio.create_task(engine.process.wait())
        closed = asyncio.create_task(engine.rpc.closed.wait())
        try:
            while True:
                await asyncio.wait({exited, closed}, timeout=self._patience.look, return_when=asyncio.FIRST_COMPLETED)
                if exited.done():
                    return "it ended"
                if closed.done():
                    return "it closed the connection"
                try:
                    await engine.rpc.call("aria2.getVersion", timeout=self._patience.hang)
                except Refused as error:
                    return f"it refused a plain question: {error.message}"
                except Unavailable as error:
                    return error.detail
        finally:
            exited.cancel()
            closed.cancel()
            await asyncio.gather(exited, closed, return_exceptions=True)
