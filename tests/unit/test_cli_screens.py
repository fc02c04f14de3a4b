"""Live views: what they know after what was told, and that what they draw fits whatever window there is."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from ariacluster.cli.cluster_screen import draw, tree
from ariacluster.cli.looks import spark
from ariacluster.cli.pieces_view import SHADES, picture
from ariacluster.cli.scene import Scene, first_look
from ariacluster.cli.task_screen import Listing
from ariacluster.cli.task_screen import draw as draw_list
from ariacluster.client.client import NodeClient
from ariacluster.client.stream import Lost
from ariacluster.wire.events import Hello, History, Nodes, Summary
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import NamedId
from tests.support.fake_node import FakeNode, ariacluster, completed, failed, happened, launch, node, running, task

MB = 1_000_000


@pytest.fixture
async def fake() -> AsyncIterator[FakeNode]:
    async with FakeNode() as fake:
        fake.nodes = [
            node("alpha", role="leader", used_slots=2, download_speed=12 * MB),
            node("beta", used_slots=5),
            node("gamma", status="offline"),
            node("delta", role="learner", trouble="The disk is full."),
        ]
        fake.put(task(1, **running(427 * MB, 787 * MB, speed=64 * MB)), task(2), task(3, **failed("Gone.")))
        fake.history = [happened(number, f"Thing {number}.") for number in range(1, 9)]
        yield fake


@pytest.fixture
async def scene(fake: FakeNode) -> Scene:
    async with NodeClient(fake.url) as client:
        scene = await first_look(client)
    scene.take(Summary(status=scene.status, top=[fake.tasks[task(1).id]]))
    scene.tick()
    return scene


def shown(scene: Scene, width: int, height: int) -> list[str]:
    return [line.plain for line in draw(scene, width, height)]


async def test_what_is_told_counts(scene: Scene) -> None:
    scene.take(Nodes(nodes=[{"id": "id-beta", "download_speed": 7}], gone=["id-gamma"]))
    assert scene.nodes["id-beta"].download_speed == 7 and scene.nodes["id-beta"].used_slots == 5
    assert "id-gamma" not in scene.nodes
    scene.take(Nodes(nodes=[{"id": "id-unknown", "download_speed": 7}]))
    assert "id-unknown" not in scene.nodes, "it is told whole before it is told in part"
    whole: dict[str, Any] = msgspec.to_builtins(node("new"))
    scene.take(Nodes(nodes=[whole], whole=True))
    assert list(scene.nodes) == ["id-new"]
    scene.take(Lost("Away."))
    assert scene.trouble == "Away."
    scene.take(Hello(node=NamedId("a", "a"), version="1", seq=1, resumed=True))
    assert scene.trouble == ""
    scene.take(History(entry=happened(99, "Newest.")))
    assert scene.latest[-1].text == "Newest."


async def test_a_screen_of_the_cluster(scene: Scene) -> None:
    lines = shown(scene, 100, 26)
    assert len(lines) == 26
    text = "\n".join(lines)
    assert lines[1].startswith("★ alpha leads")
    for line in ("★ ● alpha", "├─● beta", "├─○ gamma", "└╌● delta"):
        assert any(found.startswith(line) for found in lines), line
    for words in ("12.0 MB/s", "427/787 MB", "3 tasks", "! delta  The disk is full.", "Thing 8.", "learner", "offline"):
        assert words in text
    assert lines[-1] == "seen by alpha   q ends this; the downloads go on"
    scene.take(Lost("The node cannot be reached."))
    assert shown(scene, 100, 26)[-1].startswith("↻ reconnecting")
    scene.take(Hello(node=NamedId("a", "a"), version="1", seq=1, resumed=True))
    scene.stale = True
    assert "no leader vouches" in shown(scene, 100, 26)[-1]


@pytest.mark.parametrize("width", [20, 40, 79, 80, 120, 300])
@pytest.mark.parametrize("height", [3, 8, 24, 60])
async def test_the_screen_fits_any_window(scene: Scene, width: int, height: int) -> None:
    for number in range(60):
        scene.take(Nodes(nodes=[msgspec.to_builtins(node(f"node-{number}" + "x" * 40, trouble="t" * 200))]))
        scene.take(History(entry=happened(100 + number, "\x1b[2J日本" * 60)))
        scene.tick()
    scene.take(Summary(status=scene.status, top=[task(n, **running(n, 100)) for n in range(1, 30)]))
    lines = draw(scene, width, height)
    assert len(lines) <= height
    assert "\x1b" not in "".join(line.plain for line in lines)
    assert lines[-1].plain.startswith("seen by")


def test_nobody_hangs_on_nobody() -> None:
    assert [branch for branch, _ in tree([node("a"), node("b")])] == ["  ", "  "]
    assert [found.name for _, found in tree([node("b"), node("c", role="learner"), node("a", role="leader")])] == [
        "a", "b", "c",
    ]  # fmt: skip


def test_sparks() -> None:
    assert spark([0, 1, 4, 8], 6).plain == "  ▁▂▅█"
    assert spark([5] * 9, 3).plain == "███"
    assert spark([], 3).plain == "   " and spark([1], 0).plain == "" and spark([0, 0], 2).plain == "▁▁"


@pytest.mark.parametrize("count", [1, 7, 100, 5000])
@pytest.mark.parametrize("width", [1, 10, 76])
def test_pieces_of_any_number_fit(count: int, width: int) -> None:
    digits = -(-count // 8) * 2
    rows = picture("f" * digits, count, width)
    assert rows and all(len(row) <= width for row in rows) and len(rows) <= 8
    assert set("".join(rows)) == {SHADES[-1]}
    assert set("".join(picture("", count, width))) == {SHADES[0]}


def test_a_piece_that_lacks_shows() -> None:
    assert picture("ff7f", 16, 4) == ["████", "████", "·███", "████"]
    (row,) = picture("f" * 249 + "e", 1000, 125)[:1]
    assert "·" not in row
    assert picture("ff00" * 80, 1280, 10)[0][0] not in (SHADES[0], SHADES[-1])


# -- the list


async def test_what_is_unfinished_comes_first_in_a_list_that_is_watched(fake: FakeNode) -> None:
    fake.put(task(0, **completed(5)))
    async with NodeClient(fake.url) as client:
        listing = Listing(client, TaskFilter(), "")
        await listing.look(10)
        assert [task.status for task in listing.tasks] == ["downloading", "pending", "failed", "completed"]
        assert listing.total == 4
        picked = Listing(client, TaskFilter(state=["failed"]), "")
        await picked.look(10)
        assert [task.status for task in picked.tasks] == ["failed"]
    for width in (20, 80, 200):
        for height in (3, 6, 24):
            lines = draw_list(listing, width, height, datetime.now(UTC))
            assert len(lines) <= height
    assert "q ends this" in lines[-1].plain and lines[0].plain.startswith("4 tasks")
    listing.trouble = "No node answers."
    assert "reconnecting…  No node answers." in draw_list(listing, 80, 24, datetime.now(UTC))[-1].plain


# -- on a terminal


class Window:
    """The program on a terminal, its keys included."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self.process, self.screen, self.text = process, screen, ""
        self._read = asyncio.Event()
        asyncio.get_running_loop().add_reader(screen, self._take)

    def _take(self) -> None:
        try:
            self.text += os.read(self.screen, 1 << 16).decode(errors="replace")
        except OSError:
            asyncio.get_running_loop().remove_reader(self.screen)
        self._read.set()

    async def shows(self, words: str) -> None:
        async with asyncio.timeout(20):
            while words not in self.text:
                self._read.clear()
                await self._read.wait()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    async def ends(self) -> tuple[int, str]:
        _, err = await asyncio.wait_for(self.process.communicate(), 20)
        self._take()
        asyncio.get_running_loop().remove_reader(self.screen)
        os.close(self.screen)
        return self.process.returncode or 0, err.decode()


async def window(*arguments: str, url: str) -> Window:
    screen, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = await launch(*arguments, url=url, stdin=other, stdout=other, environ={"TERM": "xterm-256color"})
    os.close(other)
    return Window(process, screen)


@pytest.mark.parametrize("arguments", [["status", "--watch"], ["task", "ls", "--watch"]])
@pytest.mark.parametrize("end", ["q", "SIGINT", "SIGTERM"])
async def test_a_screen_gives_the_terminal_back(fake: FakeNode, arguments: list[str], end: str) -> None:
    terminal = await window(*arguments, url=fake.url)
    await terminal.shows("q ends this")
    assert "\x1b[?1049h" in terminal.text, "the other screen"
    terminal.resize(12, 50)
    if end == "q":
        os.write(terminal.screen, b"q")
    else:
        terminal.process.send_signal(signal.Signals[end])
    code, err = await terminal.ends()
    assert (code, err) == ({"q": 0, "SIGINT": 130, "SIGTERM": 143}[end], "The downloads go on without this window.\n")
    assert terminal.text.rfind("\x1b[?1049l") > terminal.text.rfind("\x1b[?1049h")
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l"), "the cursor is back"


async def test_a_node_that_goes_away_is_awaited(fake: FakeNode) -> None:
    terminal = await window("status", "--watch", url=fake.url)
    await terminal.shows("seen by alpha")
    await fake.frames.put(None)
    await fake.stop()
    await terminal.shows("reconnecting")
    await fake.start()
    fake.nodes[0] = msgspec.structs.replace(fake.nodes[0], name="renamed")
    await fake.frames.put(Nodes(nodes=[msgspec.to_builtins(fake.nodes[0])], whole=True))
    await terminal.shows("renamed")
    terminal.process.terminate()
    assert (await terminal.ends())[0] == 143


async def test_a_script_hears_what_is_new(fake: FakeNode) -> None:
    process = await launch("status", "--watch", "-o", "ndjson", url=fake.url)
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), 20)
    assert msgspec.json.decode(first)["total_tasks"] == 3
    await fake.frames.put(Nodes(nodes=[{"id": "id-alpha", "name": "other"}]))
    second = await asyncio.wait_for(process.stdout.readline(), 20)
    assert msgspec.json.decode(second)["nodes"][0]["name"] == "other"
    process.terminate()
    await asyncio.wait_for(process.communicate(), 20)


async def test_changes_of_a_list_in_a_pipe(fake: FakeNode) -> None:
    fake.reels[task(2).id] = [{}, {}, running(1, 2)]
    process = await launch("task", "ls", "--watch", "--state", "pending,downloading", url=fake.url)
    assert process.stdout is not None
    lines = [(await asyncio.wait_for(process.stdout.readline(), 20)).decode() for _ in range(3)]
    assert ["↓ downloading" in line for line in lines] == [True, False, True]
    assert "file-2.bin" in lines[1] and "file-2.bin" in lines[2]
    process.terminate()
    await asyncio.wait_for(process.communicate(), 20)


async def test_what_cannot_be_watched_is_said_at_once(fake: FakeNode) -> None:
    for arguments in (["status", "--watch", "-o", "json"], ["task", "ls", "--watch", "-o", "json"]):
        ran = await ariacluster(*arguments, url=fake.url)
        assert ran.code == 2 and "ndjson" in ran.err
    assert (await ariacluster("status", "--watch", url="http://127.0.0.1:1")).code == 3
