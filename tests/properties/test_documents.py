"""Documents from strangers: whatever the bytes, they are read or refused with a sentence, within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.metalink import V4, read_metalink
from ariacluster.domain.selection import OPTION, size_of
from ariacluster.domain.torrent import Bencode, read_torrent
from tests.support.torrent import Bencodable, bencode

VALUES: st.SearchStrategy[Bencodable] = st.recursive(
    st.integers(-(2**62), 2**62) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)

GOOD = bencode({"announce": "http://t/", "info": {"name": "a", "piece length": 4, "pieces": b"x" * 20, "length": 3}})

LINK = (
    f'<metalink xmlns="{V4}"><file name="a"><size>3</size><url priority="1">http://a.example/</url></file></metalink>'
)


@st.composite
def spoiled(draw: st.DrawFn, good: bytes) -> bytes:
    """A good document with some bytes replaced, taken out or put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(data)))
        data[begin : begin + draw(st.integers(0, 6))] = draw(
            st.binary(max_size=6) | st.sampled_from([b"e", b"d", b"l", b"i-1e", b"9:", b"<", b"&x;", b"\xff"])
        )
    return bytes(data)


@given(VALUES)
def test_what_is_bencoded_is_read_as_it_was(value: Bencodable) -> None:
    def plain(value: object) -> object:
        match value:
            case str():
                return value.encode()
            case list():
                return [plain(item) for item in value]
            case dict():
                return {key.encode(): plain(item) for key, item in value.items()}
        return value

    assert Bencode(bencode(value)).read() == plain(value)


@given(st.binary(max_size=200) | spoiled(GOOD) | st.dictionaries(st.just("info"), VALUES).map(bencode))
def test_a_torrent_is_read_or_refused(data: bytes) -> None:
    try:
        torrent = read_torrent(data)
    except InvalidInput:
        return
    assert len(torrent.info_hash) == 40 and torrent.size == sum(file.length for file in torrent.files)
    for file in torrent.files:
        assert ".." not in file.path.split("/") and not file.path.startswith("/")


@given(st.binary(max_size=200) | spoiled(LINK.encode()) | spoiled(LINK.encode("utf-16")))
def test_a_metalink_is_read_or_refused(data: bytes) -> None:
    try:
        link = read_metalink(data)
    except InvalidInput:
        return
    for file in link.files:
        assert file.urls or file.documents
        assert ".." not in file.name.split("/") and not file.name.startswith("/")


LENGTHS = st.lists(st.integers(0, 2**40), min_size=1, max_size=30)


@given(LENGTHS, st.data())
def test_a_selection_counts_each_wanted_file_once(lengths: list[int], data: st.DataObject) -> None:
    number = st.integers(1, len(lengths))
    pairs = data.draw(st.lists(st.tuples(number, number).map(sorted), min_size=1, max_size=12))
    text = ",".join(
        f"{first}-{last}" if first < last or data.draw(st.booleans()) else f"{first}" for first, last in pairs
    )
    wanted = {at for first, last in pairs for at in range(first - 1, last)}
    assert size_of(lengths, {OPTION: text}) == sum(lengths[at] for at in wanted)


@given(LENGTHS, st.text("0123456789-, x", max_size=20) | st.text(max_size=8))
def test_a_selection_is_counted_or_refused(lengths: list[int], text: str) -> None:
    try:
        size = size_of(lengths, {OPTION: text})
    except InvalidInput:
        return
    assert 0 <= size <= sum(lengths)
