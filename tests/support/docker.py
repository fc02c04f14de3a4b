"""A Docker daemon of a test's own: in namespaces that end with it, on a disk in memory, offline. Nothing of it is left.

No registry is asked: the base image is made from the packages of this machine's own Debian, with the wheels that the program
needs beside it. Both are kept in the user's cache folder, for making them takes longer than the test.
"""

import asyncio
import functools
import hashlib
import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import msgspec
import platformdirs
import psutil

from tests.lab.available import namespaces, path
from tests.support import cgroups, processes
from tests.support.commands import ROOT, Failed, said

ASKED_FOR = "ARIACLUSTER_TEST_DOCKER"
"""1: such a test fails where there is no Docker, instead of being skipped; 0: it is skipped where there is."""

BASE = "base:with-wheels"
PYTHON = "/usr/bin/python3"
_PACKAGES = ("ca-certificates", "python3", "python3-venv", "tini")
_MEMORY_BYTES = 3_000_000_000

# Its own sockets have long names, and a socket's path no more than 107 bytes: they go to a /run that only it sees.
_DAEMON = """
ip link set lo up
mount --make-rprivate /
mount -t tmpfs -o size=2g tmpfs "$1/root"
mount -t tmpfs tmpfs /run
exec dockerd --data-root "$1/root" --exec-root /run/docker --pidfile /run/docker.pid --host "unix://$1/sock" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2"
"""

_WITH_WHEELS = """
FROM base:plain
COPY . /wheels
ENV PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels
"""


@functools.cache
def missing() -> str | None:
    """None where a daemon can be tried, else why not."""
    if os.environ.get(ASKED_FOR) == "0":
        return f"{ASKED_FOR} is 0"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Docker daemon of our own needs root on Linux"
    needs = {"dockerd": "docker.io", "docker": "docker.io", "docker-compose": "docker-compose", "ip": "iproute2"}
    needs |= {"mmdebstrap": "mmdebstrap", "iptables": "iptables", "nsenter": "util-linux", PYTHON: "python3"}
    if lacking := {package for program, package in needs.items() if not shutil.which(program, path=path())}:
        return f"programs that are not here: apt-get install {' '.join(sorted(lacking))}"
    if psutil.virtual_memory().available < _MEMORY_BYTES:
        return f"less than {_MEMORY_BYTES // 10**9} GB of memory are free, in which its disk would be"
    return None


class Docker:
    """A daemon that runs; `project` is the name that compose gives its containers."""

    def __init__(self, folder: Path, pid: int, project: str) -> None:
        self.project = project
        self._folder = folder
        self._pid = pid

    async def docker(self, *words: str) -> str:
        """Its output; `Failed` with that and its errors."""
        return await self._run("docker", *words)

    async def compose(self, *words: str) -> str:
        """Of the checkout's own compose.yaml."""
        return await self._run("docker-compose", "--project-name", self.project, *words)

    async def near(self, *command: str | Path) -> str:
        """The output of a command that runs where the daemon's published ports are."""
        return await said("nsenter", f"--target={self._pid}", "--net", *command)

    async def inspect(self, name: str) -> Any:
        """What is known of one container or image."""
        [known] = msgspec.json.decode(await self.docker("inspect", name))
        return known

    async def _run(self, *words: str) -> str:
        environment = {
            "DOCKER_HOST": f"unix://{self._folder}/sock",
            "DOCKER_CONFIG": str(self._folder / "config"),
            "DOCKER_BUILDKIT": "0",  # its plugin is not in Debian
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }
        return await said(*words, env=environment)


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Docker]:
    """One that has the image `BASE`. `Failed` with the end of its log if it does not start."""
    plain, wheels = await _plain(folder), await _wheels(folder)
    (folder / "root").mkdir(parents=True)
    await asyncio.to_thread(cgroups.sweep)
    cgroup = cgroups.new_name()
    process = await processes.start(
        [*namespaces(), "sh", "-ec", _DAEMON, "sh", folder, cgroup], folder, name="dockerd", env={"PATH": path()}
    )
    try:
        try:
            await process.wait_for_text("API listen on", timeout=30)
        except AssertionError as error:
            raise Failed(str(error)) from None
        [inside] = await asyncio.to_thread(psutil.Process(process.pid).children)
        docker = Docker(folder, inside.pid, f"test{secrets.token_hex(3)}")
        await docker.docker("import", str(plain), "base:plain")
        recipe = folder / "Dockerfile"
        recipe.write_text(_WITH_WHEELS)
        await docker.docker("build", "--quiet", "--tag", BASE, "--file", str(recipe), str(wheels))
        yield docker
    finally:
        await process.signal_family(SIGKILL)  # the first process of its namespaces among them, and so all the others
        await process.stop()
        await processes.until(lambda: not cgroups.sweep(), "the kernel lets go of its groups", timeout=10)


async def _plain(folder: Path) -> Path:
    """The root of a small Debian, as an archive."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    suite = release["VERSION_CODENAME"].strip('"')
    kept = _cache() / f"{suite}-{'-'.join(_PACKAGES)}.tar"
    if not kept.exists():
        fresh = kept.with_suffix(".new.tar")
        made = await processes.start(
            ["mmdebstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", suite, fresh],
            folder,
            name="mmdebstrap",
        )
        try:
            if await made.wait(timeout=300):
                raise Failed(f"no base image could be made: {await made.text()}")
        finally:
            await made.stop()
        fresh.replace(kept)
    return kept


async def _wheels(folder: Path) -> Path:
    """What the program and its build need, for the Python of the base image, which is the one of this machine's Debian."""
    needs = (ROOT / "pyproject.toml").read_bytes()
    kept = _cache() / f"wheels-{hashlib.sha256(needs).hexdigest()[:16]}"
    if not kept.exists():
        fresh = folder / "wheels"
        pip = [sys.executable, "-m", "pip", "--python", PYTHON, "wheel", "--quiet", "--wheel-dir", str(fresh)]
        await said(*pip, str(ROOT), "setuptools>=77", "wheel")
        for ours in fresh.glob("ariacluster-*"):
            ours.unlink()
        await asyncio.to_thread(shutil.copytree, fresh, kept)
    return kept


def _cache() -> Path:
    folder = Path(platformdirs.user_cache_dir("ariacluster-tests"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
