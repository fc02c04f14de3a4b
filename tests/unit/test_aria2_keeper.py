"""How long a lost engine stays lost."""

import asyncio
from collections.abc import Callable

import pytest

from ariacluster.domain.errors import StartFailed, Unavailable
from ariacluster_node.adapters.aria2.keeper import Backoff, Keeper, Patience
from ariacluster_node.adapters.aria2.process import Engine
from tests.support.processes import until


def test_waits_twice_as_long_each_time_and_never_longer_than_the_longest() -> None:
    backoff = Backoff(Patience())
    assert [backoff.after(1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_steady_run_is_forgiven() -> None:
    backoff = Backoff(Patience())
    for _ in range(5):
        backoff.after(59)
    assert [backoff.after(61), backoff.after(1)] == [0.5, 1]


class FakeEngine(Engine):
    """Dies when it is told."""

    class Rpc:
        def __init__(self) -> None:
            self.closed = asyncio.Event()
            self.fault: Exception | None = None

        async def call(self, method: str, timeout: float) -> object:
            if self.fault:
                raise self.fault
            return {}

    class Process:
        def __init__(self) -> None:
            self.pid = 1
            self.returncode: int | None = None
            self.gone = asyncio.Event()

        async def wait(self) -> int:
            await self.gone.wait()
            self.returncode = -9
            return -9

    def __init__(self) -> None:
        self.fake_rpc, self.fake_process = FakeEngine.Rpc(), FakeEngine.Process()
        super().__init__(self.fake_process, self.fake_rpc, "1.37.0")  # type: ignore[arg-type]
        self.ended: list[bool] = []

    async def end(self, *, gently: bool = True) -> None:
        self.ended.append(gently)


class Bench:
    def __init__(self) -> None:
        self.engines: list[FakeEngine] = []
        self.failing = 0
        self.losses = 0
        patience = Patience(look=0.01, hang=0.01, first=0.001, longest=0.004)
        self.keeper = Keeper(self._begin, patience, on_engine=lambda engine: None, on_loss=self._lost)

    async def _begin(self) -> Engine:
        if self.failing:
            self.failing -= 1
            raise StartFailed("no")
        self.engines.append(FakeEngine())
        return self.engines[-1]

    def _lost(self) -> None:
        self.losses += 1


def dies(engine: FakeEngine) -> None:
    engine.fake_process.gone.set()


def hangs(engine: FakeEngine) -> None:
    engine.fake_rpc.fault = Unavailable("silent")


def hangs_up(engine: FakeEngine) -> None:
    engine.fake_rpc.closed.set()


@pytest.mark.parametrize("fault", [dies, hangs, hangs_up])
async def test_a_lost_engine_is_ended_for_sure_and_replaced(fault: Callable[[FakeEngine], None]) -> None:
    bench = Bench()
    await bench.keeper.start()
    fault(bench.engines[0])
    await until(lambda: len(bench.engines) == 2, "another engine")
    assert bench.engines[0].ended == [False]
    assert bench.losses == 1
    assert bench.keeper.rpc is bench.engines[1].rpc
    await bench.keeper.stop()
    assert bench.engines[1].ended == [True]


async def test_goes_on_trying_when_none_comes_up() -> None:
    bench = Bench()
    await bench.keeper.start()
    bench.failing = 5
    dies(bench.engines[0])
    await until(lambda: len(bench.engines) == 2, "another engine")
    assert bench.failing == 0
    await bench.keeper.stop()


async def test_the_first_start_may_fail() -> None:
    bench = Bench()
    bench.failing = 1
    with pytest.raises(StartFailed):
        await bench.keeper.start()
    with pytest.raises(Unavailable):
        _ = bench.keeper.rpc
    await bench.keeper.stop()


async def test_stopping_while_none_runs() -> None:
    bench = Bench()
    await bench.keeper.start()
    bench.failing = 1_000_000
    dies(bench.engines[0])
    await until(lambda: bench.losses == 1, "the loss is seen")
    await bench.keeper.stop()
    assert len(bench.engines) == 1
    with pytest.raises(Unavailable):
        _ = bench.keeper.rpc


async def test_starting_twice_is_starting_once() -> None:
    bench = Bench()
    await bench.keeper.start()
    await bench.keeper.start()
    assert len(bench.engines) == 1
    await bench.keeper.stop()
