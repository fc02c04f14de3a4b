"""Who votes: whatever the leader sees, no step endangers the majority, and the steps come to an end."""

from collections.abc import Sequence

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from ariacluster.domain.voters import (
    PRESENT_S,
    REPLACE_S,
    STEADY_S,
    HandOver,
    Promote,
    Remove,
    Standing,
    decide,
    target,
)

NAMES = "abcdefghij"

LEADER = "e"
"""In the middle, so that ties on both sides of it are tried."""


def standing(name: str) -> st.SearchStrategy[Standing]:
    seconds = st.sampled_from([0.0, PRESENT_S - 0.1, PRESENT_S, REPLACE_S - 0.1, REPLACE_S, 1e6])
    return st.builds(
        lambda voter, member, connected, silent, steady: Standing(
            node=name,
            voter=voter,
            member=member,
            connected=connected,
            silent_for=silent,
            steady_for=steady if connected else 0.0,
        ),
        st.booleans(),
        st.sampled_from([True, True, True, False]),
        st.sampled_from([True, True, False]),
        seconds,
        st.sampled_from([0.0, STEADY_S - 0.1, STEADY_S, 1e6]),
    )


@st.composite
def clusters(draw: st.DrawFn) -> list[Standing]:
    """What a leader that works sees: it votes, and reaches a majority of those who vote."""
    others = [draw(standing(name)) for name in NAMES if name != LEADER and draw(st.booleans())]
    member = draw(st.sampled_from([True, True, True, False]))
    leader = Standing(node=LEADER, voter=True, member=member, connected=True, silent_for=0.0, steady_for=float("inf"))
    nodes = draw(st.permutations([leader, *others]))
    assume(majority(nodes))
    return nodes


def present(s: Standing) -> bool:
    return s.node == LEADER or (s.connected and s.silent_for < PRESENT_S)


def majority(nodes: Sequence[Standing]) -> bool:
    voters = [s for s in nodes if s.voter]
    return 2 * sum(map(present, voters)) > len(voters)


def taken(nodes: Sequence[Standing], step: Promote | Remove) -> list[Standing]:
    """The cluster after the step, all else being the same. A new voter is one that was just heard."""
    changed = {"voter": isinstance(step, Promote)}
    return [msgspec.structs.replace(s, **changed) if s.node == step.node else s for s in nodes]


@given(clusters())
def test_every_step_is_allowed(nodes: list[Standing]) -> None:
    by_name = {s.node: s for s in nodes}
    match step := decide(LEADER, nodes):
        case Promote(node):
            assert not by_name[node].voter and by_name[node].member
            assert by_name[node].steady_for >= STEADY_S, "a node that comes and goes is no voter"
        case Remove(node):
            assert by_name[node].voter and node != LEADER
            assert majority(taken(nodes, step)), "those who are left cannot go on"
        case HandOver():
            assert not by_name[LEADER].member
            assert any(present(s) and s.voter and s.member for s in nodes if s.node != LEADER)


@given(clusters())
def test_silence_alone_never_shrinks_the_electorate(nodes: list[Standing]) -> None:
    """A member's vote goes only while more vote than shall; and what was promoted for it stays."""
    step = decide(LEADER, nodes)
    if isinstance(step, Remove):
        removed = next(s for s in nodes if s.node == step.node)
        voting = sum(s.voter and s.member for s in nodes)
        assert not removed.member or voting > target(sum(s.member for s in nodes))


@given(clusters())
def test_the_order_in_which_nodes_are_named_means_nothing(nodes: list[Standing]) -> None:
    assert decide(LEADER, nodes) == decide(LEADER, sorted(nodes, key=lambda s: s.node))


@given(clusters())
def test_the_steps_come_to_an_end_and_then_it_is_as_it_shall_be(nodes: list[Standing]) -> None:
    # Who is promoted is heard: a learner with a steady link is not silent at the same time.
    nodes = [msgspec.structs.replace(s, silent_for=0.0) if s.steady_for >= STEADY_S else s for s in nodes]
    assume(majority(nodes))
    seen = [sorted(s.node for s in nodes if s.voter)]
    while isinstance(step := decide(LEADER, nodes), Promote | Remove):
        nodes = taken(nodes, step)
        electorate = sorted(s.node for s in nodes if s.voter)
        assert electorate not in seen, "it goes round in circles"
        seen.append(electorate)
        assert len(seen) <= 2 * len(NAMES)
    if not next(s for s in nodes if s.node == LEADER).member:
        return  # the next leader goes on
    voters = [s for s in nodes if s.voter]
    wanted = target(sum(s.member for s in nodes))
    able = [s for s in nodes if s.member and not s.voter and s.steady_for >= STEADY_S]
    heard = [s for s in voters if s.member and s.silent_for < REPLACE_S]
    stuck = [s for s in voters if s.node != LEADER and not majority([v for v in nodes if v.node != s.node])]
    assert len(heard) >= wanted or not able or stuck, "somebody could vote, and does not"
    surplus = [s for s in voters if not s.member] or sum(s.member for s in voters) > wanted
    assert not surplus or stuck, "somebody votes who shall not"
