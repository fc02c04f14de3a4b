"""The real child process: private, alone, restarted, never left behind; and what one job becomes inside it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from ariacluster.domain.errors import StartFailed, Unavailable
from ariacluster.domain.reconcile import Download
from ariacluster_node.adapters.aria2 import process as process_room
from ariacluster_node.adapters.aria2.downloader import Aria2Downloader
from ariacluster_node.adapters.aria2.flags import Tuning
from ariacluster_node.adapters.aria2.keeper import Patience
from ariacluster_node.adapters.aria2.locate import locate
from ariacluster_node.ports import Job
from tests.support import torrent
from tests.support.origin import Origin, serving
from tests.support.processes import until
from tests.support.singly import add, remove

pytestmark = pytest.mark.integration

A, B = "00000000000000aa", "00000000000000bb"
ENGINES = {"installed": "/usr/bin:/usr/local/bin", "packaged": ""}
PIECE = 1 << 18
QUICK = Patience(look=0.1, hang=1.0, first=0.05)

Make = Callable[..., Awaitable[Aria2Downloader]]


@asynccontextmanager
async def running(data: Path, path: str, **tuning: int | bool) -> AsyncIterator[Aria2Downloader]:
    data.mkdir(exist_ok=True)
    program = await locate(environ={"PATH": path})
    settings = Tuning(dht=False, lpd=False, **tuning)
    downloader = Aria2Downloader(data, tuning=settings, aria2c=program.path, patience=QUICK)
    await downloader.start()
    try:
        yield downloader
    finally:
        await downloader.stop()


@pytest.fixture(params=list(ENGINES.values()), ids=list(ENGINES))
def path(request: pytest.FixtureRequest) -> str:
    """The PATH that leads to an engine."""
    return str(request.param)


@pytest.fixture
async def downloader(path: str, tmp_path: Path) -> AsyncIterator[Aria2Downloader]:
    async with running(tmp_path / "data", path) as downloader:
        yield downloader


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    async with serving() as origin:
        yield origin


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A staging folder."""
    made = tmp_path / "staging"
    made.mkdir()
    return made


async def ended(downloader: Aria2Downloader, gid: str) -> Download:
    """The download, once it is whole or failed."""

    async def look() -> Download | None:
        download = (await downloader.poll()).get(gid)
        return download if download is not None and download.status in ("complete", "error", "removed") else None

    found = await until(look, f"{gid} has ended", timeout=30)
    assert found is not None
    return found


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# --- the process -------------------------------------------------------------------------------------------------


async def test_nobody_can_read_its_secret(downloader: Aria2Downloader, tmp_path: Path) -> None:
    assert downloader.pid
    assert not [word for word in psutil.Process(downloader.pid).cmdline() if "secret=" in word]
    assert not list((tmp_path / "data").glob("*secret*"))


def test_the_secret_is_private_while_it_is_on_disk(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    (tmp_path / "old").chmod(0o666)
    process_room._write_private(tmp_path / "old", "x")
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o600


async def test_it_listens_on_loopback_only(downloader: Aria2Downloader) -> None:
    listening = [c.laddr.ip for c in psutil.Process(downloader.pid).net_connections() if c.status == "LISTEN"]
    assert listening and set(listening) <= {"127.0.0.1", "::1"}


async def test_ctrl_c_in_a_terminal_does_not_reach_it(downloader: Aria2Downloader) -> None:
    assert downloader.pid and os.getpgid(downloader.pid) != os.getpgid(0)


async def test_stopping_leaves_nothing(path: str, tmp_path: Path) -> None:
    async with running(tmp_path / "data", path) as downloader:
        pid = downloader.pid
        assert pid and alive(pid)
    assert not psutil.pid_exists(pid)


async def test_killed_it_is_replaced(downloader: Aria2Downloader) -> None:
    first = downloader.pid
    assert first
    os.kill(first, signal.SIGKILL)
    second = await until(lambda: downloader.pid not in (None, first) and downloader.pid, "another engine")
    assert not psutil.pid_exists(first) and psutil.pid_exists(second)
    assert await downloader.poll() == {}


async def test_hanging_it_is_killed_and_replaced(downloader: Aria2Downloader) -> None:
    first = downloader.pid
    assert first
    os.kill(first, signal.SIGSTOP)
    await until(lambda: downloader.pid not in (None, first), "another engine", timeout=15)
    assert not psutil.pid_exists(first)


async def test_two_on_one_machine(path: str, tmp_path: Path, origin: Origin) -> None:
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(running(tmp_path / name, path)) for name in ("1", "2")]
        for number, downloader in enumerate(both):
            staging = tmp_path / f"staging{number}"
            staging.mkdir()
            await add(downloader, Job(gid=A, urls=(origin.url(f"/bytes/100000/{number}"),), folder=staging))
        assert [(await ended(downloader, A)).status for downloader in both] == ["complete", "complete"]
        assert [os.listdir(tmp_path / f"staging{number}") for number in (0, 1)] == [["0"], ["1"]]


async def test_a_port_that_was_taken_meanwhile(
    path: str, downloader: Aria2Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by a server that says nothing aria2 would, once by another aria2 with a secret of its own."""
    others = [c.laddr.port for c in psutil.Process(downloader.pid).net_connections() if c.status == "LISTEN"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = [others[0], silent.getsockname()[1]]
        free = process_room._free_port
        monkeypatch.setattr(process_room, "_free_port", lambda: ports.pop() if ports else free())
        monkeypatch.setattr(process_room, "_UP_S", 2.0)
        async with running(tmp_path / "second", path) as second:
            assert not ports
            assert await second.poll() == {} and second.pid != downloader.pid


async def test_without_a_free_port_it_gives_up(
    path: str, downloader: Aria2Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = next(c.laddr.port for c in psutil.Process(downloader.pid).net_connections() if c.status == "LISTEN")
    monkeypatch.setattr(process_room, "_free_port", lambda: taken)
    with pytest.raises(StartFailed, match="does not start"):
        async with running(tmp_path / "second", path):
            pass
    assert not [child for child in psutil.Process().children() if child.pid != downloader.pid and alive(child.pid)]


async def test_a_data_folder_that_is_gone(path: str, tmp_path: Path) -> None:
    program = await locate(environ={"PATH": path})
    downloader = Aria2Downloader(tmp_path / "nothing", aria2c=program.path)
    with pytest.raises(StartFailed, match="cannot write to its data folder"):
        await downloader.start()
    with pytest.raises(Unavailable):
        await downloader.poll()
    await downloader.stop()


OWNER = """
import asyncio, sys
from pathlib import Path
from ariacluster_node.adapters.aria2.downloader import Aria2Downloader
from ariacluster_node.adapters.aria2.flags import Tuning

async def main():
    downloader = Aria2Downloader(Path(sys.argv[1]), tuning=Tuning(dht=False, lpd=False), aria2c=Path(sys.argv[2]))
    await downloader.start()
    print("pid", downloader.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def _pid_told(lines: IO[str]) -> int:
    return next(int(line.split()[1]) for line in lines if line.startswith("pid "))


@asynccontextmanager
async def owner(data: Path, path: str) -> AsyncIterator[tuple[subprocess.Popen[str], int]]:
    """A process of its own that runs a downloader, and the pid of its engine; the block must end the process."""
    data.mkdir()
    program = await locate(environ={"PATH": path})
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(data), str(program.path)]
    process = await asyncio.to_thread(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    assert process.stdout
    try:
        yield process, await asyncio.to_thread(_pid_told, process.stdout)
    finally:
        process.kill()
        process.stdout.close()
        await asyncio.to_thread(process.wait)


async def test_kill_9_of_the_node_leaves_no_engine(path: str, tmp_path: Path) -> None:
    async with owner(tmp_path / "data", path) as (process, engine):
        assert alive(engine)
        process.kill()
        await asyncio.to_thread(process.wait)
        await until(lambda: not alive(engine), "the engine is gone")


async def test_a_new_node_ends_what_a_killed_one_left(path: str, tmp_path: Path) -> None:
    """Here the dead node stays a zombie, for which aria2's own watch would wait for ever."""
    async with owner(tmp_path / "data", path) as (process, engine):
        process.kill()
        await until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, "the node is dead")
        assert alive(engine)
        async with running(tmp_path / "data", path) as downloader:
            assert not alive(engine)
            assert await downloader.poll() == {}


async def test_a_new_node_leaves_the_engine_of_a_living_one_alone(path: str, tmp_path: Path) -> None:
    async with owner(tmp_path / "data", path) as (_, engine), running(tmp_path / "data", path):
        assert alive(engine)


# --- what a job becomes ------------------------------------------------------------------------------------------


async def test_headers_options_and_name_reach_the_server_and_the_disk(
    downloader: Aria2Downloader, origin: Origin, folder: Path
) -> None:
    job = Job(
        gid=A,
        urls=(origin.url("/bytes/1000/x"),),
        folder=folder,
        out="mine.bin",
        options={"header": "X-One: 1", "user-agent": "me"},
        headers=("X-Two: 2", "Cookie: a=b; c=d"),
    )
    await add(downloader, job)
    assert (await ended(downloader, A)).status == "complete"
    sent = origin.seen["/bytes/1000/x"][-1]
    assert [sent[name] for name in ("X-One", "X-Two", "Cookie", "User-Agent")] == ["1", "2", "a=b; c=d", "me"]
    assert (folder / "mine.bin").read_bytes() == origin.body("/bytes/1000/x")


async def test_a_checksum_is_held_against_the_file(downloader: Aria2Downloader, origin: Origin, folder: Path) -> None:
    url = origin.url("/bytes/1000/x")
    right, wrong = f"sha-256={origin.sha256(url)}", f"sha-256={'0' * 64}"
    await add(downloader, Job(gid=A, urls=(url,), folder=folder, checksum=right))
    assert (await ended(downloader, A)).status == "complete"
    await add(downloader, Job(gid=B, urls=(url,), folder=folder, out="other", checksum=wrong))
    assert ((await ended(downloader, B)).status, (await ended(downloader, B)).error_code) == ("error", 32)


async def test_an_empty_file_is_whole(downloader: Aria2Downloader, origin: Origin, folder: Path) -> None:
    await add(downloader, Job(gid=A, urls=(origin.url("/bytes/0/empty"),), folder=folder))
    assert (await ended(downloader, A)).status == "complete"
    assert (folder / "empty").stat().st_size == 0


def metalink(origin: Origin, *files: tuple[str, str]) -> str:
    """The URL of a Metalink v4 document of files by name and URL."""
    entries = "".join(f"<file name='{name}'><url>{url.replace('&', '&amp;')}</url></file>" for name, url in files)
    text = f"<?xml version='1.0'?><metalink xmlns='urn:ietf:params:xml:ns:metalink'>{entries}</metalink>"
    return origin.put("/list.meta4", text.encode(), "application/metalink4+xml")


async def test_a_metalink_is_one_download_of_all_its_files(
    downloader: Aria2Downloader, origin: Origin, folder: Path
) -> None:
    url = metalink(
        origin, ("a.bin", origin.url("/bytes/400000/a")), ("b.bin", origin.url("/bytes/600000/b", rate=300_000))
    )
    await add(downloader, Job(gid=A, urls=(url,), folder=folder))
    seen = {}

    async def whole() -> bool:
        polled = await downloader.poll()
        assert set(polled) == {A}
        seen[polled[A].status] = polled[A]
        return polled[A].status == "complete"

    await until(whole, "all files are there")
    assert set(seen) <= {"waiting", "active", "complete"}
    assert (seen["complete"].completed, seen["complete"].total) == (1_000_000, 1_000_000)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        "a.bin": origin.body("/bytes/400000/a"),
        "b.bin": origin.body("/bytes/600000/b"),
    }


async def test_removing_a_family_takes_the_children_along(path: str, tmp_path: Path, origin: Origin) -> None:
    slow = [(f"{n}.bin", origin.url(f"/bytes/9000000/{n}", rate=10_000)) for n in range(4)]
    folder = tmp_path / "staging"
    folder.mkdir()
    async with running(tmp_path / "data", path, slots=2) as downloader:
        await add(downloader, Job(gid=A, urls=(metalink(origin, *slow),), folder=folder))

        async def begun() -> bool:
            return (await downloader.poll())[A].total >= 18_000_000

        await until(begun, "two files are under way")
        await remove(downloader, A)
        assert await downloader.poll() == {}
        assert await downloader._listed(downloader._keeper.rpc) == []
        origin.throttle("/bytes/9000000/0", None)
        await add(downloader, Job(gid=A, urls=(origin.url("/bytes/9000000/0"),), folder=folder, out="0.bin"))
        assert (await ended(downloader, A)).total == 9_000_000


async def test_children_that_lost_their_parent_can_be_removed(
    downloader: Aria2Downloader, origin: Origin, folder: Path
) -> None:
    slow = origin.url("/bytes/9000000/x", rate=10_000)
    await add(downloader, Job(gid=A, urls=(metalink(origin, ("a.bin", slow), ("b.bin", slow)),), folder=folder))

    async def begun() -> bool:
        return (await downloader.poll())[A].total >= 18_000_000

    await until(begun, "the files are under way")
    await downloader._keeper.rpc.call("aria2.removeDownloadResult", A)
    assert {gid: download.status for gid, download in (await downloader.poll()).items()} == {A: "active"}
    await remove(downloader, A)
    assert await downloader._listed(downloader._keeper.rpc) == []


@pytest.mark.parametrize(
    ("name", "kind", "body", "code"),
    [
        ("/x.torrent", "application/x-bittorrent", b"garbage", 25),
        ("/x.meta4", "application/metalink4+xml", b"garbage", 20),
        ("/x.meta4", "application/metalink4+xml", b"<metalink xmlns='urn:ietf:params:xml:ns:metalink'/>", 20),
    ],
)
async def test_a_document_that_names_nothing_is_an_error(
    downloader: Aria2Downloader, origin: Origin, folder: Path, name: str, kind: str, body: bytes, code: int
) -> None:
    await add(downloader, Job(gid=A, urls=(origin.put(name, body, kind),), folder=folder))
    failed = await ended(downloader, A)
    assert (failed.status, failed.error_code) == ("error", code)
    assert "nothing that can be downloaded" in failed.error_message


async def test_what_was_whole_stays_whole_when_its_files_move_on(
    downloader: Aria2Downloader, origin: Origin, folder: Path, tmp_path: Path
) -> None:
    await add(downloader, Job(gid=A, urls=(origin.url("/bytes/1000/x"),), folder=folder))
    assert (await ended(downloader, A)).status == "complete"
    (folder / "x").rename(tmp_path / "x")
    folder.rmdir()
    assert (await downloader.poll())[A].status == "complete"


async def test_torrent_and_magnet(downloader: Aria2Downloader, folder: Path, tmp_path: Path) -> None:
    content = tmp_path / "content" / "payload"
    content.mkdir(parents=True)
    (content / "one").write_bytes(os.urandom(300_000))
    (content / "two").write_bytes(os.urandom(700_000))
    other = tmp_path / "other"
    other.mkdir()
    async with torrent.swarm(content, tmp_path / "swarm") as swarm:
        for gid, url, place in ((A, swarm.url, folder), (B, swarm.torrent.magnet, other)):
            await add(downloader, Job(gid=gid, urls=(url,), folder=place))
            done = await ended(downloader, gid)
            assert (done.status, done.total, done.completed) == ("complete", 1_000_000, 1_000_000)
            assert os.listdir(place) == ["payload"]
            assert (place / "payload" / "two").read_bytes() == (content / "two").read_bytes()
            assert set(await downloader.poll()) == {gid}
            await remove(downloader, gid)
            assert await downloader._listed(downloader._keeper.rpc) == []


@pytest.mark.parametrize(
    ("wanted", "total", "files"),
    [("2,9", 2 * PIECE, ["b"]), ("1,3", 7 * PIECE + 100, ["a", "c"])],
)
async def test_aria2_counts_the_pieces_that_hold_what_was_selected(
    downloader: Aria2Downloader, folder: Path, tmp_path: Path, wanted: str, total: int, files: list[str]
) -> None:
    """`b` begins at the end of one piece and ends in the next; `a` and `c` have a part in those. Whoever is not there is passed
    over."""
    content = tmp_path / "content" / "payload"
    content.mkdir(parents=True)
    for name, size in (("a", 3 * PIECE - 100), ("b", PIECE), ("c", 3 * PIECE + 200)):
        (content / name).write_bytes(os.urandom(size))
    async with torrent.swarm(content, tmp_path / "swarm") as swarm:
        job = Job(gid=A, urls=(swarm.torrent.magnet,), folder=folder, options={"select-file": wanted})
        await add(downloader, job)
        done = await ended(downloader, A)
        assert (done.status, done.total, done.completed) == ("complete", total, total)
        assert sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".aria2") == files


@pytest.mark.parametrize("how", ["url", "magnet", "metalink"])
async def test_a_selection_of_nothing_is_an_error(
    downloader: Aria2Downloader, origin: Origin, folder: Path, tmp_path: Path, how: str
) -> None:
    content = tmp_path / "content" / "payload"
    content.mkdir(parents=True)
    (content / "a").write_bytes(b"1")
    (content / "b").write_bytes(b"2")
    async with torrent.swarm(content, tmp_path / "swarm") as swarm:
        links = {
            "url": swarm.url,
            "magnet": swarm.torrent.magnet,
            "metalink": metalink(origin, ("a.bin", origin.url("/bytes/4000/a"))),
        }
        await add(downloader, Job(gid=A, urls=(links[how],), folder=folder, options={"select-file": "3-4"}))
        failed = await ended(downloader, A)
    assert (failed.status, failed.error_code) == ("error", 28)
    assert failed.error_message == "select-file asks for 3-4, and there is no file of such a number in it"


async def test_a_ratio_is_really_seeded_to(
    downloader: Aria2Downloader, path: str, folder: Path, tmp_path: Path
) -> None:
    """What was fetched is given once: to the one who comes when the first seeder has gone."""
    content = tmp_path / "content" / "payload"
    content.parent.mkdir()
    content.write_bytes(os.urandom(300_000))
    other = tmp_path / "other"
    other.mkdir()
    async with torrent.tracker() as tracked_by:
        made = await asyncio.to_thread(torrent.make_torrent, content, tracked_by.announce)
        url = tracked_by.publish(made)
        async with torrent.seeder(made, content, tracked_by, tmp_path / "seeder"):
            await add(downloader, Job(gid=A, urls=(url,), folder=folder, options={"seed-ratio": "1.0"}))

            async def whole() -> bool:
                download = (await downloader.poll())[A]
                return download.total == download.completed == 300_000

            await until(whole, "it has all")
        async with running(tmp_path / "data2", path) as leecher:
            await add(leecher, Job(gid=B, urls=(url,), folder=other))
            assert (await ended(leecher, B)).status == "complete"
            assert (await ended(downloader, A)).status == "complete"
