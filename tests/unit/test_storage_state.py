"""The node's data folder: made once, held by one, and never believed when damaged."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ariacluster.domain.errors import StartFailed
from ariacluster.domain.formation import Membership
from ariacluster_node.adapters.storage.state import NodeState
from ariacluster_node.ports import Heritage

MEMBERSHIP = Membership(cluster_id="c0ffee", cluster_name="Zuhause", key="ab" * 32, peers={"a" * 16: "10.0.0.1:8001"})


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def state(tmp_path: Path) -> NodeState:
    return NodeState(tmp_path / "deep" / "data")


async def test_the_identity_is_made_once_and_private(state: NodeState) -> None:
    await state.lock()
    first = await state.identity()
    assert len(first) == 16 and int(first, 16) >= 0
    assert await state.identity() == first
    await state.unlock()
    again = NodeState(state.folder)
    await again.lock()
    assert await again.identity() == first
    await again.unlock()
    assert mode(state.folder) == 0o700
    assert {mode(path) for path in state.folder.iterdir()} == {0o600}


async def test_nodes_have_different_identities(tmp_path: Path) -> None:
    ids = set()
    for n in range(10):
        state = NodeState(tmp_path / str(n))
        await state.lock()
        ids.add(await state.identity())
        await state.unlock()
    assert len(ids) == 10


async def test_the_membership_comes_back(state: NodeState) -> None:
    await state.lock()
    assert await state.membership() is None
    await state.save_membership(MEMBERSHIP)
    assert await state.membership() == MEMBERSHIP
    assert mode(state.folder / "membership.json") == 0o600
    await state.unlock()


async def test_a_write_cut_short_leaves_the_old(state: NodeState, monkeypatch: pytest.MonkeyPatch) -> None:
    await state.lock()
    await state.save_membership(MEMBERSHIP)

    def fail(_fd: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StartFailed, match="cannot be written: No space left"):
            await state.save_membership(Membership(cluster_id="x", cluster_name="x", key="00", peers={}))
    assert await state.membership() == MEMBERSHIP
    await state.save_membership(MEMBERSHIP)  # what the first one left is in nobody's way
    await state.unlock()


async def test_the_key_never_shows(state: NodeState) -> None:
    assert MEMBERSHIP.key not in repr(MEMBERSHIP) and MEMBERSHIP.key not in str([MEMBERSHIP])


async def test_a_second_node_is_refused_and_told_who_has_it(state: NodeState) -> None:
    await state.lock()
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from ariacluster_node.adapters.storage.state import NodeState\n"
        "from ariacluster.domain.errors import StartFailed\n"
        "try: asyncio.run(NodeState(Path(sys.argv[1])).lock())\n"
        "except StartFailed as error: sys.exit(error.detail)\n"
    )
    command = [sys.executable, "-c", script, str(state.folder)]
    second = await asyncio.to_thread(run, command)
    assert second.returncode == 1
    assert f"is in use by another node (pid {os.getpid()})" in second.stderr
    with pytest.raises(StartFailed, match="in use"):
        await NodeState(state.folder).lock()
    await state.unlock()
    await state.unlock()
    third = await asyncio.to_thread(run, command)
    assert third.returncode == 0, third.stderr


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b'{"v":1}', b'{"v":1,"node_id":"../../etc"}'])
async def test_a_damaged_identity_stops_the_start(state: NodeState, data: bytes) -> None:
    await state.lock()
    (state.folder / "identity.json").write_bytes(data)
    with pytest.raises(StartFailed, match=r"identity\.json is damaged .*Restore it"):
        await state.identity()
    await state.unlock()


@pytest.mark.parametrize("change", [{"key": ""}, {"key": "xyz"}, {"cluster_id": ""}, {"peers": "a"}, {"key": None}])
async def test_a_damaged_membership_stops_the_start(state: NodeState, change: dict[str, object]) -> None:
    whole = {"cluster_id": "c", "cluster_name": "n", "key": "ab", "peers": {}}
    await state.lock()
    (state.folder / "membership.json").write_text(json.dumps({"v": 3, "membership": whole}))
    assert await state.membership()
    (state.folder / "membership.json").write_text(json.dumps({"v": 3, "membership": whole | change}))
    with pytest.raises(StartFailed, match=r"membership\.json is damaged"):
        await state.membership()
    await state.unlock()


async def test_a_newer_format_is_named(state: NodeState) -> None:
    await state.lock()
    (state.folder / "membership.json").write_text('{"v": 4, "what": "ever"}')
    with pytest.raises(StartFailed, match=r"membership\.json was written by a newer Aria Cluster"):
        await state.membership()
    await state.unlock()


async def test_an_older_format_is_named(state: NodeState) -> None:
    """The one with voters and addresses: its log cannot be read either."""
    old = {"v": 1, "membership": {"cluster_id": "c", "cluster_name": "n", "key": "ab", "voters": ["10.0.0.1:8001"]}}
    await state.lock()
    (state.folder / "membership.json").write_text(json.dumps(old))
    with pytest.raises(StartFailed, match=r"older Aria Cluster \(format 1\).*empty data folder"):
        await state.membership()
    await state.unlock()


def write_log(folder: Path, name: str = "log-000000000001", data: bytes = b"an entry") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


async def test_a_log_that_is_there_is_fine(state: NodeState) -> None:
    await state.lock()
    raft = state.log_folder(MEMBERSHIP.cluster_id)
    await state.check_log(None)
    await state.check_log(MEMBERSHIP)  # killed before it had one
    write_log(raft)
    await state.check_log(MEMBERSHIP)  # killed before it was noted
    await state.note_log(MEMBERSHIP.cluster_id)
    await state.note_log(MEMBERSHIP.cluster_id)
    await state.check_log(MEMBERSHIP)
    assert mode(state.folder / "log.json") == 0o600
    await state.unlock()


@pytest.mark.parametrize("how", ["no folder", "an empty one", "an empty file", "only the snapshot"])
async def test_a_node_that_lost_its_log_does_not_come_back(state: NodeState, how: str) -> None:
    await state.lock()
    raft = state.log_folder(MEMBERSHIP.cluster_id)
    await state.note_log(MEMBERSHIP.cluster_id)
    match how:
        case "an empty one":
            raft.mkdir(parents=True)
        case "an empty file":
            write_log(raft, data=b"")
        case "only the snapshot":
            write_log(raft, name="snapshot")
    with pytest.raises(StartFailed, match=r"log of this node .* is gone.*empty data folder"):
        await state.check_log(MEMBERSHIP)
    await state.unlock()


async def test_a_log_without_its_cluster_is_nobodys(state: NodeState) -> None:
    await state.lock()
    write_log(state.log_folder(MEMBERSHIP.cluster_id))
    with pytest.raises(StartFailed, match=r"membership\.json is missing"):
        await state.check_log(None)
    await state.unlock()


async def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(StartFailed, match=f"data folder {path} cannot be used"):
            await NodeState(path).lock()


async def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    state = NodeState(tmp_path)
    await state.lock()
    await state.identity()
    assert mode(tmp_path) == 0o755
    await state.unlock()


# -- what it carries ----------------------------------------------------------------------------------------------

HERITAGE = Heritage(of="01d", into="c0ffee", chunks=[b"", bytes(range(256)) * 400, b"\xc1"])


async def again(state: NodeState) -> NodeState:
    """As after a restart."""
    await state.unlock()
    new = NodeState(state.folder)
    await new.lock()
    return new


async def test_what_it_carries_comes_back_for_whom_it_is_meant(state: NodeState) -> None:
    await state.lock()
    assert await state.heritage("c0ffee") is None
    await state.drop_heritage()
    await state.save_heritage(HERITAGE)
    state = await again(state)
    assert await state.heritage("c0ffee") == HERITAGE
    assert await state.heritage("01d") is None
    assert await state.heritage("") is None
    assert {mode(path) for path in state.folder.glob("heritage*")} == {0o600}
    await state.drop_heritage()
    await state.drop_heritage()
    assert await state.heritage("c0ffee") is None
    assert list(state.folder.glob("heritage*")) == []
    await state.unlock()


async def test_what_it_still_carries_outlives_a_step_that_was_not_made(state: NodeState) -> None:
    """It is about to move on, and has not brought all of it where it is. Killed before it has moved, it must still have it."""
    await state.lock()
    await state.save_membership(MEMBERSHIP)
    await state.save_heritage(HERITAGE)
    await state.save_heritage(Heritage(of="c0ffee", into="dada", chunks=[b"all"]))
    state = await again(state)
    await state.tidy("c0ffee")
    assert await state.heritage("c0ffee") == HERITAGE
    assert await state.heritage("dada") is None
    await state.unlock()


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"{}", b"half"])
async def test_a_damaged_heritage_is_named(state: NodeState, damage: bytes) -> None:
    await state.lock()
    await state.save_heritage(HERITAGE)
    [path] = state.folder.glob("heritage*")
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2] if damage == b"half" else damage)
    with pytest.raises(StartFailed, match=rf"{path.name} is damaged .*Restore it"):
        await state.heritage("c0ffee")
    await state.unlock()


async def test_a_disk_that_is_full_keeps_what_was_carried_before(
    state: NodeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    await state.lock()
    await state.save_heritage(HERITAGE)

    def fail(_fd: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StartFailed, match=r"heritage\S* cannot be written: No space left"):
            await state.save_heritage(Heritage(of="x", into="c0ffee", chunks=[]))
    assert await state.heritage("c0ffee") == HERITAGE
    await state.unlock()


async def test_what_belongs_to_clusters_that_it_left_is_removed(state: NodeState) -> None:
    await state.lock()
    await state.tidy("c0ffee")  # nothing there yet
    for cluster in ("c0ffee", "01d", "dada"):
        write_log(state.log_folder(cluster))
        write_log(state.log_folder(cluster), name="snapshot")
    await state.save_membership(MEMBERSHIP)
    await state.note_log("c0ffee")
    await state.save_heritage(HERITAGE)
    await state.tidy("c0ffee")
    assert [path.name for path in (state.folder / "raft").iterdir()] == ["c0ffee"]
    assert len(list(state.log_folder("c0ffee").iterdir())) == 2
    await state.check_log(MEMBERSHIP)
    assert await state.heritage("c0ffee") == HERITAGE, "that is still to be brought"
    await state.tidy("dada")
    assert list(state.folder.glob("heritage*")) == [], "that was meant for another one"
    assert list((state.folder / "raft").iterdir()) == []
    await state.unlock()


async def test_a_log_that_was_noted_for_a_cluster_it_left_is_not_missed(state: NodeState) -> None:
    await state.lock()
    await state.note_log("01d")
    await state.check_log(MEMBERSHIP)
    await state.unlock()
