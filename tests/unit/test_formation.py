"""Whom a fresh node joins, or whether it founds."""

import itertools

import pytest

from ariacluster.domain.formation import Found, Heard, Join, Membership, Wait, decide


def heard(node: str, cluster: str = "", name: str = "default") -> Heard:
    return Heard(
        node_id=node, node_name=f"name-{node}", cluster_name=name, cluster_id=cluster, address="192.0.2.1", port=1
    )


@pytest.mark.parametrize(
    ("what", "around", "decision"),
    [
        ("nobody", [], Found()),
        ("itself only", [heard("m")], Found()),
        ("a larger fresh node", [heard("x")], Found()),
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
