"""Whom a fresh node joins, or whether it founds."""

import itertools

import msgspec
import pytest

from ariacluster.domain.formation import Found, Heard, Join, Membership, Wait, decide, others, succeeded, yields


def heard(node: str, cluster: str = "", name: str = "default") -> Heard:
    return Heard(
        node_id=node, node_name=f"name-{node}", cluster_name=name, cluster_id=cluster, address="192.0.2.1", port=1
    )


def guest(node: str) -> Heard:
    return msgspec.structs.replace(heard(node), invited=True)


@pytest.mark.parametrize(
    ("what", "around", "decision"),
    [
        ("nobody", [], Found()),
        ("itself only", [heard("m")], Found()),
        ("a larger fresh node", [heard("x")], Found()),
        ("a smaller one that waits for somebody else", [guest("a"), heard("x")], Found()),
        ("a smaller one that waits, and one that would found", [guest("a"), heard("b")], Wait("name-b")),
        ("a smaller fresh node", [heard("a"), heard("x"), heard("b")], Wait("name-a")),
        ("a cluster", [heard("x", "c1")], Join((heard("x", "c1"),))),
        ("a cluster and a smaller fresh node", [heard("a"), heard("x", "c1")], Join((heard("x", "c1"),))),
        ("two members", [heard("x", "c1"), heard("b", "c1")], Join((heard("b", "c1"), heard("x", "c1")))),
        ("two clusters", [heard("a", "c2"), heard("x", "c1")], Join((heard("x", "c1"),))),
        ("another cluster's name", [heard("a", "c1", "other"), heard("b", "", "other")], Found()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_decide(what: str, around: list[Heard], decision: Join | Found | Wait) -> None:
    for order in itertools.permutations(around):
        assert decide("m", "default", order) == decision


def test_of_fresh_nodes_that_all_hear_each_other_exactly_one_founds() -> None:
    nodes = [heard(node) for node in "qwerty"]
    decisions = {node.node_id: decide(node.node_id, "default", nodes) for node in nodes}
    assert decisions.pop("e") == Found()
    assert set(decisions.values()) == {Wait("name-e")}


def test_where_a_node_is() -> None:
    plain = heard("m")
    assert (plain.door, plain.raft) == ("192.0.2.1:1", None)
    v6 = Heard(node_id="m", node_name="m", cluster_name="c", address="fd00::1", port=8000, raft_port=8001)
    assert (v6.door, v6.raft) == ("[fd00::1]:8000", "[fd00::1]:8001")


def test_a_membership_does_not_show_its_key() -> None:
    shown = repr(Membership(cluster_id="c", cluster_name="n", key="5ec4e7", peers={"m": "192.0.2.1:8001"}))
    assert "192.0.2.1:8001" in shown
    assert "5ec4e7" not in shown


def of(cluster: str, node: str, *, members: int = 1, born: int = 5, lone: bool = True, was: str = "") -> Heard:
    return msgspec.structs.replace(heard(node, cluster), members=members, born=born, lone=lone, was=was)


@pytest.mark.parametrize(
    ("what", "mine", "around", "into"),
    [
        ("nobody", of("c5", "m"), [], None),
        ("its own members", of("c5", "m"), [of("c5", "x")], None),
        ("fresh nodes", of("c5", "m"), [heard("a")], None),
        ("a grown one", of("c5", "m"), [of("c9", "x", members=2, born=9, lone=False)], "c9"),
        ("an older one", of("c5", "m"), [of("c9", "x", born=4)], "c9"),
        ("a younger one", of("c5", "m"), [of("c1", "x", born=6)], None),
        ("one as old, with a smaller id", of("c5", "m"), [of("c1", "x")], "c1"),
        ("one as old, with a larger id", of("c5", "m"), [of("c9", "x")], None),
        ("a small one, being grown itself", of("c5", "m", lone=False), [of("c1", "x", members=9, born=1)], None),
        ("one of another name", of("c5", "m"), [heard("x", "c1", "other")], None),
        ("two", of("c5", "m"), [of("c1", "x", born=1), of("c9", "y", members=3)], "c9"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_lone_cluster_dissolves_into(what: str, mine: Heard, around: list[Heard], into: str | None) -> None:
    for order in itertools.permutations(around):
        found = yields(mine, order)
        assert (found.doors[0].cluster_id if found else None) == into
        assert found is None or {door.cluster_id for door in found.doors} == {into}


def test_of_lone_clusters_that_all_hear_each_other_exactly_one_stays() -> None:
    around = [of(f"c{n}", f"n{n}", born=n % 3) for n in range(9)]
    assert [one.cluster_id for one in around if yields(one, around) is None] == ["c0"]


def test_who_belongs_to_a_cluster_that_was_recovered_belongs_to_what_became_of_it() -> None:
    mine = of("c5", "m", members=3, lone=False)
    assert succeeded(mine, [of("c9", "x", members=9)]) is None
    heir = of("c9", "x", was="c5")
    assert succeeded(mine, [of("c1", "y"), heir]) == Join((heir,))


def test_what_a_cluster_was_and_what_becomes_of_it_are_no_others() -> None:
    """Nobody has to merge them, so nobody is told to."""
    stranger = of("c1", "y")
    heir, again = of("c9", "x", was="c5"), of("c9", "z")  # as somebody else tells of it
    before = of("c5", "m", members=3, lone=False)
    assert others(before, [again, heir, stranger]) == [(stranger,)]
    assert others(heir, [before, stranger]) == [(stranger,)]


def test_a_fresh_node_joins_the_cluster_that_the_others_would_dissolve_into() -> None:
    assert decide("m", "default", [of("c1", "a", born=9), of("c2", "x", born=3)]) == Join((of("c2", "x", born=3),))
