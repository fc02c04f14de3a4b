"""`config/ariacluster.service`: as systemd reads it, and a node in it under a real systemd, shut in as on a machine."""

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support import systemd
from tests.support.commands import Failed
from tests.support.processes import until
from tests.support.systemd import Systemd

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "config" / "ariacluster.service"
INSTALLED = "/opt/ariacluster/bin/ariacluster"
ARIACLUSTER = Path(sys.executable).with_name("ariacluster")
MOST_EXPOSED = 1.5
"""Of 10, as `systemd-analyze security` counts: it must reach the network, and may do little else."""

# The program of this checkout in the place of an installed one, and its Python, wherever they are; and less patience.
HERE = f"""
[Service]
ExecStart=
ExecStart={ARIACLUSTER} up --no-mdns --no-dht
ProtectHome=tmpfs
BindReadOnlyPaths={" ".join(systemd.BROUGHT)}
RestartSec=100ms
"""

PAGE = "import urllib.request as web; print(web.urlopen('http://127.0.0.1:8080/', timeout=10).read().decode())"

analyzed = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def analyze(*words: str | Path) -> str:
    return subprocess.run(["systemd-analyze", *words], check=True, capture_output=True, text=True, timeout=60).stderr


@analyzed
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert f"ExecStart={INSTALLED} up\n" in text
    (tmp_path / UNIT.name).write_text(text.replace(INSTALLED, str(ARIACLUSTER)))
    assert analyze("verify", "--man=no", tmp_path / UNIT.name) == ""


@analyzed
def test_it_is_shut_in() -> None:
    try:
        ran = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this systemd judges no file: {error.stderr}")
    level = re.search(r"exposure level for ariacluster.service: ([0-9.]+)", ran.stdout)
    assert level and float(level[1]) <= MOST_EXPOSED, ran.stdout


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Systemd]:
    if why_not := systemd.missing():
        pytest.skip(f"no systemd of our own: {why_not}")
    async with contextlib.AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(systemd.booted(tmp_path / "root"))
        except Failed as error:
            pytest.skip(f"no systemd of our own: {error}")
        await running.run("useradd", "--system", "--home-dir", "/var/lib/ariacluster", "ariacluster")
        await running.run("install", "-d", "-o", "ariacluster", "/srv/aria-cluster")
        await running.write("/etc/ariacluster/node.toml", 'dir = "/srv/aria-cluster"\n')
        await running.write(f"/etc/systemd/system/{UNIT.name}", UNIT.read_text())
        await running.write(f"/etc/systemd/system/{UNIT.name}.d/here.conf", HERE)
        await running.run("systemctl", "daemon-reload")
        yield running


async def start(system: Systemd) -> None:
    """`Failed` with what the node said last."""
    try:
        await system.run("systemctl", "start", UNIT.name)
    except Failed as error:
        said = await system.run("journalctl", "--no-pager", "--lines=30", f"--unit={UNIT.name}")
        raise Failed(f"{error}\n{said}") from None


async def is_up(system: Systemd) -> bool:
    shown = await system.show(UNIT.name, "ActiveState", "StatusText")
    return shown["ActiveState"] == "active" and shown["StatusText"].startswith("up in cluster")


async def test_a_node_lives_in_it_and_is_started_again_only_where_that_helps(system: Systemd) -> None:
    await start(system)
    shown = await system.show(UNIT.name, "ActiveState", "MainPID")
    assert shown["ActiveState"] == "active", "it said that it serves"
    await until(lambda: is_up(system), "it says that it is up", timeout=30)

    status = await system.run("cat", f"/proc/{shown['MainPID']}/status")
    assert re.search(r"^NoNewPrivs:\s1$", status, re.M) and re.search(r"^Seccomp:\s2$", status, re.M)
    assert re.search(r"^CapBnd:\s0+$", status, re.M) and not re.search(r"^Uid:\s0\s", status, re.M)

    # Its web app lives in there with it.
    async def page() -> str:
        try:
            return await system.run(sys.executable, "-c", PAGE)
        except Failed:  # it needs a moment longer than the node
            return ""

    assert "Aria Cluster" in await until(page, "the web app answers", timeout=60)

    # It downloads, with an engine that is shut in as it is.
    await system.run("systemd-run", "--unit=origin", "python3", "-m", "http.server", "9000", "--directory", str(ROOT))
    added = await system.run(ARIACLUSTER, "-o", "json", "add", "http://127.0.0.1:9000/LICENSE")

    async def here() -> str:
        try:
            return await system.run("cat", "/srv/aria-cluster/LICENSE")
        except Failed:
            return ""

    try:
        assert await until(here, "the file is there", timeout=30) == (ROOT / "LICENSE").read_text()
    except TimeoutError:
        pytest.fail(f"{added}\n{await system.run('journalctl', '--no-pager', f'--unit={UNIT.name}')}")
    modes = await system.run("stat", "--format=%a %U", "/var/lib/ariacluster", "/srv/aria-cluster/LICENSE")
    assert modes.splitlines() == ["700 ariacluster", "640 ariacluster"]

    # Killed, it is started again, with what it had.
    await system.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT.name)

    async def again() -> bool:
        return (await system.show(UNIT.name, "NRestarts"))["NRestarts"] == "1" and await is_up(system)

    await until(again, "it is started again", timeout=30)
    tasks = msgspec.json.decode(await system.run(ARIACLUSTER, "-o", "json", "task", "ls"))
    assert [task["status"] for task in tasks] == ["completed"]

    # Told to stop, it says goodbye, and nothing of it stays.
    await system.run("systemctl", "stop", UNIT.name)
    shown = await system.show(UNIT.name, "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    with pytest.raises(Failed):
        await system.run("pgrep", "aria2c")

    # What may go by itself is waited for.
    await system.run("chown", "root", "/srv/aria-cluster")
    with pytest.raises(Failed, match=r"error: The node cannot|Choose another folder"):
        await start(system)
    await system.run("chown", "ariacluster", "/srv/aria-cluster")
    await until(lambda: is_up(system), "it is up once its folder can be written", timeout=30)
    await system.run("systemctl", "stop", UNIT.name)

    # What does not is left to people.
    await system.write("/etc/ariacluster/node.toml", "slot = 3\n")
    with pytest.raises(Failed, match="Did you mean 'slots'"):
        await start(system)
    shown = await system.show(UNIT.name, "ActiveState", "ExecMainStatus", "NRestarts")
    assert shown == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
