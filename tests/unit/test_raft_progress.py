"""What a leader knows of a follower's log."""

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ariacluster_node.adapters.raft.progress import Progress


def outgoing(index: int, closed: list[int]) -> Any:
    return SimpleNamespace(meta=SimpleNamespace(index=index), close=lambda: closed.append(index))


def test_it_probes_until_the_log_agrees_somewhere() -> None:
    progress = Progress(10, 0.0)
    assert progress.probing and progress.next == 10
    progress.rejected(4, 1.0)
    assert progress.probing and progress.answered and progress.next == 5
    progress.accepted(7)
    assert not progress.probing and (progress.match, progress.next) == (7, 8)


def test_a_late_rejection_says_nothing() -> None:
    progress = Progress(10, 0.0)
    progress.accepted(9)
    progress.rejected(8, 1.0)
    assert (progress.match, progress.next, progress.probing) == (9, 10, False)


def test_a_rejection_of_what_was_sent_before_the_probe_says_nothing() -> None:
    progress = Progress(10, 0.0)
    progress.rejected(5, 1.0)
    progress.probed, progress.answered = 2.0, False
    progress.rejected(3, 1.5)
    assert progress.next == 6 and not progress.answered
    progress.rejected(3, 2.0)
    assert progress.next == 4 and progress.answered


def test_what_was_on_its_way_when_the_link_broke_is_sent_again() -> None:
    progress = Progress(10, 0.0)
    progress.accepted(9)
    progress.next = 50
    progress.lost()
    assert progress.next == 10 and progress.probing and progress.answered


def test_a_snapshot_is_held_open_until_it_arrived() -> None:
    closed: list[int] = []
    progress = Progress(10, 0.0)
    first = progress.begin_sending(lambda: outgoing(100, closed))
    assert progress.begin_sending(lambda: outgoing(200, closed)) is first
    progress.accepted(99)
    assert not closed
    progress.accepted(100)
    assert closed == [100] and progress.outgoing is None and progress.next == 101


def test_the_present_of_a_follower_is_the_time_of_what_it_answered() -> None:
    progress = Progress(10, 1.0)
    progress.heard(5.0, 6.0)
    progress.heard(4.0, 7.0)
    assert (progress.acknowledged, progress.responded) == (5.0, 7.0)


@given(st.lists(st.tuples(st.sampled_from("ARL"), st.integers(0, 30), st.floats(0, 10))))
def test_what_is_known_to_agree_is_never_sent_again_nor_forgotten(said: list[tuple[str, int, float]]) -> None:
    progress, best = Progress(10, 0.0), 0
    for what, index, sent in said:
        if what == "A":
            progress.accepted(index)
            best = max(best, index)
        elif what == "R":
            progress.rejected(index, sent)
        else:
            progress.lost()
        assert progress.match == best
        assert progress.next > progress.match
