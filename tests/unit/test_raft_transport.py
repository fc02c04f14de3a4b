"""What the library's messages become before it sees them, and before they leave."""

from typing import Any

import pytest
from pysyncobj.transport import TCPTransport

from ariacluster_node.adapters.raft.transport import Transport

Entry = tuple[bytes, int, int]


class Raft:
    """What the transport asks of the library's machine: a log with one entry an index, by their terms."""

    raftCurrentTerm = 5

    def __init__(self, *terms: int) -> None:
        self.commits: list[int] = []
        self._SyncObj__raftLog = log(*terms)

    def heard(self, commit_index: int) -> None:
        self.commits.append(commit_index)

    def _SyncObj__getEntries(self, first: int, count: int) -> list[Entry]:
        return self._SyncObj__raftLog[first - 1 : first - 1 + count] if first > 0 else []


def log(*terms: int, first: int = 1) -> list[Entry]:
    return [(b"x", first + place, term) for place, term in enumerate(terms)]


def through(raft: Raft, message: dict[str, Any]) -> dict[str, Any] | None:
    """The message as the library gets it."""
    got: list[dict[str, Any]] = []
    transport = Transport.__new__(Transport)
    transport._syncObj = raft
    transport.setOnMessageReceivedCallback(lambda node, message: got.append(message))
    transport._onMessageReceived(None, message)
    return got[0] if got else None


def append(previous: int, previous_term: int, *terms: int, commit: int = 9) -> dict[str, Any]:
    return {
        "type": "append_entries",
        "term": 5,
        "commit_index": commit,
        "prevLogIdx": previous,
        "prevLogTerm": previous_term,
        "entries": log(*terms, first=previous + 1),
    }


def test_a_piece_of_a_snapshot_commits_nothing() -> None:
    raft = Raft(1)
    got = through(raft, {"type": "append_entries", "term": 5, "commit_index": 9, "serialized": None})
    assert got is not None and got["commit_index"] == 0
    assert raft.commits == [9]


def test_an_acknowledgement_counts_in_its_own_term_only() -> None:
    assert through(Raft(1), {"type": "next_node_idx", "term": 4}) is None
    assert through(Raft(1), {"type": "next_node_idx"}) is None
    assert through(Raft(1), {"type": "next_node_idx", "term": 5}) is not None


@pytest.mark.parametrize(
    ("own", "told", "expected"),
    [
        pytest.param((1, 1, 5), append(3, 5, 5, 5), append(3, 5, 5, 5), id="all new"),
        pytest.param((1, 1, 5), append(1, 1, 1, 5, 5), append(3, 5, 5), id="some known, one new"),
        pytest.param((1, 1, 4, 4), append(2, 1, 5), append(2, 1, 5), id="conflict"),
        pytest.param((1, 1, 4, 4), append(1, 1, 1, 5), append(2, 1, 5), id="known, then conflict"),
        pytest.param((1, 1, 5, 5), append(1, 1, 1), append(4, 5, commit=2), id="an old one again"),
        pytest.param((1, 1, 5, 5), append(2, 1, 5, 5), append(4, 5, commit=4), id="the last one again"),
        pytest.param((1, 1, 5, 5), append(2, 1, commit=1), append(4, 5, commit=1), id="a heartbeat of old"),
        pytest.param((1, 1), append(7, 5, 5), append(7, 5, 5), id="a gap"),
        pytest.param((1, 1, 4), append(3, 5, 5), append(3, 5, 5), id="another past"),
    ],
)
def test_what_the_log_has_is_left_there(own: tuple[int, ...], told: dict[str, Any], expected: dict[str, Any]) -> None:
    assert through(Raft(*own), told) == expected


def test_no_more_is_vouched_for_than_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(TCPTransport, "send", lambda self, node, message: sent.append(message))
    transport = Transport.__new__(Transport)
    transport._syncObj = Raft(1, 1, 4, 4)

    def answer(node: object, message: dict[str, Any]) -> None:  # as the library does: up to the end of what it has
        transport.send(None, {"type": "next_node_idx", "next_node_idx": message["prevLogIdx"] + 1, "success": True})

    transport.setOnMessageReceivedCallback(answer)
    transport._onMessageReceived(None, append(1, 1, 1))
    assert sent == [{"type": "next_node_idx", "next_node_idx": 3, "success": True, "term": 5}]
    transport.send(None, {"type": "next_node_idx", "next_node_idx": 5, "success": True})
    assert sent[1]["next_node_idx"] == 5  # it holds for that one answer only
