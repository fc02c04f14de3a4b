"""Reading other nodes' entries: what is not exactly as we write it is not believed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns.announcement import entry_name, from_txt, to_txt

ID = "00000000000000aa"
ENTRY = entry_name(ID)
MINE = Heard(
    node_id=ID,
    node_name="Büro 🖥",
    cluster_name="Zuhause",
    cluster_id="c0ffee",
    address="10.0.0.1",
    port=8000,
    raft_port=8001,
    version="0.1.0",
    members=3,
    born=1_790_000_000_000,
    lone=True,
    was="deadbeef",
)
TXT: dict[bytes, bytes | None] = {key.encode(): value for key, value in to_txt(MINE).items()}

CLUSTER = {b"n", b"born", b"lone", b"was"}
"""What nodes of before did not tell."""


def test_what_is_written_is_read() -> None:
    assert from_txt(ENTRY, TXT, 8000, "10.0.0.1") == MINE


def test_a_node_without_a_cluster_says_so() -> None:
    fresh = Heard(
        node_id=ID,
        node_name="Büro 🖥",
        cluster_name="Zuhause",
        address="10.0.0.1",
        port=8000,
        raft_port=8001,
        version="0.1.0",
    )
    assert from_txt(ENTRY, {k.encode(): v for k, v in to_txt(fresh).items()}, 8000, "10.0.0.1") == fresh
    assert (
        from_txt(ENTRY, {k: v for k, v in TXT.items() if k not in CLUSTER} | {b"cid": b""}, 8000, "10.0.0.1") == fresh
    )
    assert not CLUSTER & {key.encode() for key in to_txt(fresh)}


def test_a_node_that_waits_to_be_let_in_says_so() -> None:
    guest = Heard(node_id=ID, node_name="n", cluster_name="c", address="10.0.0.1", port=8000, invited=True)
    txt = to_txt(guest)
    assert txt["inv"] == b"1"
    assert from_txt(ENTRY, {k.encode(): v for k, v in txt.items()}, 8000, "10.0.0.1") == guest


def test_a_node_that_does_not_tell_its_consensus_is_heard_all_the_same() -> None:
    heard = from_txt(ENTRY, {k: v for k, v in TXT.items() if k != b"raft"}, 8000, "10.0.0.1")
    assert heard == msgspec.structs.replace(MINE, raft_port=0)
    assert "raft" not in to_txt(msgspec.structs.replace(MINE, raft_port=0))


def test_keys_are_short() -> None:
    """RFC 6763 section 6.4."""
    assert all(len(key) <= 9 for key in TXT)


def test_keys_of_later_versions_are_no_matter() -> None:
    assert from_txt(ENTRY, TXT | {b"new": b"\xff"}, 8000, "10.0.0.1") == MINE


@pytest.mark.parametrize("key", [b"id", b"name", b"cluster", b"cid", b"ver", b"port"])
@pytest.mark.parametrize("value", [None, b"\xff\xfe", b"a\x00b", b"\x1b[31m", b"x" * 201, b"x" * 60_000])
def test_garbage_under_any_key_is_ignored(key: bytes, value: bytes | None) -> None:
    assert from_txt(ENTRY, TXT | {key: value}, 8000, "10.0.0.1") is None
    assert from_txt(ENTRY, {k: v for k, v in TXT.items() if k != key}, 8000, "10.0.0.1") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((b"id", b""), (b"id", b"00000000000000AA"), (b"id", b"00000000000000ab"), (b"id", b"0" * 17)),
        *((b"name", b""), (b"cluster", b""), (b"cid", b"a b"), (b"cid", b"x" * 65), (b"ver", b"<b>")),
        *((b"port", b"0"), (b"port", b"8001"), (b"port", b"+8000"), (b"port", b"08000"), (b"port", b"")),
        *(
            (b"raft", b"0"),
            (b"raft", b"65536"),
            (b"raft", b"08001"),
            (b"raft", b"+8001"),
            (b"raft", b""),
            (b"raft", None),
        ),
        *((b"n", b"0"), (b"n", b"-1"), (b"n", b"10001"), (b"n", b"1e3"), (b"n", b""), (b"n", "٣".encode())),
        *((b"born", b"0"), (b"born", b"1" * 16), (b"born", b"1.5"), (b"born", None), (b"born", b"9" * 200)),
        *((b"lone", b"0"), (b"lone", b"2"), (b"lone", b"true"), (b"lone", None), (b"lone", b"01")),
        *((b"inv", b"0"), (b"inv", b"true"), (b"inv", None), (b"inv", b"")),
        *((b"was", b"a b"), (b"was", b"x" * 65), (b"was", b"\xff"), (b"was", None), (b"was", b"\x1b[31m")),
    ],
)
def test_what_is_no_id_no_name_and_no_port_is_ignored(key: bytes, value: bytes | None) -> None:
    assert from_txt(ENTRY, TXT | {key: value}, 8000, "10.0.0.1") is None


@pytest.mark.parametrize("port", [None, 0, -1, 65536])
def test_a_port_that_is_none_is_ignored(port: int | None) -> None:
    assert from_txt(ENTRY, TXT | {b"port": str(port).encode()}, port, "10.0.0.1") is None


def test_an_entry_under_another_nodes_name_is_ignored() -> None:
    assert from_txt(entry_name("00000000000000bb"), TXT, 8000, "10.0.0.1") is None


@given(st.dictionaries(st.sampled_from(list(TXT)), st.none() | st.binary(max_size=300)), st.none() | st.integers())
def test_nothing_makes_it_raise(txt: dict[bytes, bytes | None], port: int | None) -> None:
    from_txt(ENTRY, TXT | txt, port, "10.0.0.1")


def test_a_long_node_name_is_cut_between_characters() -> None:
    txt = to_txt(Heard(node_id=ID, node_name="é" * 150, cluster_name="c", address="10.0.0.1", port=1))
    assert txt["name"].decode() == "é" * 100


UNTELLABLE: list[dict[str, object]] = [{"was": "a b"}, {"members": -1}, {"born": 10**15}, {"raft_port": 65536}]


@pytest.mark.parametrize(
    "bad", [{"cluster_name": "c" * 201}, {"port": 0}, {"node_id": "x"}, {"cluster_name": "a\nb"}, *UNTELLABLE]
)
def test_what_nobody_would_believe_is_not_announced(bad: dict[str, object]) -> None:
    whole: dict[str, object] = {"node_id": ID, "node_name": "n", "cluster_name": "c", "address": "10.0.0.1", "port": 1}
    with pytest.raises(InvalidInput):
        to_txt(Heard(**(whole | bad)))  # type: ignore[arg-type]
