"""What of pysyncobj is replaced when the adapter is imported, and that nothing of it is left."""

import importlib
import io
import os
import pickle
import pkgutil
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pysyncobj
import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.raft import library
from ariacluster_node.adapters.raft.core import Core
from ariacluster_node.adapters.raft.store.disk import Disk
from ariacluster_node.adapters.raft.store.snapshots import Snapshots
from ariacluster_node.adapters.raft.store.wal import Wal
from ariacluster_node.adapters.raft.store.write import Write

EXECUTED: list[str] = []
PICKLING = ("load", "loads", "dump", "dumps")


def note(text: str) -> None:
    EXECUTED.append(text)


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return note, ("boom",)


@pytest.fixture(autouse=True)
def as_installed() -> Iterator[None]:
    EXECUTED.clear()
    yield
    library.install()


def modules() -> list[ModuleType]:
    """Every one of the library, loaded by now."""
    return [
        importlib.import_module(f"pysyncobj.{info.name}")
        for info in pkgutil.iter_modules(pysyncobj.__path__)
        if info.name not in ("syncobj_admin", "win_inet_pton")  # a program; and what undoes itself below
    ]


# -- pickle ----------------------------------------------------------------------------------------------------------


def test_the_bomb_is_one() -> None:
    """Else the tests below would see nothing."""
    pickle.loads(pickle.dumps(Bomb()))
    assert EXECUTED == ["boom"]


@pytest.mark.parametrize("name", PICKLING)
def test_the_librarys_pickle_refuses(name: str) -> None:
    bomb = pickle.dumps(Bomb(), protocol=2)
    given: dict[str, tuple[Any, ...]] = {
        "load": (io.BytesIO(bomb),),
        "loads": (bomb,),
        "dump": (Bomb(), io.BytesIO()),
        "dumps": (Bomb(),),
    }
    with pytest.raises(library.Unpicklable):
        getattr(sys.modules["pysyncobj.pickle"], name)(*given[name])
    assert EXECUTED == []


def test_no_module_of_the_library_can_pickle_or_unpickle() -> None:
    reached = 0
    for module in modules():
        for name, value in vars(module).items():
            held = (
                vars(value) if isinstance(value, ModuleType) and value.__name__ == "pysyncobj.pickle" else {name: value}
            )
            for inner, function in held.items():
                if isinstance(function, FunctionType) and inner in PICKLING:
                    reached += 1
                    with pytest.raises(library.Unpicklable):
                        function(b"", io.BytesIO())
    assert reached > 10, "the library imports it in several ways"


def test_no_module_of_the_library_holds_the_original_functions() -> None:
    """Not under another name either."""
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, FunctionType) and value.__module__ == "pysyncobj.pickle":
                assert value.__name__ not in PICKLING, f"{module.__name__}.{name}"


def test_modules_loaded_later_get_the_refusing_ones() -> None:
    code = (
        "import ariacluster_node.adapters.raft.library as library, sys\n"
        "import pysyncobj.journal, pysyncobj.tcp_connection, pysyncobj.batteries, pysyncobj.transport\n"
        "for loads in (pysyncobj.journal.loads, pysyncobj.tcp_connection.pickle.loads):\n"
        "    try:\n"
        "        loads(b'N.')\n"
        "    except library.Unpicklable:\n"
        "        continue\n"
        "    sys.exit('it unpickles')\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_pythons_own_pickle_is_left_alone() -> None:
    """It is not ours; other libraries may need it."""
    assert pickle.loads(pickle.dumps([1, "two"])) == [1, "two"]


# -- time, journal, poller, sockets ----------------------------------------------------------------------------------


def test_the_clock_is_the_one_that_was_handed_in() -> None:
    library.install(lambda: 41.5)
    assert library.now() == 41.5
    assert sys.modules["pysyncobj.syncobj"].monotonicTime() == 41.5


def test_the_journal_is_what_is_handed_in_as_its_name() -> None:
    log = object()
    assert sys.modules["pysyncobj.syncobj"].createJournal(log) is log


def test_install_twice_is_as_once() -> None:
    library.install()
    library.install()
    with pytest.raises(library.Unpicklable):
        sys.modules["pysyncobj.pickle"].loads(b"N.")


@pytest.mark.parametrize("name", ["inet_pton", "inet_ntop"])
def test_the_socket_module_is_intact(name: str) -> None:
    assert getattr(socket, name) is getattr(__import__("_socket"), name)


@pytest.mark.parametrize(("family", "text"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "fe80::1")])
def test_addresses_become_bytes_and_back(family: socket.AddressFamily, text: str) -> None:
    assert socket.inet_ntop(family, socket.inet_pton(family, text)) == text


# -- what a core costs -----------------------------------------------------------------------------------------------


class Outside:
    """Host and links of a core that nobody hears."""

    def admits(self, payload: bytes) -> bool:
        return True

    def __init__(self) -> None:
        self.applied: list[bytes] = []

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> None:
        self.applied += [payload for _, payload in entries]

    def write(self, write: Write) -> None:
        write.run()

    def congested(self, node: str) -> bool:
        return False

    def send(self, node: str, message: object) -> bool:
        return False

    def _nothing(self, *_: Any) -> None:
        """Nobody hears."""

    flush = want = settle = restore = freeze = changed = _nothing


def core_in(folder: Path, outside: Outside) -> Core:
    folder.mkdir(exist_ok=True)
    disk = Disk(folder)
    return Core(
        "a",
        found=("a",),
        wal=Wal(disk, base=None, entropy=os.urandom),
        snapshots=Snapshots(disk),
        links=outside,
        host=outside,
        dice=lambda: 0.5,
    )


def open_files() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # the listing itself
            continue
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux tells what is open")
def test_a_core_opens_its_log_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No poller, no pipe, no socket, no thread; and the log is closed with it."""
    for name in ("epoll", "poll", "select"):
        monkeypatch.delattr(select, name)
    seconds = 0.0
    library.install(lambda: seconds)
    before, threads = open_files(), threading.active_count()
    outside = Outside()
    cores = [core_in(tmp_path / str(number), outside) for number in range(5)]
    for core in cores:
        for _ in range(20):
            seconds += 0.1  # until it has elected itself
            core.tick()
        core.submit(b"one", None)
        for _ in range(3):
            core.tick()
    assert outside.applied == [b"one"] * 5, "they live"
    more = [name for name in open_files() if name not in before]
    assert len(open_files()) == len(before) + 5
    assert all(Path(name).is_relative_to(tmp_path) for name in more), more
    assert threading.active_count() == threads
    for core in cores:
        core.close()
    assert open_files() == before


# -- version ---------------------------------------------------------------------------------------------------------


def test_the_installed_version_is_the_one_that_it_was_written_for() -> None:
    library.check_version()
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert f'"pysyncobj=={library.NEEDED_VERSION}"' in project.read_text()


@pytest.mark.parametrize("version", ["0.3.14", "0.3.18", "1.0.0", ""])
def test_another_version_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(library, "VERSION", version)
    with pytest.raises(StartFailed) as failed:
        library.check_version()
    assert library.NEEDED_VERSION in failed.value.detail
    assert version in failed.value.detail
    assert "pip install" in failed.value.detail
