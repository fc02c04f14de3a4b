"""What systemd hears of a node, on a socket as it opens one."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ariacluster_node.adapters.system.supervisor import Supervisor
from tests.support.processes import until


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(
            str(tmp_path / "notify") if request.param == "path" else f"\0ariacluster-{tmp_path.name}-{os.getpid()}"
        )
        door.setblocking(False)
        yield door


def environment(systemd: socket.socket, **more: str) -> dict[str, str]:
    name = systemd.getsockname()
    return {"NOTIFY_SOCKET": name if isinstance(name, str) else f"@{name[1:].decode()}", **more}


def heard(systemd: socket.socket) -> list[str]:
    said = []
    while True:
        try:
            said.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return said


async def test_it_tells_that_it_serves_how_it_is_and_that_it_stops(systemd: socket.socket) -> None:
    supervisor = Supervisor(environment(systemd))
    supervisor.ready()
    supervisor.status("up in cluster 'home'")
    supervisor.stopping()
    await supervisor.run()  # nobody asked for signs of life
    assert heard(systemd) == ["READY=1", "STATUS=up in cluster 'home'", "STOPPING=1"]


async def test_it_tells_that_it_lives_more_often_than_it_must(systemd: socket.socket) -> None:
    supervisor = Supervisor(environment(systemd, WATCHDOG_USEC="20000", WATCHDOG_PID=str(os.getpid())))
    living = asyncio.create_task(supervisor.run())
    said: list[str] = []

    def three() -> bool:
        said.extend(heard(systemd))
        return len(said) >= 3

    await until(three, "three signs of life")
    living.cancel()
    assert set(said) == {"WATCHDOG=1"}


async def test_signs_of_life_that_another_process_owes_are_not_given(systemd: socket.socket) -> None:
    await Supervisor(environment(systemd, WATCHDOG_USEC="20000", WATCHDOG_PID="1")).run()
    assert heard(systemd) == []


async def test_without_one_nothing_is_said() -> None:
    supervisor = Supervisor({"WATCHDOG_USEC": "20000"})
    supervisor.ready()
    await supervisor.run()


def test_one_that_is_gone_or_does_not_listen_is_no_trouble(tmp_path: Path) -> None:
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        supervisor = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
        for _ in range(1000):  # more than it keeps for one that does not read
            supervisor.ready()


def test_children_do_not_inherit_it(systemd: socket.socket) -> None:
    given = environment(systemd, WATCHDOG_USEC="20000", WATCHDOG_PID="1", PATH="/bin")
    Supervisor(given)
    assert given == {"PATH": "/bin"}
