"""What a shell is offered: at once, from what the node knows, and nothing where nobody answers."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import typer.main

from ariacluster.cli.commands.completion import SCRIPTS
from ariacluster.cli.completion import complete
from ariacluster.cli.known import Known
from ariacluster.cli.main import build
from ariacluster.domain.errors import Overloaded
from ariacluster.wire.resources import OtherClusterResource, SettingsResource
from tests.support.fake_node import FakeNode, ariacluster, completed, failed, node, running, task

ROOT = typer.main.get_command(build())
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
async def fake() -> AsyncIterator[FakeNode]:
    async with FakeNode() as fake:
        fake.nodes = [node("alpha", role="leader", tags={"place": "attic"}), node("pi"), node("two words")]
        fake.put(task(1, **running(1, 2)), task(2, **failed("x")), task(3, **completed(1)))
        yield fake


def offered(line: str, url: str = NOBODY) -> list[str]:
    return [item.word for item in complete(ROOT, line.split(" "), Known(url))]


async def asked(line: str, fake: FakeNode) -> list[str]:
    return await asyncio.to_thread(offered, line, fake.url)


def test_commands_and_their_verbs() -> None:
    assert {"up", "status", "add", "task", "node", "events", "completion"} <= set(offered(""))
    assert "tasks" not in offered(""), "an alias is there for those who know it"
    assert offered("ta") == ["task"] and offered("task mo") == ["move"]
    assert offered("task ls x") == offered("nothing here") == offered("status ") == []


def test_options_and_what_they_take() -> None:
    assert "--state" in offered("task ls --") and "--help" in offered("status -")
    assert offered("task ls --state pa") == ["paused"]
    assert offered("task ls --state=failed,pa") == ["--state=failed,paused"]
    assert offered("-o j") == offered("status -o j") == ["json"]
    assert offered("add --priority u") == ["urgent"]
    assert "-speed" in offered("task ls --sort -") and "node_lost" in offered("events --kind n")
    assert offered("add http://x ") == offered("add --input-file ") == [":files"]
    assert offered("task rm -- --") == []


def test_settings() -> None:
    assert offered("settings get str") == ["strategy"]
    assert offered("settings set strategy=r") == ["strategy=round_robin", "strategy=random"]
    keys = {word.rstrip("=.") for word in offered("settings set min_free=1G ")}
    assert keys == set(SettingsResource.__struct_fields__)


async def test_names_that_the_node_knows(fake: FakeNode) -> None:
    assert await asked("node drain ", fake) == ["alpha", "pi"], "a name that needs quotes is not offered"
    assert await asked("task ls --node p", fake) == await asked("cluster transfer --to p", fake) == ["pi"]
    assert await asked("add --tag pl", fake) == ["place=attic"]
    assert await asked("task move 1 --to al", fake) == ["alpha"]
    fake.others = [OtherClusterResource(id="3f5512ba", members=3, nodes=["attic"])]
    assert await asked("cluster merge ", fake) == ["3f5512ba"]


async def test_tasks_that_a_verb_may_be_said_to(fake: FakeNode) -> None:
    assert await asked("task pause ", fake) == [task(1).id]
    assert await asked("task retry 0", fake) == [task(2).id]
    assert len(await asked("task show ", fake)) == len(await asked("task rm ", fake)) == 3
    assert await asked("task show 00000003", fake) == [task(3).id]


async def test_what_goes_wrong_is_silence(fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered("node drain ") == offered("task show ") == offered("cluster merge ") == []
    fake.refusals = [b"<html>", Overloaded("Too much."), None]
    for _ in range(3):
        assert await asked("node drain ", fake) == []
    held = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    monkeypatch.setattr("ariacluster.cli.known.PATIENCE", 0.05)
    async with await asyncio.start_server(hold, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.to_thread(offered, "node drain ", f"http://127.0.0.1:{port}") == []
        held.set()


async def test_the_program_answers_the_scripts(fake: FakeNode) -> None:
    ran = await ariacluster("__complete", "node", "drain", "", url=fake.url)
    assert (ran.code, ran.out, ran.err) == (0, "alpha\tleader, online\npi\tonline\n", "")
    ran = await ariacluster("__complete", "--url", fake.url, "node", "drain", "p", url=NOBODY)
    assert ran.out == "pi\tonline\n"
    assert (await ariacluster("completion", "tcsh")).code == 2


def shell(name: str, script: str, url: str, folder: Path) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed here")
    (folder / "script").write_text(SCRIPTS[name])
    environ = {**os.environ, "ARIACLUSTER_URL": url, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [name, *(["--norc"] if name == "bash" else []), "-c", script]
    ran = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout


@pytest.mark.parametrize(
    ("line", "words", "reply"),
    [
        ("ariacluster ta", ["ariacluster", "ta"], "[task]"),
        ("x; ariacluster node drain ", ["ariacluster", "node", "drain", ""], "[alpha][pi]"),
        ("ariacluster settings set strategy=ra", ["ariacluster", "settings", "set", "strategy", "=", "ra"], "[random]"),
        ("ariacluster add --tag a= --node p", ["ariacluster", "add", "--tag", "a", "=", "--node", "p"], "[pi]"),
    ],
)
async def test_bash(fake: FakeNode, tmp_path: Path, line: str, words: list[str], reply: str) -> None:
    listed = " ".join(f"'{word}'" for word in words)
    script = (
        f"compopt() {{ :; }}; . ./script; COMP_LINE='{line}' COMP_POINT={len(line)} COMP_CWORD={len(words) - 1}; "
        f"COMP_WORDS=({listed}); _ariacluster; printf '[%s]' \"${{COMPREPLY[@]}}\""
    )
    assert await asyncio.to_thread(shell, "bash", script, fake.url, tmp_path) == reply


async def test_fish(fake: FakeNode, tmp_path: Path) -> None:
    script = 'source ./script; complete -C "ariacluster node drain "; complete -C "ariacluster add scr"'
    told = await asyncio.to_thread(shell, "fish", script, fake.url, tmp_path)
    assert told == "alpha\tleader, online\npi\tonline\nscript\n"


async def test_zsh(fake: FakeNode, tmp_path: Path) -> None:
    script = (
        "compdef() { :; }; _describe() { print -r -- $whole / $open; }; _files() { print files; }; . ./script; "
        "words=(ariacluster node drain ''); CURRENT=4; _ariacluster; "
        "words=(ariacluster settings set strat); _ariacluster; words=(ariacluster add ''); CURRENT=3; _ariacluster"
    )
    told = await asyncio.to_thread(shell, "zsh", script, fake.url, tmp_path)
    assert told == "alpha:leader, online pi:online /\n/ strategy=:\nfiles\n"
