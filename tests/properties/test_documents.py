"""Documents from strangers: whatever the bytes, they are read or refused with a sentence, within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.metalink import V4, read_metalink
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
