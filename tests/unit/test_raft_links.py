"""Who dials whom and when, which link stays, what is called back. No sockets, no time of its own."""

import os
import random
from itertools import pairwise

import pytest

from ariacluster_node.adapters.raft.wire.links import LARGER_WAITS_S, Links
from ariacluster_node.adapters.raft.wire.messages import MAX_FRAME_BYTES, LeadNow, encode
from tests.support.raft_wire import (
    PORT,
    A,
    B,
    C,
    Clock,
    End,
    Lan,
    Network,
    Node,
    check_one_link,
    live,
    piece,
    two,
)


@pytest.fixture
def lan() -> Lan:
    return Lan()


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_go_both_ways_in_order(lan: Lan) -> None:
    a, b = two(lan)
    for number in range(5):
        assert a.links.send("b", LeadNow(number))
        assert b.links.send("a", LeadNow(10 + number))
        lan.network.run()
        assert b.got("a") == []  # not before flush
        a.links.flush()
        b.links.flush()
        lan.network.run()
        break
    assert b.got("a") == [LeadNow(0)]
    for number in range(1, 5):
        a.links.send("b", LeadNow(number))
    a.links.flush()
    lan.network.run()
    assert b.got("a") == [LeadNow(number) for number in range(5)]
    assert a.got("b") == [LeadNow(10)]
    assert [len(about) for what, about in b.events if what == "a" and isinstance(about, list)] == [
        1,
        4,
    ]  # a frame a flush
    assert not a.links.send("c", LeadNow(1))
    a.links.flush()
    lan.network.run()
    assert len(b.got("a")) == 5


def test_what_is_too_much_for_a_frame_goes_in_several(lan: Lan) -> None:
    a, b = two(lan)
    sent = [piece(200_000, offset) for offset in range(11)]
    for message in sent:
        a.links.send("b", message)
    assert a.links.congested("b")
    a.links.flush()
    assert not a.links.congested("b")
    lan.network.run()
    assert b.got("a") == sent
    assert [len(about) for _, about in b.events[1:] if isinstance(about, list)] == [5, 5, 1]


def test_a_message_fits_a_frame_or_is_refused(lan: Lan) -> None:
    a, b = two(lan)
    around = len(encode([piece(70_000)])) - 70_000
    biggest = piece(MAX_FRAME_BYTES - around - 4)
    with pytest.raises(ValueError):
        a.links.send("b", piece(MAX_FRAME_BYTES))
    a.links.send("b", biggest)
    a.links.send("b", LeadNow(1))
    a.links.flush()
    lan.network.run()
    assert b.got("a") == [biggest, LeadNow(1)]


# ── who dials when ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_smaller_id_dials_at_once(lan: Lan) -> None:
    a, b = two(lan)
    assert lan.network.dialed == 1
    lan.pass_time(10)
    assert lan.network.dialed == 1
    assert a.events == [("+", "b")] and b.events == [("+", "a")]


def test_the_larger_id_dials_after_a_while_without_a_link(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    b.links.learn("a", a.address)
    b.links.want({"a"})
    lan.pass_time(LARGER_WAITS_S - 0.1)
    assert lan.network.dialed == 0
    lan.pass_time(0.2)
    assert a.links.connected == {"b"} and b.links.connected == {"a"}
    assert a.links.addresses == {"b": b.address}  # from the hello
    b.die()
    lan.network.run()
    assert a.events == [("+", "b"), ("-", "b")]


def test_the_larger_id_waits_again_after_a_loss(lan: Lan) -> None:
    a, b = two(lan)
    lan.pass_time(5)
    a.die()
    lan.settle()
    before = lan.network.dialed
    lan.pass_time(LARGER_WAITS_S - 0.1)
    assert b.events == [("+", "a"), ("-", "a")]
    assert lan.network.dialed == before
    lan.pass_time(0.2)
    assert lan.network.dialed == before + 1


def test_the_smaller_id_dials_again_at_once_after_a_loss(lan: Lan) -> None:
    a, b = two(lan)
    lan.pass_time(5)
    lan.network.ends[1].close()
    lan.network.run()
    assert a.events == [("+", "b"), ("-", "b")]
    lan.settle()  # at the same moment
    assert a.links.connected == b.links.connected ^ {"a", "b"} == {"b"}


def test_attempts_become_rarer_but_never_rare(lan: Lan) -> None:
    a = lan.node("a", A)
    a.links.learn("b", f"{B}:{PORT}")
    a.links.want({"b", "a", "of unknown address"})
    times: list[float] = []
    for now in lan.moments(20, step=0.01):
        if len(times) < lan.network.dialed:
            times.append(now)
    waits = [after - before for before, after in pairwise(times)]
    assert all(0.14 <= wait <= 0.3 for wait in waits[:1])
    assert waits[:4] == sorted(waits[:4])
    assert all(1.4 <= wait <= 2.1 for wait in waits[4:])
    assert len({round(wait, 2) for wait in waits[4:]}) > 3  # jitter


def test_a_dial_that_never_ends_is_given_up(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    lan.network.cut(A, B)
    a.links.learn("b", b.address)
    a.links.want({"b"})
    lan.pass_time(4.2)
    assert lan.network.dialed == 2  # the first was given up after 4 s
    lan.network.heal()
    lan.settle()
    assert a.links.connected == {"b"}
    assert len(live(lan, a, b)) == 1  # the first, when it opened after all, was closed


def test_a_new_address_is_tried_at_once(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    a.links.learn("b", f"{C}:1")
    a.links.want({"b"})
    lan.pass_time(8)
    a.links.learn("b", b.address)
    lan.settle()
    assert a.links.connected == {"b"}


def test_a_new_address_ends_the_attempt_at_the_old_one(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    lan.network.cut(A, C)
    a.links.learn("b", f"{C}:{PORT}")
    a.links.want({"b"})
    lan.settle()
    assert len(lan.network.dials) == 1
    a.links.learn("b", b.address)
    lan.settle()
    assert a.links.connected == {"b"}
    lan.network.heal()
    lan.pass_time(1)
    check_one_link(lan, a, b)


def test_an_address_that_is_told_again_and_again_is_no_news(lan: Lan) -> None:
    a = lan.node("a", A)
    a.links.want({"b"})
    for _ in lan.moments(10):
        a.links.learn("b", f"{B}:{PORT}")
    assert 6 <= lan.network.dialed <= 12


def test_nobody_is_dialed_who_is_not_wanted(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    a.links.learn("b", b.address)
    lan.pass_time(3)
    assert lan.network.dialed == 0
    a.links.want({"b"})
    lan.network.cut(A, B)
    lan.tick()
    a.links.want(set())
    lan.network.heal()
    lan.pass_time(3)
    assert a.links.connected == b.links.connected == frozenset()
    a.links.want({"b"})
    lan.settle()
    assert a.links.connected == {"b"}
    a.links.want(set())
    lan.pass_time(5)
    assert a.links.connected == {"b"}  # the other one may want it


def test_everybody_may_be_wanted(lan: Lan) -> None:
    a, b, c = lan.node("a", A), lan.node("b", B), lan.node("c", C)
    a.links.learn("b", b.address)
    a.links.want(None)
    lan.settle()
    assert a.links.connected == {"b"}
    a.links.learn("c", c.address)
    a.links.learn("a", a.address)
    lan.settle()
    assert a.links.connected == {"b", "c"}
    assert lan.network.dialed == 2


def test_a_node_that_listens_nowhere_has_no_address(lan: Lan) -> None:
    a, b = lan.node("a", A, port=0), lan.node("b", B)
    a.links.learn("b", b.address)
    a.links.want({"b"})
    lan.settle()
    assert b.links.connected == {"a"} and b.links.addresses == {}


def test_an_address_of_ipv6_is_bracketed(lan: Lan) -> None:
    a, b = lan.node("a", "fe80::1%2"), lan.node("b", B)
    a.links.learn("b", b.address)
    a.links.want({"b"})
    lan.settle()
    assert b.links.addresses == {"a": f"[fe80::1%2]:{PORT}"}


# ── which link stays ────────────────────────────────────────────────────────────────────────────────────────────────────


def both_dialing() -> tuple[Lan, Node, Node]:
    lan = Lan()
    a, b = lan.node("a", A), lan.node("b", B)
    lan.network.cut(A, B)
    lan.introduce()
    lan.pass_time(1.1)
    lan.network.heal()
    assert len(lan.network.dials) == 2
    return lan, a, b


def test_both_dial_at_once_in_all_interleavings() -> None:
    """Depth first through every order in which dials, pieces and closings can arrive; each connection keeps its own order."""
    pending: list[list[int]] = [[]]
    ways, kept = 0, set()
    while pending:
        path = pending.pop()
        lan, a, b = both_dialing()
        for choice in path:
            lan.network.steps()[choice]()
        while steps := lan.network.steps():
            pending += [[*path, other] for other in range(1, len(steps))]
            path = [*path, 0]
            steps[0]()
        ways += 1
        kept.add(live(lan, a, b)[0].host if live(lan, a, b) else "none")
        check_one_link(lan, a, b)
        assert a.events.count(("-", "b")) == 0  # the one whose link wins never has to change
        assert b.events.count(("-", "a")) <= 1
    assert ways > 100
    assert A in kept


def test_both_dial_at_once_as_it_is_on_a_lan() -> None:
    """Step by step at both ends alike: the smaller one's link stays."""
    lan, a, b = both_dialing()
    while steps := lan.network.steps():
        for step in steps:
            step()
    assert live(lan, a, b)[0].host == A
    check_one_link(lan, a, b)


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_a_link_comes_of_it(seed: int) -> None:
    dice = random.Random(seed)
    lan = Lan()
    lan.node("a", A)
    lan.node("b", B)
    lan.node("c", C)
    lan.introduce()
    hosts = {"a": A, "b": B, "c": C}
    for _ in range(300):
        match dice.choices(
            ["step", "tick", "time", "cut", "heal", "reset", "restart", "say", "swap"], [60, 12, 12, 1, 2, 2, 1, 8, 1]
        )[0]:
            case "step":
                steps = lan.network.steps()
                if steps:
                    dice.choice(steps)()
            case "tick":
                dice.choice(lan.nodes).links.tick()
            case "time":
                lan.clock.now += dice.choice([0.01, 0.2, 0.9])
            case "cut":
                lan.network.cut(*dice.sample([A, B, C], 2))
            case "heal":
                lan.network.heal()
            case "reset":
                if lan.network.ends:
                    dice.choice(lan.network.ends).close()
            case "restart":
                old = dice.choice(lan.nodes)
                old.die(silently=dice.random() < 0.5)
                lan.node(old.name, hosts[old.name])
                lan.introduce()
            case "say":
                node = dice.choice(lan.nodes)
                for peer in node.links.connected:
                    node.links.send(peer, LeadNow(1))
                node.links.flush()
            case "swap":
                dice.choice(lan.nodes).links.want(dice.sample(["a", "b", "c"], 2))
    lan.network.heal()
    lan.introduce()
    for node in lan.nodes:
        node.links.want({"a", "b", "c"})
    lan.pass_time(7)
    for node in lan.nodes:
        node.check()
        assert node.links.connected == {"a", "b", "c"} - {node.name}
        assert len(node.ends()) == 2


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_peer_that_starts_anew_is_believed(lan: Lan, is_silent: bool) -> None:
    a, b = two(lan)
    lan.pass_time(5)
    a.die(silently=is_silent)
    lan.settle()
    a = lan.node("a", A)
    lan.introduce()
    lan.pass_time(0.1)
    assert a.links.connected == {"b"}
    assert b.events == [("+", "a"), ("-", "a"), ("+", "a")]
    check_one_link(lan, a, b)


def test_a_peer_whose_power_went_is_found_again(lan: Lan) -> None:
    """The smaller one holds a half-dead link that outranks what the larger one dials: until it is silent for too long."""
    a, b = two(lan)
    lan.pass_time(5)
    b.die(silently=True)
    b = lan.node("b", B)
    lan.introduce()
    lan.pass_time(3.2)
    assert a.links.connected == {"b"}
    check_one_link(lan, a, b)


@pytest.mark.parametrize("seconds", [2.0, 3.5, 5.0, 30.0])
@pytest.mark.parametrize("phase", [0.0, 0.45, 0.95, 1.4, 1.9])
def test_a_partition_heals_in_four_seconds(lan: Lan, seconds: float, phase: float) -> None:
    a, b = two(lan)
    lan.pass_time(2 + phase)
    lan.network.cut(A, B)
    lan.pass_time(seconds + phase)
    if seconds > 3:
        assert a.links.connected == b.links.connected == frozenset()
    lan.network.heal()
    lan.pass_time(4)
    check_one_link(lan, a, b)


def test_two_nodes_of_one_id_do_not_chase_each_other(lan: Lan) -> None:
    """Each takes the other's link away by a newer one. They do so with the patience of those who cannot get through."""
    z = lan.node("z", A)
    for host in (B, C):
        twin = lan.node("b", host)
        twin.links.learn("z", z.address)
        twin.links.want({"z"})
    lan.pass_time(20)
    assert 10 < lan.network.dialed < 50
    z.check()


# ── callbacks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def one_chunk(a: Node, lan: Lan) -> None:
    """Three frames of `a` arrive in one piece."""
    for number in range(3):
        a.links.send("b", LeadNow(number))
        a.links.flush()
    inbox = lan.network.ends[1].incoming
    whole = b"".join(data or b"" for data in inbox)
    inbox.clear()
    inbox.append(whole)
    lan.network.run()


def test_nothing_more_is_heard_of_a_link_that_was_closed_meanwhile(lan: Lan) -> None:
    a, b = two(lan)
    b.react = lambda what, about: b.links.close() if what == "a" else None
    one_chunk(a, lan)
    assert b.events == [("+", "a"), ("a", [LeadNow(0)]), ("-", "a")]
    lan.pass_time(5)
    assert b.events[3:] == [] and b.links.connected == frozenset()


def test_what_a_callback_raises_comes_out_and_the_rest_is_in_order(lan: Lan) -> None:
    a, b = two(lan)

    def fail(what: str, about: object) -> None:
        if about == [LeadNow(0)]:
            raise LookupError

    b.react = fail
    with pytest.raises(LookupError):
        one_chunk(a, lan)
    assert b.links.connected == {"a"}
    a.links.send("b", LeadNow(3))
    a.links.flush()
    lan.network.run()
    assert b.got("a") == [LeadNow(number) for number in range(4)]


def test_what_on_disconnected_raises_leaves_no_link_that_nobody_knows(lan: Lan) -> None:
    a, b = two(lan)
    a.die(silently=True)
    a = lan.node("a", A)

    def fail(what: str, about: object) -> None:
        if what == "-":
            raise LookupError

    b.react = fail
    lan.introduce()
    with pytest.raises(LookupError):
        lan.settle()
    b.react = lambda what, about: None
    lan.pass_time(4)
    check_one_link(lan, a, b)


def test_a_callback_may_answer_at_once(lan: Lan) -> None:
    a, b = two(lan)

    def answer(what: str, about: object) -> None:
        if what == "a":
            b.links.send("a", LeadNow(99))
            b.links.flush()

    b.react = answer
    a.links.send("b", LeadNow(1))
    a.links.flush()
    lan.network.run()
    assert a.got("b") == [LeadNow(99)]


def test_after_close_nothing_is_open(lan: Lan) -> None:
    a, b = two(lan)
    lan.node("c", C)
    lan.introduce()
    lan.network.cut(A, C)
    lan.tick()
    a.links.close()
    a.links.close()
    assert a.events == [("+", "b"), ("-", "b")]
    lan.network.heal()
    lan.pass_time(10)
    assert a.ends() == []
    assert a.events == [("+", "b"), ("-", "b")]
    assert b.links.connected == {"c"}
    assert not a.links.send("b", LeadNow(1))


def test_close_closes_all_even_if_a_callback_raises(lan: Lan) -> None:
    a, _ = two(lan)
    lan.node("c", C)
    lan.introduce()
    lan.settle()
    assert a.links.connected == {"b", "c"}

    def fail(what: str, about: object) -> None:
        raise LookupError

    a.react = fail
    with pytest.raises(LookupError):
        a.links.close()
    assert a.ends() == []


def test_the_key_has_32_bytes() -> None:
    network = Network()
    links = Links(
        "a",
        secret=b"short",
        port=0,
        wire=network.wire(A),
        clock=Clock(),
        entropy=os.urandom,
        on_connected=lambda peer: None,
        on_disconnected=lambda peer: None,
        on_messages=lambda peer, messages: None,
    )
    with pytest.raises(ValueError):
        links.accepted(End(network, A, 0), A)
