"""Who is away and who is forgotten, case by case: the table of `domain.attendance`."""

import itertools
from collections.abc import Iterable

import pytest

from ariacluster.domain.attendance import decide
from ariacluster.domain.commands import Miss, Unregister
from ariacluster.domain.member import Member, NodeView

NOW = 1_700_000_000_000
TIMEOUT, FORGET = 20.0, 100.0


def view(name: str, silent: float | None = 0.5, *, missed: float = 0.0, online: bool | None = None) -> NodeView:
    """`silent` and `missed` (since when it is written down as away): seconds ago; 0.0 missed: it is not."""
    since = NOW - round(missed * 1000) if missed else 0
    member = Member(id=name, name=name, address=name, port=1, raft=f"{name}:2", missed_since=since)
    there = silent is not None and silent < 5 if online is None else online
    return NodeView(member=member, report=None, silent_for=silent, online=there)


def said(views: Iterable[NodeView], *, voters: str = "abc", now: int = NOW) -> str:
    """What is written down, in two words each; how long ago it was missed in seconds."""
    words = []
    for command in decide(views, now, voters=voters, node_timeout=TIMEOUT, forget_after=FORGET):
        match command:
            case Miss(node, 0):
                words.append(f"back {node}")
            case Miss(node, since):
                words.append(f"away {node} {(now - since) / 1000:g}")
            case Unregister(node):
                words.append(f"forget {node}")
    return ", ".join(words)


A, B = view("a"), view("b")


@pytest.mark.parametrize(
    ("what", "views", "expected"),
    [
        ("all are there", [A, B, view("c")], ""),
        ("silent for a moment", [A, B, view("c", TIMEOUT)], ""),
        ("silent for too long", [A, B, view("c", TIMEOUT + 1)], "away c 21"),
        ("several", [A, view("b", 30), view("c", 40)], "away b 30, away c 40"),
        ("never heard", [A, B, view("c", None)], ""),
        ("written down already", [A, B, view("c", 50, missed=50)], ""),
        ("back", [A, B, view("c", missed=50)], "back c"),
        ("back after it was to be forgotten", [A, B, view("c", missed=FORGET + 1)], "back c"),
        ("away for long, not for good", [A, B, view("c", 50, missed=FORGET)], ""),
        ("away for good", [A, B, view("c", 50, missed=FORGET + 1)], "forget c"),
        ("away for good, and never heard by this leader", [A, B, view("c", None, missed=FORGET + 1)], "forget c"),
        ("a learner", [A, B, view("c"), view("x", 50, missed=FORGET + 1)], "forget x"),
        ("of two, the one that stays has its own majority", [A, view("b", 50, missed=FORGET + 1)], "forget b"),
        ("the longest away first, one at a time",
            [A, B, view("c"), view("x", 50, missed=FORGET + 1), view("w", 50, missed=FORGET + 2)], "forget w"),
        ("of equals the smallest id",
            [A, B, view("c"), view("x", 50, missed=FORGET + 1), view("w", 50, missed=FORGET + 1)], "forget w"),
        ("one is spared, the other goes",
            [A, view("b", 50, missed=FORGET + 2), view("c", 50), view("x", 50, missed=FORGET + 1)], "away c 50"),
        ("one comes, one goes", [A, B, view("c", missed=9), view("x", 50, missed=FORGET + 1)], "back c, forget x"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)  # fmt: skip
def test_decide(what: str, views: list[NodeView], expected: str) -> None:
    assert said(views, voters="ab" if what.startswith("of two") else "abc") == expected


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5])
def test_no_voter_is_forgotten_so_that_the_rest_lacks_its_majority(voters: int) -> None:
    names = "abcde"[:voters]
    for there in itertools.product([True, False], repeat=voters):
        views = [view(n) if here else view(n, 50, missed=FORGET + 1) for n, here in zip(names, there, strict=True)]
        gone = said(views, voters=names).removeprefix("forget ")
        left = [here for name, here in zip(names, there, strict=True) if name != gone]
        if gone:
            assert 2 * sum(left) > len(left), f"{there}: without {gone}"
        else:
            rest = voters - 1
            assert all(there) or 2 * sum(there) <= rest, f"{there}: somebody could have been forgotten"


@pytest.mark.parametrize("jump", [10**9, -(10**9)], ids=["forth", "back"])
def test_a_clock_that_jumps_matters_only_for_who_is_away(jump: int) -> None:
    now = NOW + jump
    assert said([A, B, view("c")], now=now) == ""
    assert said([A, B, view("c", 30)], now=now) == "away c 30", "counted from the silence, not from the clock"
    assert said([A, B, view("c", missed=9)], now=now) == "back c"
    assert said([A, B, view("c", 30, missed=30)], now=now) == ("forget c" if jump > 0 else "")
