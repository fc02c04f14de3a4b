"""The installed program as a shell meets it: exit codes, pipes, signals and terminals."""

import asyncio
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios

import msgspec
import pytest

from ariacluster.wire.resources import StatusResource, TaskResource
from tests.support.fake_node import FakeNode, ariacluster, completed, failed, launch, running, task

MB = 1_000_000


class Terminal:
    """The program on a terminal of 80 columns, and what it wrote there."""

    def __init__(self, process: asyncio.subprocess.Process, screen: int) -> None:
        self.process = process
        self.text = ""
        self._screen = screen
        self._read = asyncio.Event()
        os.set_blocking(screen, False)
        asyncio.get_running_loop().add_reader(screen, self._take)

    async def shows(self, words: str) -> None:
        """Wait until it has written them."""
        async with asyncio.timeout(20):
            while words not in self.text:
                self._read.clear()
                await self._read.wait()

    async def ends(self) -> int:
        async with asyncio.timeout(20):
            _, self.err = await self.process.communicate()
        self._take()
        self.close()
        return self.process.returncode or 0

    def close(self) -> None:
        if self._screen >= 0:
            asyncio.get_running_loop().remove_reader(self._screen)
            os.close(self._screen)
            self._screen = -1

    def _take(self) -> None:
        try:
            data = os.read(self._screen, 1 << 16)
        except OSError:
            # Linux answers EIO once nobody holds the other end.
            asyncio.get_running_loop().remove_reader(self._screen)
            return
        self.text += data.decode(errors="replace")
        self._read.set()


async def on_terminal(*arguments: str, url: str, environ: dict[str, str] | None = None) -> Terminal:
    screen, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environ = {"TERM": "xterm-256color", **(environ or {})}
    process = await launch(*arguments, url=url, stdout=other, environ=environ)
    os.close(other)
    return Terminal(process, screen)


async def test_a_pipe_gets_text_without_any_escape(fake: FakeNode) -> None:
    fake.put(task(1, **running(1, 2)), task(2, **failed("x" * 300)))
    for arguments in (["status"], ["task", "ls"], ["node", "ls"]):
        ran = await ariacluster(*arguments, url=fake.url)
        assert (ran.code, ran.err) == (0, "")
        assert "\x1b" not in ran.out
    assert "x" * 300 in (await ariacluster("task", "ls", url=fake.url)).out, "nothing is cut in a pipe"
    ran = await ariacluster("-o", "json", "status", url=fake.url)
    assert msgspec.json.decode(ran.out, type=StatusResource).total_tasks == 2


async def test_a_terminal_gets_colours_unless_it_wants_none(fake: FakeNode) -> None:
    fake.put(task(1, name="[red]\x1b[2J\u202e", **running(1, 2)))
    coloured = await on_terminal("task", "ls", url=fake.url)
    assert await coloured.ends() == 0
    assert "\x1b[1;34m↓ downloading" in coloured.text
    assert "\x1b[2J" not in coloured.text and "\\x1b[2J" in coloured.text
    grey = await on_terminal("task", "ls", url=fake.url, environ={"NO_COLOR": "1"})
    assert await grey.ends() == 0
    assert "34m" not in grey.text and "downloading" in grey.text


async def test_watching_in_a_pipe_writes_a_line_for_each_change(fake: FakeNode) -> None:
    fake.next_reel = [running(MB, 4 * MB), running(2 * MB, 4 * MB), completed(4 * MB)]
    ran = await ariacluster("add", "http://o/a.iso", "--watch", url=fake.url)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    words = [line.split()[:4] for line in ran.out.splitlines()[1:]]
    task_id = next(iter(fake.tasks))
    assert words == [
        [task_id, "○", "pending", "a.iso"],
        [task_id, "↓", "downloading", "a.iso"],
        [task_id, "✓", "completed", "a.iso"],
    ]


async def test_watching_for_scripts(fake: FakeNode) -> None:
    fake.next_reel = [{}, running(MB, 4 * MB), running(2 * MB, 4 * MB), failed("The server says 404.")]
    ran = await ariacluster("add", "http://o/a.iso", "http://o/b.iso", "-w", "-o", "ndjson", url=fake.url)
    assert ran.code == 1
    changes = [msgspec.json.decode(line, type=TaskResource) for line in ran.out.splitlines()]
    assert [task.status for task in changes if task.name == "b.iso"] == ["pending", "downloading", "failed"]
    fake.next_reel = [running(MB, 4 * MB), completed(4 * MB)]
    ran = await ariacluster("add", "http://o/c.iso", "-w", "-o", "json", url=fake.url)
    assert (ran.code, ran.err) == (0, "")
    assert [task["status"] for task in json.loads(ran.out)] == ["completed"]


async def test_watching_on_a_terminal_draws_over_and_leaves_the_results(fake: FakeNode) -> None:
    fake.next_reel = [running(MB, 4 * MB), running(2 * MB, 4 * MB), completed(4 * MB)]
    terminal = await on_terminal("add", "-w", "http://o/a.iso", "http://o/b.iso", "gopher://x", url=fake.url)
    await terminal.shows("50%")
    await terminal.shows("2 tasks")
    assert await terminal.ends() == 1, "one of them was refused"
    assert "gopher://x" in terminal.err.decode()
    assert "\x1b[?25l" in terminal.text and terminal.text.count("\x1b[?25h") == 1
    assert "━" in terminal.text and "✓" in terminal.text and "2 completed" in terminal.text


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_ending_a_watch_ends_no_download_and_says_so(fake: FakeNode, sent: signal.Signals, code: int) -> None:
    fake.put(task(1, **running(MB, 4 * MB)))
    terminal = await on_terminal("task", "watch", "00000001", url=fake.url)
    await terminal.shows("25%")
    terminal.process.send_signal(sent)
    assert await terminal.ends() == code
    assert f"The downloads go on without this window. To see them again: ariacluster task watch {task(1).id}" in (
        terminal.err.decode()
    )
    assert "Traceback" not in terminal.err.decode() + terminal.text
    assert terminal.text.rfind("\x1b[?25h") > terminal.text.rfind("\x1b[?25l"), "the cursor is back"
    assert next(iter(fake.tasks.values())).status == "downloading"


async def test_who_stops_waiting_for_a_drain_is_told_that_it_goes_on(fake: FakeNode) -> None:
    fake.leaving = [1] * 1000
    process = await launch("node", "drain", "alpha", "--wait", url=fake.url)
    await asyncio.wait_for(fake.looked.wait(), 20)
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert out.decode().count("1 task left") == 1
    assert err.decode() == "alpha goes on draining. To call it off: ariacluster node undrain alpha\n"
    assert fake.nodes[0].status == "draining"


async def test_an_interrupted_question_is_silent() -> None:
    asked, over = asyncio.Event(), asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with server:
        process = await launch("status", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.wait_for(asked.wait(), 20)
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
        over.set()
    assert process.returncode == 130
    assert (out, err) == (b"", b"")


async def test_ctrl_c_is_silent_while_the_program_is_loaded() -> None:
    """The first thing that it does, before it imports the rest, is to let the system end it."""
    script = (
        "import signal, sys, types; "
        "sys.modules['ariacluster.cli.main'] = found = types.ModuleType('main'); "
        "found.main = lambda: 7 if signal.getsignal(signal.SIGINT) is signal.SIG_DFL else 1; "
        "from ariacluster.__main__ import main; sys.exit(main())"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await asyncio.wait_for(process.wait(), 20) == 7


async def test_a_question_to_a_person_ends_with_ctrl_c_and_without_a_word(fake: FakeNode) -> None:
    fake.put(task(1))
    screen, other = pty.openpty()
    process = await launch("task", "rm", "--all", url=fake.url, stdin=other, stdout=other)
    os.close(other)
    assert process.stderr is not None
    asked = await asyncio.wait_for(process.stderr.readuntil(b"[y/N] "), 20)
    assert asked.decode() == "Take 1 task off the list? [y/N] "
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    os.close(screen)
    assert (process.returncode, err.strip()) == (130, b"")
    assert len(fake.tasks) == 1


@pytest.mark.parametrize(("said", "left"), [("maybe\ny\n", 0), ("\n", 1), ("no\n", 1), ("\x04", 1)])
async def test_a_question_is_answered_at_the_keys(fake: FakeNode, said: str, left: int) -> None:
    fake.put(task(1))
    screen, other = pty.openpty()
    process = await launch("task", "rm", "--all", url=fake.url, stdin=other)
    os.close(other)
    os.write(screen, said.encode())
    out, err = await asyncio.wait_for(process.communicate(), 20)
    os.close(screen)
    assert len(fake.tasks) == left and process.returncode == (1 if left else 0)
    assert out.decode() == ("" if left else "1 task taken off the list.\n"), "the result alone"
    assert ("Nothing was changed." in err.decode()) is bool(left)


async def test_a_reader_who_has_seen_enough_is_no_error(fake: FakeNode) -> None:
    fake.put(*(task(number) for number in range(1, 1500)))
    reader, writer = os.pipe()
    process = await launch("task", "ls", "--all", "-o", "ndjson", url=fake.url, stdout=writer)
    os.close(writer)
    os.close(reader)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert err == b""


async def test_a_list_from_stdin(fake: FakeNode) -> None:
    ran = await ariacluster("add", "--input-file", "-", url=fake.url, stdin="http://o/1\nhttp://o/2\n")
    assert ran.code == 0
    assert [task.name for task in fake.tasks.values()] == ["1", "2"]


async def test_a_terminal_that_lacks_the_letters_gets_what_looks_like_them(fake: FakeNode) -> None:
    fake.put(task(1, name="日本"), task(2, name="half"))
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    ran = await ariacluster("task", "ls", url=fake.url, environ=ascii_only)
    assert ran.code == 0 and "o pending" in ran.out and "????" in ran.out
    assert len({len(line.partition("waiting")[0]) for line in ran.out.splitlines()[1:]}) == 1, "columns stay columns"
    ran = await ariacluster("task", "ls", "-o", "json", url=fake.url, environ=ascii_only)
    assert json.loads(ran.out)[0]["name"] == "日本", "JSON has a way to say it all the same"


async def test_exit_codes() -> None:
    assert (await ariacluster("status", url="http://127.0.0.1:1")).code == 3
    assert (await ariacluster("status", "--wrong")).code == 2
    assert (await ariacluster("--version")).code == 0
