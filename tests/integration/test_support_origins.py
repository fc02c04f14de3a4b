"""The outside world of the integration tests does what it says, asked by plain clients: aria2c and HTTP."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.support import ftp, nginx, ports, processes, torrent, tree
from tests.support.processes import until

pytestmark = pytest.mark.integration

_CHECKOUT = Path(__file__).parents[2]  # where a Python of its own finds `tests`


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> tree.Tree:
    """Some files up to 6 MB."""
    return tree.make_tree(
        tmp_path_factory.mktemp("content"), tree.plan_sizes(6, total=12 * tree.MB, largest=6 * tree.MB)
    )


@pytest.fixture
async def web(content: tree.Tree, tmp_path: Path) -> AsyncIterator[nginx.Nginx]:
    """nginx that serves `content`."""
    async with nginx.origin(content.folder, tmp_path / "nginx") as server:
        yield server


async def download(folder: Path, *words: str | Path, timeout: float = 30) -> int:
    """The return code of a plain aria2c that puts `words` into `folder`."""
    alone = [*torrent.ALONE, f"--listen-port={ports.free_port()}", f"--stop-with-process={os.getpid()}"]
    quick = ["--max-tries=1", "--bt-tracker-interval=1", "--seed-time=0", "--file-allocation=none"]
    args = [await asyncio.to_thread(torrent.find_aria2c), "--no-conf", *alone, *quick, f"--dir={folder}", *words]
    async with processes.running(args, folder.parent / f"{folder.name}-logs") as client:
        return await client.wait(timeout=timeout)


async def sha256(path: Path) -> str:
    """Off the loop."""
    return await asyncio.to_thread(tree.sha256, path)


async def lives(pid: int) -> bool:
    """A zombie does not."""
    return await status(pid) not in ("", psutil.STATUS_ZOMBIE)


async def status(pid: int) -> str:
    """In psutil's words; empty when there is no such process."""
    try:
        return str(await asyncio.to_thread(lambda: psutil.Process(pid).status()))
    except psutil.NoSuchProcess:
        return ""


# --- ports


def test_a_block_of_ports_is_free_and_handed_out_once() -> None:
    first, second = ports.free_ports(3), ports.free_ports(2)
    block = {first, first + 1, first + 2, second, second + 1}
    assert len(block) == 5
    for port in block:
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_block_leaps_over_a_taken_port(address: str) -> None:
    before = ports.free_port()
    with socket.create_server((address, before + 2)):
        first = ports.free_ports(2)
    assert first not in (before + 1, before + 2)


def test_two_runs_have_no_port_in_common() -> None:
    ask = "from tests.support.ports import free_port; print(*(free_port() for _ in range(100)))"
    other = subprocess.run([sys.executable, "-c", ask], cwd=_CHECKOUT, capture_output=True, text=True, check=True)
    assert not {int(port) for port in other.stdout.split()} & {ports.free_port() for _ in range(100)}


# --- processes

_PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; print('child', flush=True); time.sleep(60)"],
                         start_new_session=True)
print("started", child.pid, flush=True)
time.sleep(60)
"""


async def test_stop_ends_a_paused_program_and_the_child_that_left_its_group(tmp_path: Path) -> None:
    parent = await processes.start([sys.executable, "-c", _PARENT], tmp_path, name="parent")
    text = await parent.wait_for_text("child\n")
    child = int(text.split("started ")[1].split()[0])
    assert {member.pid for member in await parent.family()} == {parent.pid, child}

    async def stands_still() -> bool:
        return await status(parent.pid) == psutil.STATUS_STOPPED

    async def goes_on() -> bool:
        return not await stands_still()

    parent.pause()
    await until(stands_still, "it stands still")
    parent.resume()
    await until(goes_on, "it goes on")
    parent.pause()
    assert await parent.stop() == -signal.SIGTERM
    assert not await lives(child)


async def test_kill_is_a_crash_that_children_survive_until_stop(tmp_path: Path) -> None:
    async with processes.running([sys.executable, "-c", _PARENT], tmp_path) as parent:
        text = await parent.wait_for_text("child\n")
        child = int(text.split("started ")[1].split()[0])
        parent.kill()
        assert await parent.wait() == -signal.SIGKILL
        assert await lives(child)
    assert not await lives(child)


async def test_a_signal_to_the_family_reaches_all_of_it(tmp_path: Path) -> None:
    async with processes.running([sys.executable, "-c", _PARENT], tmp_path) as parent:
        text = await parent.wait_for_text("child\n")
        child = int(text.split("started ")[1].split()[0])
        await parent.signal_family(signal.SIGKILL)
        assert await parent.wait() == -signal.SIGKILL

        async def gone() -> bool:
            return not await lives(child)

        await until(gone, "the child dies with it")


async def test_a_program_that_dies_early_fails_the_wait_at_once_with_its_last_words(tmp_path: Path) -> None:
    async with processes.running([sys.executable, "-c", "print('last words')"], tmp_path) as process:
        with pytest.raises(AssertionError, match=r"(?s)left with 0 before.*last words"):
            await process.wait_for_text("ready", timeout=60)


async def test_each_start_has_a_log_of_its_own_and_what_env_adds(tmp_path: Path) -> None:
    tell = [sys.executable, "-c", "import os; print(os.environ['WORD'])"]
    runs = []
    for word in ("one", "two"):
        async with processes.running(tell, tmp_path, name="teller", env={"WORD": word}) as process:
            await process.wait()
            runs.append(process)
    assert [await run.text() for run in runs] == ["one\n", "two\n"]


async def test_a_test_run_that_is_killed_leaves_no_program(tmp_path: Path) -> None:
    script = f"""
import asyncio, os, pathlib, signal, sys
from tests.support.processes import start
process = asyncio.run(start([sys.executable, "-c", "import time; time.sleep(60)"], pathlib.Path({str(tmp_path)!r})))
print("started", process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # Not by `processes`: its own sweep would do the guard's work.
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], cwd=_CHECKOUT, capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    pid = int(run.stdout.split()[1])

    async def gone() -> bool:
        return not await lives(pid)

    await until(gone, "it ends")


# --- tree


def test_sizes_reach_from_smallest_to_largest_within_the_total() -> None:
    sizes = tree.plan_sizes(60)
    assert [sizes[0], sizes[-1], len(sizes)] == [200 * tree.MB, tree.KB, 60]
    assert 400 * tree.MB < sum(sizes) <= 600 * tree.MB
    assert sizes[1] <= 50 * tree.MB
    assert 240 * tree.MB < sum(tree.plan_sizes(300, total=250 * tree.MB)) <= 250 * tree.MB
    assert sizes == tree.plan_sizes(60) != tree.plan_sizes(60, seed=2)


def test_content_follows_from_the_seed_and_never_repeats(tmp_path: Path) -> None:
    sizes = [3 * tree.MB, 2 * tree.MB]
    one, same, other = (
        tree.make_tree(tmp_path / name, sizes, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one.files == same.files
    assert not {file.sha256 for file in one.files} & {file.sha256 for file in other.files}
    assert [(file.size, file.sha256) for file in one.files] == [
        (one.path(file).stat().st_size, tree.sha256(one.path(file))) for file in one.files
    ]
    content = [one.path(file).read_bytes() for file in one.files]
    blocks = [data[start : start + 4096] for data in content for start in range(0, len(data), 4096)]
    assert len(set(blocks)) == len(blocks)


def test_a_cached_tree_is_made_once_and_again_when_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = tree.make_cached_tree(5, total=3 * tree.MB)
    smallest = made.path(made.files[-1])
    born = smallest.stat().st_mtime_ns
    assert tree.make_cached_tree(5, total=3 * tree.MB) == made
    assert smallest.stat().st_mtime_ns == born
    smallest.unlink()
    assert tree.make_cached_tree(5, total=3 * tree.MB) == made
    assert tree.sha256(smallest) == made.files[-1].sha256
    assert made.total <= 3 * tree.MB
    assert made.near(tree.KB) == made.files[-1]


# --- nginx


async def test_nginx_serves_ranges_to_a_client_that_splits(
    web: nginx.Nginx, content: tree.Tree, tmp_path: Path
) -> None:
    file = content.files[0]
    split = ["--split=4", "--max-connection-per-server=4", "--min-split-size=1M"]
    # Slow enough for four connections to be at work before the first is done.
    assert await download(tmp_path / "got", *split, web.url(file.name, "slow", rate=tree.MB)) == 0
    assert await sha256(tmp_path / "got" / file.name) == file.sha256
    path = f"/slow/{file.name}"

    async def counted() -> bool:
        return await web.bytes_sent(path) >= file.size

    await until(counted, "nginx has counted all")
    assert sum(hit.status == 206 for hit in await web.hits(path)) >= 3
    # Each connection that aria2c cut short has put into its socket more than was read.
    assert await web.bytes_sent(path) < 1.5 * file.size
    assert await web.bytes_sent("/slow/other") == 0


async def test_nginx_counts_a_range_exactly_and_refuses_it_where_off(web: nginx.Nginx, content: tree.Tree) -> None:
    file = content.files[0]
    data = await asyncio.to_thread(content.path(file).read_bytes)
    async with aiohttp.ClientSession(headers={"Range": "bytes=5000-5999"}) as client:
        async with client.get(web.url(file.name)) as part:
            assert (part.status, await part.read()) == (206, data[5000:6000])
        async with client.get(web.url(file.name, "noranges")) as whole:
            assert (whole.status, await whole.read()) == (200, data)

    async def counts() -> bool:
        return [await web.bytes_sent(f"/{place}/{file.name}") for place in ("files", "noranges")] == [1000, file.size]

    await until(counts, "both are counted exactly")
    assert [(hit.status, hit.range) for hit in await web.hits(f"/files/{file.name}")] == [(206, "bytes=5000-5999")]


async def test_a_slow_connection_is_as_slow_as_its_url_says(web: nginx.Nginx, content: tree.Tree) -> None:
    file = content.near(tree.MB)
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as client:
        took = {}
        for rate in (file.size // 2, 100 * file.size):
            begun = loop.time()
            async with client.get(web.url(file.name, "slow", rate=rate)) as answer:
                assert len(await answer.read()) == file.size
            took[rate] = loop.time() - begun
    # A bound from below only, which a busy machine cannot break: nginx gives a second's worth at once.
    assert took[file.size // 2] > 0.7
    assert took[100 * file.size] < took[file.size // 2]


@pytest.mark.parametrize(
    ("place", "status", "aria2_code"), [("busy", 503, 29), ("secret", 403, 22), ("auth", 401, 24), ("gone", 410, 22)]
)
async def test_nginx_refuses_in_many_ways(
    web: nginx.Nginx, content: tree.Tree, tmp_path: Path, place: nginx.Place, status: int, aria2_code: int
) -> None:
    url = web.url(content.files[-1].name, place)
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == status
        assert answer.headers.get("Retry-After") == (str(nginx.RETRY_AFTER_S) if place == "busy" else None)
    assert await download(tmp_path / "got", url) == aria2_code


async def test_auth_lets_the_right_password_in(web: nginx.Nginx, content: tree.Tree, tmp_path: Path) -> None:
    file = content.files[-1]
    login = [f"--http-user={nginx.USER}", f"--http-passwd={nginx.PASSWORD}"]
    assert await download(tmp_path / "got", *login, web.url(file.name, "auth")) == 0
    assert await sha256(tmp_path / "got" / file.name) == file.sha256


async def test_an_outage_ends_on_the_same_port(web: nginx.Nginx, content: tree.Tree) -> None:
    url = web.url(content.files[-1].name)
    async with aiohttp.ClientSession() as client:
        await web.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get(url)
        await web.start()
        async with client.get(url) as answer:
            assert answer.status == 200


# --- FTP


async def test_ftp_serves_and_counts(content: tree.Tree, tmp_path: Path) -> None:
    file = content.files[1]
    async with ftp.origin(content.folder, tmp_path / "ftp") as server:
        assert await download(tmp_path / "got", "--split=1", server.url(file.name)) == 0
        assert await sha256(tmp_path / "got" / file.name) == file.sha256

        async def counted() -> bool:
            return await server.bytes_sent(file.name) == file.size

        await until(counted, "the FTP server has counted all")
        assert await server.bytes_sent(content.files[2].name) == 0


# --- BitTorrent


def test_bencode_sorts_and_nests() -> None:
    assert torrent.bencode({"b": [1, -2, "ü"], "a": {"": b"\xff"}}) == b"d1:ad0:1:\xffe1:bli1ei-2e2:\xc3\xbcee"


async def test_a_file_comes_by_torrent_and_by_magnet(content: tree.Tree, tmp_path: Path) -> None:
    file = content.files[0]
    async with torrent.swarm(content.path(file), tmp_path / "seed") as swarm:
        assert swarm.torrent.total == file.size
        by_url, by_magnet = tmp_path / "url", tmp_path / "magnet"
        codes = await asyncio.gather(download(by_url, swarm.url), download(by_magnet, swarm.torrent.magnet))
        assert set(codes) == {0}
        assert {await sha256(folder / file.name) for folder in (by_url, by_magnet)} == {file.sha256}
        assert {announce.infohash for announce in swarm.tracker.announces} == {swarm.torrent.infohash}
        listeners = [
            connection.laddr.ip
            for connection in await asyncio.to_thread(lambda: psutil.Process(swarm.seeder.pid).net_connections())
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listeners) == {"127.0.0.1"}


async def test_a_folder_comes_by_torrent(content: tree.Tree, tmp_path: Path) -> None:
    async with torrent.swarm(content.folder, tmp_path / "seed") as swarm:
        described = tmp_path / "folder.torrent"
        await asyncio.to_thread(described.write_bytes, swarm.torrent.data)
        assert await download(tmp_path / "got", described) == 0
    got = tmp_path / "got" / content.folder.name
    assert [await sha256(got / file.name) for file in content.files] == [file.sha256 for file in content.files]
