"""Snapshots on disk and on their way to another node."""

import os
from collections.abc import Callable
from pathlib import Path

import pysyncobj
import pytest

from ariacluster_node.adapters.raft.disk import Entry, Meta, Snapshot, Snapshots

LAST: Entry = (b"\x00x", 7, 2)
BEFORE: Entry = (b"\x01", 6, 1)


class Shelf:
    """A folder with the snapshots of one node."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.state = b""
        self.known = False
        self.restored: list[tuple[int, bytes]] = []
        self.store = Snapshots(
            folder / "snapshot",
            freeze=self._freeze,
            restore=lambda index, state: self.restored.append((index, state)),
            has=lambda entry: self.known,
        )

    def _freeze(self) -> bytes:
        if not self.state:
            raise TimeoutError
        return self.state

    def make(self, state: bytes) -> int:
        self.state = state
        self.store.serialize((None, LAST, BEFORE, {pysyncobj.node.TCPNode("a:1")}), 6)
        return self.store.checkSerializing()[0]


@pytest.fixture
def shelf(tmp_path: Path) -> Callable[[str], Shelf]:
    return lambda name: Shelf(tmp_path / name)


def pieces(store: Snapshots, node: str) -> list[tuple[bytes, bool, bool]]:
    found: list[tuple[bytes, bool, bool]] = []
    while not found or not found[-1][2]:
        piece = store.getTransmissionData(node)
        assert piece is not None
        found.append(piece)
    return found


def test_a_snapshot_survives_its_way_in_pieces(shelf: Callable[[str], Shelf]) -> None:
    sender, receiver, state = shelf("from"), shelf("to"), os.urandom(300_000)
    assert sender.make(state) == pysyncobj.SERIALIZER_STATE.SUCCESS
    assert sender.store.checkSerializing() == (pysyncobj.SERIALIZER_STATE.NOT_SERIALIZING, None)
    sent = pieces(sender.store, "b")
    assert [first for _, first, _ in sent] == [True] + [False] * (len(sent) - 1)
    assert not receiver.store.setTransmissionData(sent[1])  # without a beginning
    assert [receiver.store.setTransmissionData(piece) for piece in sent] == [False] * (len(sent) - 1) + [True]
    assert receiver.store.deserialize()[:3] == (None, LAST, BEFORE)
    assert receiver.store.read() == Snapshot(last=LAST, before=BEFORE, voters=("a:1",), state=state)
    assert receiver.restored == [(7, state)]
    assert pieces(sender.store, "b") == sent  # from the beginning again


def test_one_that_is_cut_short_or_cancelled_begins_anew(shelf: Callable[[str], Shelf]) -> None:
    sender, receiver = shelf("from"), shelf("to")
    sender.make(os.urandom(100_000))
    first = sender.store.getTransmissionData("b")
    assert not receiver.store.setTransmissionData(first)
    sender.store.cancelTransmisstion("b")
    assert receiver.store.setTransmissionData(pieces(sender.store, "b")[0]) is False
    assert sender.store.getTransmissionData("b") == first


def test_rubbish_and_what_is_known_are_not_taken_in(shelf: Callable[[str], Shelf]) -> None:
    sender, receiver = shelf("from"), shelf("to")
    receiver.make(b"mine")
    sender.make(b"theirs")
    assert not receiver.store.setTransmissionData((b"rubbish", True, True))
    receiver.known = True
    assert not receiver.store.setTransmissionData(sender.store.getTransmissionData("b"))
    kept = receiver.store.read()
    assert kept is not None and kept.state == b"mine"


def test_one_that_cannot_be_made_leaves_the_old_one(shelf: Callable[[str], Shelf]) -> None:
    mine = shelf("mine")
    assert mine.make(b"old") == pysyncobj.SERIALIZER_STATE.SUCCESS
    assert mine.make(b"") == pysyncobj.SERIALIZER_STATE.FAILED
    kept = mine.store.read()
    assert kept is not None and kept.state == b"old"


def test_term_and_vote_are_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.meta")
    assert Meta(path).getMeta() == {}
    Meta(path).storeMeta({"currentTerm": 3, "votedForNodeId": "a:1", "raftCommitIndex": 7})
    assert Meta(path).getMeta() == {"currentTerm": 3, "votedForNodeId": "a:1", "raftCommitIndex": 7}
