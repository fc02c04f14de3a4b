"""What one stream may say before it is closed, its signs of life, and what becomes of a peer that does not read."""

import pickle
import random
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ariacluster_node.adapters.raft.wire import link as link_room
from ariacluster_node.adapters.raft.wire.link import MAX_BACKLOG_BYTES, Hello
from ariacluster_node.adapters.raft.wire.links import CONGESTED_BYTES, MAX_STRANGERS
from ariacluster_node.adapters.raft.wire.messages import MAX_FRAME_BYTES, LeadNow, Message
from tests.support.raft_mallory import Bomb, Mallory
from tests.support.raft_wire import PORT, A, B, C, Deaf, End, Lan, Node, check_one_link, framed, live, piece, two


@pytest.fixture
def lan() -> Lan:
    return Lan()


# ── what a link must be ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stage", ["raw", "framed", "hello", "frame", "inside a message"])
def test_a_pickle_closes_one_stream_and_runs_nothing(lan: Lan, tmp_path: Path, stage: str) -> None:
    a, b = two(lan)
    bomb = pickle.dumps(Bomb(tmp_path / "mark"))
    mallory = Mallory(lan, b)
    with capture_logs():
        if stage == "raw":
            mallory.say(bomb)
        elif stage == "framed":
            mallory.say(framed(bomb + bytes(48)))
        elif stage == "hello":
            mallory.hello(bomb)
        elif stage == "frame":
            mallory.enter()
            mallory.frame(bomb)
        else:
            mallory.enter()
            mallory.frame(msgspec.msgpack.encode([[7, msgspec.msgpack.Ext(1, bomb)]]))
    assert mallory.is_out
    assert not (tmp_path / "mark").exists()
    assert b.links.connected == {"a"}
    assert a.events == [("+", "b")]
    check_one_link(lan, a, b)


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 257),
        struct.pack(">I", 15),
        struct.pack(">I", 0),
        framed(bytes(48)),
        framed(bytes(16)),
        framed(random.Random(1).randbytes(100)),
    ],
)
def test_garbage_closes_its_stream_at_once(lan: Lan, garbage: bytes) -> None:
    a, b = two(lan)
    mallory = Mallory(lan, b)
    with capture_logs() as logs:
        mallory.say(garbage)
    assert mallory.is_out
    assert mallory.heard.heard == b""
    assert [line["log_level"] for line in logs] == ["warning"]
    check_one_link(lan, a, b)


@pytest.mark.parametrize(
    "frame",
    [b"\x00", b"\x91\x00", b"\x91\x92\x63\x00", b"\x91" * 100_000, b"\x91\x92\x07\xa1x", b"\xdd\xff\xff\xff\xff"],
)
def test_a_frame_that_does_not_decode_closes_its_link(lan: Lan, frame: bytes) -> None:
    a, b = two(lan)
    mallory = Mallory(lan, b)
    mallory.enter()
    assert b.links.connected == {"a", "m"}
    mallory.frame(frame)
    assert mallory.is_out
    assert b.events[1:] == [("+", "m"), ("-", "m")]
    check_one_link(lan, a, b)


def test_an_oversized_frame_closes_its_link_before_it_comes(lan: Lan) -> None:
    _, b = two(lan)
    mallory = Mallory(lan, b)
    mallory.enter()
    mallory.say(struct.pack(">I", MAX_FRAME_BYTES + 16))
    assert not mallory.is_out
    other = Mallory(lan, b)
    other.enter("n")
    other.say(struct.pack(">I", MAX_FRAME_BYTES + 17))
    assert other.is_out
    assert b.links.connected == {"a", "m"}


def test_no_more_is_held_than_a_frame(lan: Lan) -> None:
    """A stranger cannot make the node hold more than its first few bytes, a member no more than a frame."""
    _, b = two(lan)
    stranger = Mallory(lan, b)
    stranger.say(struct.pack(">I", 256) + bytes(200))
    held = lan.network.ends[-1].handler
    assert isinstance(held, link_room.Link)
    assert len(held._held) == 204
    stranger.say(bytes(1_000_000))
    assert stranger.is_out and len(held._held) == 0


def test_another_key_is_another_cluster(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B, secret=b"x" * 32)
    lan.introduce()
    with capture_logs() as logs:
        lan.pass_time(30)
    assert a.events == b.events == []
    assert lan.network.dialed > 20
    assert len(logs) == 4  # of each side: one about who came, one about who was dialed
    assert all("key" in line["reason"] for line in logs)


def test_a_complaint_is_made_again_after_things_were_well(lan: Lan) -> None:
    b = lan.node("b", B)

    def complaints() -> int:
        with capture_logs() as logs:
            for _ in range(3):
                Mallory(lan, b, b"x" * 32).hello(b"")
        return len([line for line in logs if line["event"] == "link refused"])

    assert complaints() == 1
    assert complaints() == 0
    Mallory(lan, b).enter()
    assert complaints() == 1


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"version": 2, "who": "from the future"}, "version 2"),
        ({"version": 1, "node": "b", "port": 1}, "id of this node"),
        ({"version": 1, "node": "x" * 65, "port": 1}, "no sense"),
        ({"version": 1, "node": "", "port": 1}, "no sense"),
        ({"version": 1, "node": "x", "port": 65536}, "no sense"),
        ({"version": 1, "node": "x", "port": -1}, "no sense"),
        ({"version": 1, "node": 5, "port": 1}, "no sense"),
        ({"version": 1}, "no sense"),
        ([1, "x", 1], "no sense"),
        (None, "no sense"),
    ],
)
def test_a_hello_is_refused(lan: Lan, hello: object, reason: str) -> None:
    a, b = two(lan)
    with capture_logs() as logs:
        for _ in range(3):
            mallory = Mallory(lan, b)
            mallory.say(
                framed(mallory.handshake.write(msgspec.msgpack.encode(hello))) + framed(bytes(48))
            )  # in one piece
            assert mallory.is_out
            assert mallory.heard.heard == b""
    (line,) = logs
    assert reason in line["reason"]
    check_one_link(lan, a, b)


def test_the_longest_id_is_taken(lan: Lan) -> None:
    name = "é" * 32
    a, b = lan.node(name, A), lan.node("b", B)
    lan.introduce()
    lan.pass_time(1.1)
    assert b.links.connected == {name} and a.links.connected == {"b"}
    with pytest.raises(ValueError):
        lan.node("x" * 65, C)


def test_a_node_that_finds_itself_is_not_impressed(lan: Lan) -> None:
    a = lan.node("a", A)
    a.links.learn("b", a.address)
    a.links.want({"b"})
    with capture_logs() as logs:
        lan.pass_time(10)
    assert a.events == []
    assert len([line for line in logs if "id of this node" in line["reason"]]) == 1


def test_whoever_answers_must_be_who_was_dialed(lan: Lan) -> None:
    a, c = lan.node("a", A), lan.node("c", C)
    a.links.learn("b", c.address)
    a.links.want({"b"})
    with capture_logs() as logs:
        lan.pass_time(10)
    assert a.events == c.events == []
    assert len([line for line in logs if "expected" in line["reason"]]) == 1


def test_64_strangers_at_most(lan: Lan) -> None:
    a, b = lan.node("a", A), lan.node("b", B)
    with capture_logs() as logs:
        strangers = [Mallory(lan, b) for _ in range(MAX_STRANGERS + 10)]
        lan.network.run()
    assert [stranger.is_out for stranger in strangers] == [True] * 10 + [False] * MAX_STRANGERS
    assert len(logs) == 1
    lan.introduce()
    lan.settle()
    check_one_link(lan, a, b)
    assert sum(stranger.is_out for stranger in strangers) == 11
    lan.pass_time(3.1)
    assert all(stranger.is_out for stranger in strangers)
    with capture_logs():
        for _ in range(MAX_STRANGERS + 10):
            Mallory(lan, b)
        lan.network.run()
    check_one_link(lan, a, b)
    assert (b.events.count(("+", "a")), b.events.count(("-", "a"))) == (1, 0)  # a member is no stranger


def test_a_handshake_has_three_seconds_however_busy_it_looks(lan: Lan) -> None:
    b = lan.node("b", B)
    mallory = Mallory(lan, b)
    greeting = framed(mallory.handshake.write(msgspec.msgpack.encode(Hello(1, "m", 0))))
    for number, _ in enumerate(lan.moments(2.9, step=0.1)):
        mallory.say(greeting[number : number + 1])
    assert not mallory.is_out
    lan.pass_time(0.2)
    assert mallory.is_out


# ── recorded, changed, cut ──────────────────────────────────────────────────────────────────────────────────────────────


def recorded() -> tuple[list[bytes], list[bytes], list[Message]]:
    """What a, who dialed, and b wrote: handshake, ping, three frames (a), handshake, one frame (b)."""
    lan = Lan()
    a, b = two(lan)
    sent: list[Message] = [LeadNow(1), piece(300), LeadNow(3)]
    for message in sent:
        a.links.send("b", message)
        a.links.flush()
    b.links.send("a", LeadNow(9))
    b.links.flush()
    lan.network.run()
    end = lan.network.ends[0]
    return end.written, end.other.written, sent


def fresh(*, dialing: bool) -> tuple[Lan, Node, End]:
    """A node with the same dice as in `recorded`, so that what was recorded fits it; and the far end of its stream."""
    lan = Lan()
    a = lan.node("a", A)
    if dialing:
        lan.network.listeners[f"{B}:{PORT}"] = lambda stream, host: Deaf()
        a.links.learn("b", f"{B}:{PORT}")
        a.links.want({"b"})
        lan.settle()
        return lan, a, lan.network.ends[1]
    b = lan.node("b", B)
    end = lan.network.connect(A, b.address, Deaf())
    assert end is not None
    return lan, b, end


def feed(lan: Lan, end: End, chunks: Sequence[bytes]) -> None:
    for chunk in chunks:
        if chunk:
            end.write(chunk)
    lan.network.run()


FROM_A, FROM_B, SENT = recorded()
EVENTS_OF_B = [("+", "a"), *(("a", [message]) for message in SENT)]


def test_the_recording_fits() -> None:
    lan, b, end = fresh(dialing=False)
    feed(lan, end, FROM_A)
    assert b.events == EVENTS_OF_B
    lan, a, end = fresh(dialing=True)
    feed(lan, end, FROM_B)
    assert a.events == [("+", "b"), ("b", [LeadNow(9)])]


@given(st.lists(st.integers(1, sum(map(len, FROM_A)) - 1), max_size=30))
def test_however_the_bytes_are_cut(cuts: list[int]) -> None:
    whole = b"".join(FROM_A)
    lan, b, end = fresh(dialing=False)
    feed(lan, end, [whole[start:stop] for start, stop in pairwise([0, *sorted(cuts), len(whole)])])
    assert b.events == EVENTS_OF_B


def test_byte_by_byte() -> None:
    lan, b, end = fresh(dialing=False)
    feed(lan, end, [bytes([byte]) for byte in b"".join(FROM_A)])
    assert b.events == EVENTS_OF_B


@pytest.mark.parametrize("from_a", [True, False])
def test_a_changed_byte_anywhere_ends_it_there(from_a: bool) -> None:
    """Of each byte of the stream one bit is changed. What came before it counts; from it on nothing does."""
    pieces = FROM_A if from_a else FROM_B
    expected = EVENTS_OF_B if from_a else [("+", "b"), ("b", [LeadNow(9)])]
    dice = random.Random(1)
    whole = b"".join(pieces)
    ends_at = [sum(map(len, pieces[: number + 1])) for number in range(len(pieces))]
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        lan, node, end = fresh(dialing=not from_a)
        with capture_logs():
            feed(lan, end, [bytes(changed)])
            intact = sum(place >= stop for stop in ends_at) - (1 if from_a else 0)
            before = expected[: max(intact, 0)]
            assert [event for event in node.events if event[0] != "-"] == before, place
            lan.pass_time(3.1)  # a length that became longer waits for bytes that do not come
            assert end.other.is_closed, place
        node.check()


@pytest.mark.parametrize("stop", [0, 3, 4, 60, len(FROM_A[0]), len(FROM_A[0]) + 3, len(FROM_A[0]) + 19])
def test_a_stream_that_breaks_off_before_the_first_frame_is_nobody(stop: int) -> None:
    lan, b, end = fresh(dialing=False)
    feed(lan, end, [b"".join(FROM_A)[:stop]])
    assert b.events == [] and b.links.connected == frozenset() and b.links.addresses == {}
    end.close()
    lan.network.run()
    assert b.events == []


def test_a_replayed_stream_is_nobody(lan: Lan) -> None:
    """The first message of a recorded stream is genuine, and answered; the next one is not for this handshake."""
    _, b = two(lan)
    before = dict(b.links.addresses)
    mallory = Mallory(lan, b)
    mallory.say(FROM_A[0])
    assert mallory.heard.heard != b""
    assert b.events == [("+", "a")]
    assert len(live(lan, lan.nodes[0], b)) == 1  # the genuine link stands
    with capture_logs():
        mallory.say(b"".join(FROM_A[1:]))
    assert mallory.is_out
    assert b.events == [("+", "a")] and b.links.addresses == before


@pytest.mark.parametrize("order", [[0, 1, 3], [0, 1, 2, 2], [0, 1, 2, 4], [0, 2], [0, 0], [1], [0, 1, 1], [2, 0]])
def test_frames_in_another_order_end_it(order: list[int]) -> None:
    lan, b, end = fresh(dialing=False)
    with capture_logs():
        feed(lan, end, [FROM_A[number] for number in order])
    assert end.other.is_closed
    intact = next(place for place, number in enumerate(order) if place != number)
    assert [event for event in b.events if event[0] != "-"] == EVENTS_OF_B[: max(intact - 1, 0)]


@settings(max_examples=200)
@given(st.binary(max_size=400), st.integers(0, 4), st.booleans())
def test_noise_behind_a_genuine_beginning(noise: bytes, genuine: int, from_a: bool) -> None:
    pieces = FROM_A if from_a else FROM_B
    lan, node, end = fresh(dialing=not from_a)
    with capture_logs():
        feed(lan, end, [*pieces[:genuine], noise])
        lan.pass_time(3.1)
    allowed = EVENTS_OF_B if from_a else [("+", "b"), ("b", [LeadNow(9)])]
    seen = [event for event in node.events if event[0] != "-"]
    assert seen == allowed[: len(seen)]
    assert end.other.is_closed


# ── signs of life, back-pressure ────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_link_says_something_each_second(lan: Lan) -> None:
    a, b = two(lan)
    end = lan.network.ends[0]
    before = len(end.written), len(end.other.written)
    lan.pass_time(10)
    assert 9 <= len(end.written) - before[0] <= 10
    assert 9 <= len(end.other.written) - before[1] <= 10
    check_one_link(lan, a, b)


def test_a_busy_link_needs_no_pings(lan: Lan) -> None:
    a, _ = two(lan)
    end = lan.network.ends[0]
    before = len(end.written)
    for _ in lan.moments(5, step=0.1):
        a.links.send("b", LeadNow(1))
        a.links.flush()
    assert len(end.written) - before == 50


def test_silence_of_three_seconds_ends_a_link(lan: Lan) -> None:
    a, b = two(lan)
    lan.network.cut(A, B)
    lan.pass_time(1.9)
    assert a.links.connected and b.links.connected
    lan.pass_time(1.2)
    assert a.events == [("+", "b"), ("-", "b")]
    assert b.events == [("+", "a"), ("-", "a")]


def test_a_node_that_slept_does_not_blame_the_others(lan: Lan) -> None:
    a, b = two(lan)
    lan.clock.now += 60
    lan.settle()
    lan.pass_time(2)
    assert a.events == [("+", "b")] and b.events == [("+", "a")]
    lan.clock.now += 60
    lan.network.cut(A, B)
    lan.pass_time(3.2)
    assert a.events == [("+", "b"), ("-", "b")]


def test_a_handshake_while_this_node_slept_is_not_too_slow(lan: Lan) -> None:
    b = lan.node("b", B)
    mallory = Mallory(lan, b)
    lan.clock.now += 60
    lan.settle()
    assert not mallory.is_out
    mallory.enter()
    assert b.links.connected == {"m"}


def test_who_does_not_read_is_not_fed_and_then_not_kept(lan: Lan) -> None:
    a, b = two(lan)
    end = lan.network.ends[0]
    end.is_stuck = True
    assert not a.links.congested("b")
    assert a.links.congested("nobody")
    sent = 0
    while not a.links.congested("b"):
        a.links.send("b", piece(100_000))
        a.links.flush()
        sent += 1
    assert sent == CONGESTED_BYTES // 100_000 + 1
    while end.unsent < MAX_BACKLOG_BYTES - 200_000:
        a.links.send("b", piece(100_000))
        a.links.flush()
    a.links.tick()
    assert a.links.connected == {"b"}
    lan.clock.now += 0.1
    a.links.tick()
    assert a.links.connected == {"b"}
    for _ in range(3):
        a.links.send("b", piece(100_000))
    lan.clock.now += 0.1
    assert a.events == [("+", "b")]
    a.links.tick()  # what is only queued counts as well
    assert a.events == [("+", "b"), ("-", "b")]
    assert not a.links.send("b", LeadNow(1))
    a.links.flush()
    assert b.got("a") == []


def test_all_is_decided_by_what_is_handed_in() -> None:
    assert recorded() == recorded()
