"""Who votes, as the log tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import Conflict, Unavailable
from ariacluster_node.adapters.raft import configurations
from ariacluster_node.adapters.raft.configurations import Configuration, Configurations, majority, refusal

NODES = "abcdefg"


def test_the_last_one_in_the_log_counts() -> None:
    known = Configurations()
    known.add(2, ("a",))
    known.add(5, ("a", "b"))
    assert known.latest == (5, ("a", "b"))
    assert [known.at(index).voters for index in (1, 2, 4, 5, 9)] == [(), ("a",), ("a",), ("a", "b"), ("a", "b")]


def test_what_the_log_loses_does_not_count_any_more() -> None:
    known = Configurations(Configuration(3, ("a",)))
    known.add(5, ("a", "b"))
    known.add(7, ("a", "b", "c"))
    assert not known.cut_from(8)
    left = [(known.cut_from(index), known.latest.since) for index in (6, 1)]
    assert left == [(True, 5), (True, 3)]  # the base is in a snapshot


@given(st.lists(st.integers(1, 30), unique=True), st.integers(0, 31), st.integers(0, 31))
def test_forgetting_what_is_before_the_log_changes_nothing_behind(indexes: list[int], begin: int, asked: int) -> None:
    known, same = Configurations(), Configurations()
    for index in sorted(indexes):
        known.add(index, (str(index),))
        same.add(index, (str(index),))
    known.forget_before(begin)
    assert known.at(max(asked, begin)) == same.at(max(asked, begin))


def test_voters_travel_sorted() -> None:
    assert configurations.decode(configurations.encode({"b", "a"})) == ("a", "b")


OLD = Configuration(5, ("a", "b", "c"))


def ask(new: str, *, old: Configuration = OLD, commit: int = 5, fit: str = "bcd", present: str = "bcd") -> type | None:
    said = refusal(old, tuple(sorted(new)), leader="a", commit=commit, fit=fit, present=present)
    return type(said) if said is not None else None


@pytest.mark.parametrize("new", ["abcd", "ab", "ac"])
def test_one_more_or_less_is_taken(new: str) -> None:
    assert ask(new) is None


@pytest.mark.parametrize("new", ["abc", "abcde", "a", "abd", "xyz", ""])
def test_more_or_less_than_one_change_is_refused(new: str) -> None:
    assert ask(new) is Conflict


def test_a_change_waits_for_the_one_before() -> None:
    assert ask("abcd", commit=4) is Conflict


def test_a_leader_does_not_remove_itself() -> None:
    assert ask("bc") is Conflict


def test_who_has_not_caught_up_does_not_vote() -> None:
    assert ask("abcd", fit="bc") is Unavailable


def test_the_voters_left_must_be_there() -> None:
    assert ask("ab", present="c") is Conflict
    assert ask("ab", present="b") is None
    assert ask("ac", present="c") is None
    assert ask("abcd", present="d", fit="d") is Conflict  # two of four


@given(st.sets(st.sampled_from(NODES), min_size=1), st.sets(st.sampled_from(NODES), min_size=1))
def test_majorities_of_what_is_taken_overlap(old: set[str], new: set[str]) -> None:
    """§4.1: any majority of the old voters and any of the new ones have a node in common."""
    leader = min(old & new, default=min(old))
    if (
        refusal(Configuration(1, tuple(sorted(old))), tuple(sorted(new)), leader=leader, commit=1, fit=new, present=new)
        is None
    ):
        assert majority(old) + majority(new) > len(old | new)
