"""What every engine keeps to: the fake and the real ones run the same bodies."""

import asyncio
import hashlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.reconcile import Download
from ariacluster_node.adapters.aria2.downloader import Aria2Downloader
from ariacluster_node.adapters.aria2.flags import Tuning
from ariacluster_node.adapters.aria2.keeper import Patience
from ariacluster_node.adapters.aria2.locate import locate
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.ports import Downloader, EngineLimits, Job
from tests.support.fake_downloader import FakeDownloader
from tests.support.origin import Origin, serving
from tests.support.processes import until
from tests.support.singly import add, remove

A, B, C = "00000000000000aa", "00000000000000bb", "00000000000000cc"
SIZE = 300_000

ENGINES = {"installed": "/usr/bin:/usr/local/bin", "packaged": ""}
"""The real ones by the PATH that leads to them."""


class Bench(Protocol):
    """A started engine with two slots, jobs for it, and its death."""

    @property
    def downloader(self) -> Downloader: ...

    def quick(self, gid: str) -> Job:
        """SIZE bytes that come at once."""

    def endless(self, gid: str) -> Job:
        """A download that is active for longer than any test."""

    def missing(self, gid: str) -> Job:
        """What the server answers with 404."""

    def refused(self, gid: str) -> Job:
        """What aria2 does not take."""

    def die(self) -> None:
        """kill -9 of the engine."""

    def recover(self) -> None:
        """The fake comes back when it is told; the real one does so by itself."""


class FakeBench:
    def __init__(self) -> None:
        self.downloader = FakeDownloader(slots=2)
        self.downloader.on_add = self._act

    def quick(self, gid: str) -> Job:
        return _job(gid, "http://origin/quick")

    def endless(self, gid: str) -> Job:
        return _job(gid, "http://origin/endless")

    def missing(self, gid: str) -> Job:
        return _job(gid, "http://origin/missing")

    def refused(self, gid: str) -> Job:
        self.downloader.refusal = "No URI to download."
        return _job(gid, "http://origin/refused")

    def die(self) -> None:
        self.downloader.crash()

    def recover(self) -> None:
        self.downloader.restart()

    def _act(self, job: Job) -> None:
        match job.urls[0].rpartition("/")[2]:
            case "quick":
                self.downloader.complete(job.gid, SIZE)
            case "missing":
                self.downloader.fail(job.gid, 3, "Resource not found")


class RealBench:
    def __init__(self, downloader: Aria2Downloader, origin: Origin, staging: Path) -> None:
        self.downloader = downloader
        self._origin = origin
        self._staging = staging

    def quick(self, gid: str) -> Job:
        return self._job(gid, self._origin.url(f"/bytes/{SIZE}/{gid}"))

    def endless(self, gid: str) -> Job:
        return self._job(gid, self._origin.url(f"/bytes/100000000/{gid}", rate=50_000))

    def missing(self, gid: str) -> Job:
        return self._job(gid, self._origin.url("/nothing"))

    def refused(self, gid: str) -> Job:
        return self._job(gid, "magnet:?xt=urn:btih:zz")

    def die(self) -> None:
        assert self.downloader.pid
        os.kill(self.downloader.pid, signal.SIGKILL)

    def recover(self) -> None:
        pass

    def _job(self, gid: str, url: str) -> Job:
        folder = self._staging / gid
        folder.mkdir(exist_ok=True)
        return _job(gid, url, folder)


def _job(gid: str, url: str, folder: Path = Path("/staging")) -> Job:
    return Job(gid=gid, urls=(url,), folder=folder)


@asynccontextmanager
async def _real(engine: str, tmp_path: Path) -> AsyncIterator[RealBench]:
    data, staging = tmp_path / "data", tmp_path / "staging"
    data.mkdir()
    staging.mkdir()
    downloader = Aria2Downloader(
        data,
        tuning=Tuning(slots=2, dht=False, lpd=False),
        aria2c=(await locate(environ={"PATH": ENGINES[engine]})).path,
        patience=Patience(look=0.2, hang=2.0, first=0.1),
    )
    async with serving() as origin:
        await downloader.start()
        try:
            yield RealBench(downloader, origin, staging)
        finally:
            await downloader.stop()


@pytest.fixture(params=["fake", *(pytest.param(name, marks=pytest.mark.integration) for name in ENGINES)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "fake":
        fake = FakeBench()
        await fake.downloader.start()
        yield fake
        await fake.downloader.stop()
    else:
        async with _real(request.param, tmp_path) as real:
            yield real


async def seen(downloader: Downloader, gid: str, good: Callable[[Download], bool], what: str) -> Download:
    """The download, once it is `good`."""

    async def look() -> Download | None:
        download = (await downloader.poll()).get(gid)
        return download if download is not None and good(download) else None

    found = await until(look, f"{gid} is {what}")
    assert found is not None
    return found


async def in_status(downloader: Downloader, gid: str, status: str) -> Download:
    return await seen(downloader, gid, lambda download: download.status == status, status)


async def test_knows_its_version(bench: Bench) -> None:
    assert [part.isdigit() for part in bench.downloader.version.split(".")] == [True] * 3


async def test_a_download_ends_whole(bench: Bench) -> None:
    await add(bench.downloader, bench.quick(A))
    done = await in_status(bench.downloader, A, "complete")
    assert (done.total, done.completed, done.error_code) == (SIZE, SIZE, 0)


async def test_a_download_is_active_until_it_is_removed(bench: Bench) -> None:
    await add(bench.downloader, bench.endless(A))
    await in_status(bench.downloader, A, "active")
    await remove(bench.downloader, A)
    assert A not in await bench.downloader.poll()


async def test_more_than_the_slots_wait(bench: Bench) -> None:
    for gid in (A, B, C):
        await add(bench.downloader, bench.endless(gid))
    await in_status(bench.downloader, B, "active")
    assert (await bench.downloader.poll())[C].status == "waiting"
    await remove(bench.downloader, A)
    await in_status(bench.downloader, C, "active")
    await remove(bench.downloader, C)
    assert set(await bench.downloader.poll()) == {B}


async def test_a_waiting_download_can_be_removed(bench: Bench) -> None:
    for gid in (A, B, C):
        await add(bench.downloader, bench.endless(gid))
    await remove(bench.downloader, C)
    assert set(await bench.downloader.poll()) == {A, B}


async def test_removing_an_unknown_one_does_nothing(bench: Bench) -> None:
    await add(bench.downloader, bench.endless(A))
    await remove(bench.downloader, B)
    assert set(await bench.downloader.poll()) == {A}


async def test_a_missing_file_is_told_with_code_and_text(bench: Bench) -> None:
    await add(bench.downloader, bench.missing(A))
    failed = await in_status(bench.downloader, A, "error")
    assert (failed.error_code, failed.error_message) == (3, "Resource not found")


async def test_a_gid_can_be_used_again(bench: Bench) -> None:
    await add(bench.downloader, bench.missing(A))
    await in_status(bench.downloader, A, "error")
    await add(bench.downloader, bench.quick(A))
    again = await in_status(bench.downloader, A, "complete")
    assert (again.error_code, again.error_message) == (0, "")
    await add(bench.downloader, bench.endless(A))
    await in_status(bench.downloader, A, "active")
    await add(bench.downloader, bench.endless(A))
    assert set(await bench.downloader.poll()) == {A}


async def test_a_job_that_aria2_refuses(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="No URI to download"):
        await add(bench.downloader, bench.refused(A))
    assert await bench.downloader.poll() == {}


async def test_calls_back_when_a_download_begins_and_ends(bench: Bench) -> None:
    calls: list[None] = []
    bench.downloader.on_change(lambda: calls.append(None))
    await add(bench.downloader, bench.endless(A))
    await until(lambda: calls, "told that it began")
    calls.clear()
    await add(bench.downloader, bench.quick(B))
    await until(lambda: len(calls) >= 2, "told that it began and ended")
    calls.clear()
    await add(bench.downloader, bench.missing(C))
    await until(lambda: len(calls) >= 2, "told that it began and failed")


async def test_after_its_death_it_comes_back_empty(bench: Bench) -> None:
    await add(bench.downloader, bench.endless(A))
    calls: list[None] = []

    async def unavailable() -> bool:
        try:
            await bench.downloader.poll()
        except Unavailable:
            return True
        return False

    async def available() -> bool:
        return not await unavailable()

    await in_status(bench.downloader, A, "active")
    bench.die()
    await until(unavailable, "the engine is down")
    with pytest.raises(Unavailable):
        await add(bench.downloader, bench.quick(B))
    with pytest.raises(Unavailable):
        await remove(bench.downloader, A)
    bench.downloader.on_change(lambda: calls.append(None))
    bench.recover()
    await until(available, "the engine is up again")
    await until(lambda: calls, "told that it was restarted")
    assert await bench.downloader.poll() == {}
    await add(bench.downloader, bench.quick(A))
    await in_status(bench.downloader, A, "complete")


async def test_the_sum_of_speeds_is_as_of_the_last_poll(bench: Bench) -> None:
    assert bench.downloader.totals().download_speed == 0
    await add(bench.downloader, bench.endless(A))
    if isinstance(bench, FakeBench):
        bench.downloader.progress(A, 1000, 100_000_000, speed=50_000)

    async def some() -> bool:
        await bench.downloader.poll()
        return bench.downloader.totals().download_speed > 0

    await until(some, "bytes flow")
    await remove(bench.downloader, A)
    assert bench.downloader.totals().download_speed > 0


async def test_stopping_twice_and_calling_then(bench: Bench) -> None:
    await bench.downloader.stop()
    await bench.downloader.stop()
    with pytest.raises(Unavailable):
        await bench.downloader.poll()


async def came_back(bench: Bench) -> None:
    """It dies, and is there again."""
    deaths = bench.downloader.deaths

    async def available() -> bool:
        try:
            await bench.downloader.poll()
        except Unavailable:
            return False
        return bench.downloader.deaths > deaths

    bench.die()
    bench.recover()
    await until(available, "the engine is up again")


async def test_its_deaths_are_counted(bench: Bench) -> None:
    assert bench.downloader.deaths == 0
    await came_back(bench)
    assert bench.downloader.deaths == 1
    await came_back(bench)
    assert bench.downloader.deaths == 2


async def test_to_be_stopped_is_no_death(bench: Bench) -> None:
    await bench.downloader.stop()
    assert bench.downloader.deaths == 0


async def active(bench: Bench) -> set[str]:
    return {gid for gid, download in (await bench.downloader.poll()).items() if download.status == "active"}


async def test_slots_change_while_it_runs(bench: Bench) -> None:
    for gid in (A, B, C):
        await add(bench.downloader, bench.endless(gid))

    async def as_many(slots: int) -> bool:
        return len(await active(bench)) == slots

    await until(lambda: as_many(2), "two are active")
    await bench.downloader.tune(EngineLimits(slots=3))
    await until(lambda: as_many(3), "three are active")
    await bench.downloader.tune(EngineLimits(slots=1))
    assert len(await active(bench)) == 3, "what runs goes on"
    await remove(bench.downloader, A)
    await remove(bench.downloader, B)
    await add(bench.downloader, bench.endless(A))
    assert await active(bench) == {C}


async def test_limits_outlive_the_engine(bench: Bench) -> None:
    await bench.downloader.tune(EngineLimits(slots=1))
    await came_back(bench)
    await add(bench.downloader, bench.endless(A))
    await add(bench.downloader, bench.endless(B))
    await in_status(bench.downloader, A, "active")
    assert await active(bench) == {A}


async def test_limits_are_kept_while_it_is_down(bench: Bench) -> None:
    async def refused() -> bool:
        try:
            await bench.downloader.tune(EngineLimits(slots=1))
        except Unavailable:
            return True
        return False

    bench.die()
    await until(refused, "it is down")
    bench.recover()

    async def available() -> bool:
        with suppress(Unavailable):
            await add(bench.downloader, bench.endless(A))
            return True
        return False

    await until(available, "it is up again")
    await add(bench.downloader, bench.endless(B))
    await in_status(bench.downloader, A, "active")
    assert await active(bench) == {A}


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("killed", [False, True])
async def test_a_half_done_download_goes_on_elsewhere(engine: str, tmp_path: Path, killed: bool) -> None:
    """Removed here while it runs, carried over, and resumed there: the origin sends what was missing, and little more. Where
    the engine was killed, what it had not noted yet is sent again, which is what comes in a second or two."""
    size = 24 << 20
    here, there = DownloadFolders(tmp_path / "here"), DownloadFolders(tmp_path / "there")
    async with _real(engine, tmp_path) as real, serving() as origin:
        path = f"/bytes/{size}/big.bin"
        url = origin.url(path, rate=1 << 20)
        await add(real.downloader, Job(gid=A, urls=(url,), folder=await here.open(A, fresh=True), out="mine.bin"))
        half = await seen(real.downloader, A, lambda download: download.completed > size // 3, "a third there")
        if killed:
            await came_back(real)
        else:
            await remove(real.downloader, A)
        partial = await here.partial(A)
        assert partial
        assert killed or half.completed <= partial.length
        await there.receive(A, partial)
        for file in partial.files:
            for start, length in file.segments:
                for at in range(start, start + length, 1 << 20):
                    part = await here.read(A, file, at, min(1 << 20, start + length - at))
                    await there.write(A, file, at, part)
        await there.received(A, partial)
        folder = await there.open(A, fresh=False)
        origin.throttle(path, None)
        origin.served.clear()
        await add(real.downloader, Job(gid=A, urls=(url,), folder=folder, out="mine.bin"))
        await in_status(real.downloader, A, "complete")
        kept = 0 if killed else half.completed
        assert origin.served[path] <= size - kept + (2 << 20)
        assert hashlib.sha256((folder / "mine.bin").read_bytes()).hexdigest() == origin.sha256(path)
        assert os.listdir(folder) == ["mine.bin"]


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("connections", [1, 3])
async def test_no_more_connections_than_allowed(engine: str, tmp_path: Path, connections: int) -> None:
    async with _real(engine, tmp_path) as real:
        job = msgspec.structs.replace(
            real.endless(A), connections=connections, options={"max-connection-per-server": "5"}
        )
        await add(real.downloader, job)
        most = 0

        def busy(download: Download) -> bool:
            nonlocal most
            most = max(most, download.connections)
            return most >= connections and download.completed > 100_000

        await seen(real.downloader, A, busy, "well under way")
        assert most == connections


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
async def test_mirrors_have_their_connections_each(engine: str, tmp_path: Path) -> None:
    """A request lasts longer than the test: so many requests, so many connections."""
    path = "/bytes/100000000/x"
    async with _real(engine, tmp_path) as real, serving() as origin:
        url = origin.url(path, rate=50_000)
        folder = tmp_path / "staging" / A
        folder.mkdir()
        urls = (url, url.replace("127.0.0.1", "localhost"))
        await add(real.downloader, Job(gid=A, urls=urls, folder=folder, connections=2))
        await seen(real.downloader, A, lambda download: download.completed > 400_000, "well under way")
        hosts = Counter(headers["Host"].partition(":")[0] for headers in origin.seen[path])
        assert hosts == {"127.0.0.1": 2, "localhost": 2}


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
async def test_the_sum_of_all_downloads_is_limited(engine: str, tmp_path: Path) -> None:
    """At most so many bytes a second, after a restart too: what is seen of the speed is a mean of the last seconds."""
    limit = 200_000
    async with _real(engine, tmp_path) as real, serving() as origin:
        path = f"/bytes/{SIZE}/x"
        for gid, restart in ((A, False), (B, True)):
            await real.downloader.tune(EngineLimits(slots=2, download_limit=limit))
            if restart:
                await came_back(real)
            folder = tmp_path / gid
            folder.mkdir()
            since = asyncio.get_running_loop().time()
            await add(real.downloader, Job(gid=gid, urls=(origin.url(path),), folder=folder))
            await in_status(real.downloader, gid, "complete")
            assert asyncio.get_running_loop().time() - since > 0.5 * SIZE / limit


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
async def test_what_was_removed_is_resumed_not_fetched_again(engine: str, tmp_path: Path) -> None:
    size = 24 << 20
    async with _real(engine, tmp_path) as real, serving() as origin:
        path = f"/bytes/{size}/big.bin"
        folder = tmp_path / "staging" / A
        folder.mkdir()
        job = Job(gid=A, urls=(origin.url(path, rate=1 << 20),), folder=folder, out="mine.bin")
        await add(real.downloader, job)
        half = await seen(real.downloader, A, lambda download: download.completed > size // 3, "a third there")
        await remove(real.downloader, A)
        assert (folder / "mine.bin.aria2").exists()
        origin.throttle(path, None)
        origin.served.clear()
        await add(real.downloader, job)
        await in_status(real.downloader, A, "complete")
        assert origin.served[path] <= size - half.completed + (2 << 20)
        assert hashlib.sha256((folder / "mine.bin").read_bytes()).hexdigest() == origin.sha256(path)
        assert os.listdir(folder) == ["mine.bin"]


@pytest.mark.integration
@pytest.mark.parametrize("engine", ENGINES)
async def test_bytes_without_their_control_file_are_not_trusted(engine: str, tmp_path: Path) -> None:
    size = 3_000_000
    async with _real(engine, tmp_path) as real, serving() as origin:
        folder = tmp_path / "staging" / A
        folder.mkdir()
        (folder / "mine.bin").write_bytes(bytes(size // 2))
        url = origin.url(f"/bytes/{size}/x")
        await add(real.downloader, Job(gid=A, urls=(url,), folder=folder, out="mine.bin"))
        await in_status(real.downloader, A, "complete")
        assert (folder / "mine.bin").read_bytes() == origin.body(url)
        assert os.listdir(folder) == ["mine.bin"]


async def test_many_are_added_and_removed_at_once(bench: Bench) -> None:
    assert await bench.downloader.add_all([bench.endless(A), bench.endless(B), bench.endless(C)]) == [None] * 3
    await in_status(bench.downloader, B, "active")
    assert await bench.downloader.remove_all([A, "00000000000000dd", B, C]) == [None] * 4
    assert await bench.downloader.poll() == {}
    assert await bench.downloader.add_all([]) == await bench.downloader.remove_all([]) == []


async def test_many_take_the_place_of_those_that_ended(bench: Bench) -> None:
    for _ in range(2):
        assert await bench.downloader.add_all([bench.quick(A), bench.missing(B)]) == [None] * 2
        await in_status(bench.downloader, A, "complete")
        await in_status(bench.downloader, B, "error")
    assert await bench.downloader.remove_all([A, B]) == [None] * 2
    assert await bench.downloader.poll() == {}


async def test_of_many_each_is_refused_for_itself(bench: Bench) -> None:
    await add(bench.downloader, bench.endless(A))
    [error] = await bench.downloader.add_all([bench.refused(B)])
    assert isinstance(error, InvalidInput)
    assert set(await bench.downloader.poll()) == {A}


async def test_the_next_engine_takes_many_and_has_none_of_those_before(bench: Bench) -> None:
    await bench.downloader.add_all([bench.endless(A), bench.endless(B)])
    bench.die()
    bench.recover()

    async def takes() -> bool:
        return await bench.downloader.add_all([bench.endless(B)]) == [None]

    await until(takes, "another one takes it")
    assert set(await bench.downloader.poll()) == {B}
