"""Who votes, case by case: the table of `domain.voters`."""

import pytest

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


def node(name: str, what: str = "") -> Standing:
    """A steady learner; `what` may say `voter`, `silent` (for `REPLACE_S`), `absent` (just now), `new` (not steady yet),
    `gone` (no member any more), `witness` and `resigned`."""
    words = what.split()
    assert set(words) <= {"voter", "silent", "absent", "new", "gone", "witness", "resigned"}
    away = "silent" in words or "absent" in words
    return Standing(
        node=name,
        voter="voter" in words,
        member="gone" not in words,
        connected=not away,
        silent_for=REPLACE_S if "silent" in words else PRESENT_S if away else 0.1,
        steady_for=0.0 if away else STEADY_S - 0.1 if "new" in words else STEADY_S,
        witness="witness" in words,
        resigned="resigned" in words,
    )


def step(*nodes: Standing) -> str:
    """What is decided where `l` leads, in two words."""
    match decide("l", nodes):
        case Promote(who):
            return f"promote {who}"
        case Remove(who):
            return f"remove {who}"
        case HandOver():
            return "hand over"
    return "nothing"


L, A, B, C, D = (node(name, "voter") for name in "labcd")
LEADER_GONE = node("l", "voter gone")
LEADER_RESIGNED = node("l", "voter resigned")


def test_how_many_vote() -> None:
    assert [target(members) for members in range(11)] == [0, 1, 2, 3, 3, 3, 3, 5, 5, 5, 5]


@pytest.mark.parametrize(
    ("what", "nodes", "decided"),
    [
        ("alone", [L], "nothing"),
        ("a second, steady", [L, node("x")], "promote x"),
        ("a second, still new", [L, node("x", "new")], "nothing"),
        ("a second, away again", [L, node("x", "absent")], "nothing"),
        ("two vote", [L, A], "nothing"),
        ("a third", [L, A, node("x")], "promote x"),
        ("the smallest of two learners", [L, A, node("y"), node("x")], "promote x"),
        ("the steady one of two", [L, A, node("y"), node("x", "new")], "promote y"),
        ("three vote, more follow", [L, A, B, node("x"), node("y"), node("z")], "nothing"),
        ("seven members", [L, A, B, node("w"), node("x"), node("y"), node("z")], "promote w"),
        ("five of seven", [L, A, B, C, D, node("x"), node("y")], "nothing"),
        ("a learner that is not written down yet", [L, A, node("x", "gone")], "nothing"),
        ("silence alone", [L, A, node("b", "voter silent")], "nothing"),
        ("silence, and no learner is steady", [L, A, node("b", "voter silent"), node("x", "new")], "nothing"),
        ("silence that is short", [L, A, node("b", "voter absent"), node("x")], "nothing"),
        ("silence, and a learner is steady", [L, A, node("b", "voter silent"), node("x")], "promote x"),
        ("then the silent one goes", [L, A, node("b", "voter silent"), node("x", "voter")], "remove b"),
        ("unless it is back, then the last of them", [L, A, B, node("x", "voter")], "remove x"),
        ("one that was taken off", [L, A, node("b", "voter gone"), node("x")], "remove b"),
        ("one that was taken off, and is silent", [L, A, node("b", "voter gone silent")], "remove b"),
        (
            "one that was taken off, while too many are away",
            [L, node("a", "voter absent"), node("b", "voter gone")],
            "nothing",
        ),
        ("two of two, one taken off", [L, node("a", "voter gone silent")], "remove a"),
        ("the leader was taken off", [LEADER_GONE, A, B], "hand over"),
        ("the leader, and nobody votes", [LEADER_GONE, node("x")], "promote x"),
        ("the leader, and no voter is there", [LEADER_GONE, node("a", "voter absent")], "nothing"),
        ("six members, five vote", [L, A, B, C, D, node("x")], "remove d"),
        ("six members, the silent of five", [L, node("a", "voter silent"), B, C, D, node("x")], "remove a"),
        ("six members, the absent of five", [L, A, node("b", "voter absent"), C, D, node("x")], "remove b"),
        (
            "six members, silent before absent",
            [L, node("a", "voter silent"), node("b", "voter absent"), C, D, node("x")],
            "remove a",
        ),
        (
            "six members, and hardly anybody is there",
            [L, *(node(name, "voter absent") for name in "abcd"), node("x")],
            "nothing",
        ),
        ("one member is left of two", [L, node("a", "voter gone")], "remove a"),
        ("never the leader, whatever it is called", [L, A, B, C], "remove c"),
        ("a witness before the others", [L, A, node("x"), node("y", "witness")], "promote y"),
        ("a witness that is not steady yet", [L, A, node("x"), node("y", "witness new")], "promote x"),
        ("of two witnesses the smallest", [L, node("z", "witness"), node("y", "witness")], "promote y"),
        ("the witness stays", [L, A, B, node("z", "voter witness")], "remove b"),
        ("the witness, when it alone is silent", [L, A, B, node("z", "voter witness silent")], "remove z"),
        ("the witness, when it alone is absent", [L, A, B, node("z", "voter witness absent")], "remove z"),
        ("only witnesses beside the leader", [L, *(node(n, "voter witness") for n in "xyz")], "remove z"),
        ("a witness that is three of three", [L, A, node("z", "voter witness")], "nothing"),
        ("one of two has resigned", [L, node("a", "voter resigned")], "remove a"),
        ("one of two has resigned and gone", [L, node("a", "voter resigned silent")], "remove a"),
        ("one of three has resigned", [L, A, node("b", "voter resigned")], "remove b"),
        (
            "one of three has resigned, another is away",
            [L, node("a", "voter absent"), node("b", "voter resigned")],
            "nothing",
        ),
        ("its place is taken by another", [L, A, node("b", "resigned"), node("x")], "promote x"),
        ("it is not promoted before it registers again", [L, node("a", "resigned")], "nothing"),
        ("and is afterwards", [L, node("a")], "promote a"),
        ("the leader has resigned", [LEADER_RESIGNED, A], "hand over"),
        ("the leader has resigned, and no other is there", [LEADER_RESIGNED, node("a", "voter absent")], "nothing"),
        ("the leader has resigned, and is alone", [LEADER_RESIGNED], "nothing"),
        ("all have resigned", [LEADER_RESIGNED, node("a", "voter resigned")], "nothing"),
        ("all have resigned, and one is away", [LEADER_RESIGNED, node("a", "voter resigned absent")], "nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_decide(what: str, nodes: list[Standing], decided: str) -> None:
    assert step(*nodes) == decided
    assert step(*reversed(nodes)) == decided, "the order in which they are named means nothing"


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([L, node("x")], "1 of 2 vote"),
        ([L, A, node("b", "voter silent"), node("x")], "b has been silent for 60 s"),
        ([L, A, node("b", "voter silent"), node("x", "voter")], "it has been silent for 60 s"),
        ([L, A, B, C, D, node("x")], "5 vote, 3 shall"),
        ([L, A, node("b", "voter gone")], "it is no member of the cluster"),
        ([L, node("a", "voter resigned")], "it has stopped"),
        ([LEADER_RESIGNED, A], "it stops"),
        ([LEADER_GONE, A], "it was taken off the cluster"),
    ],
)
def test_why(nodes: list[Standing], why: str) -> None:
    decided = decide("l", nodes)
    assert decided is not None
    assert decided.why == why
