"""Torrents as they come, and as they must not."""

import hashlib
from pathlib import Path
from typing import TypeAlias

import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.torrent import MAX_DEPTH, MAX_VALUES, Bencode, TorrentFile, read_torrent
from tests.support.torrent import Bencodable, bencode, make_torrent

Loose: TypeAlias = "Bencodable | None"


def info(**changes: Loose) -> dict[str, Bencodable]:
    """A good one, with these keys otherwise; a None takes one away."""
    good: dict[str, Bencodable] = {"name": "a.iso", "piece length": 4, "pieces": b"x" * 40, "length": 8}
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def torrent(**changes: Loose) -> bytes:
    return bencode({"info": info(**changes)})


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_torrent(data)
    assert caught.value.field == "torrent"
    return caught.value.detail


def test_one_file_as_it_is_made_elsewhere(tmp_path: Path) -> None:
    content = tmp_path / "größe.bin"
    content.write_bytes(bytes(700_000))
    made = make_torrent(content, "http://127.0.0.1/announce")
    read = read_torrent(made.data)
    assert (read.name, read.info_hash, read.size) == ("größe.bin", made.infohash, 700_000)
    assert read.files == (TorrentFile("größe.bin", 700_000),) and read.single
    assert read.created == 1_700_000_000


def test_a_folder_as_it_is_made_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "a").write_bytes(b"1")
    (tmp_path / "set" / "deep" / "b").write_bytes(b"22")
    made = make_torrent(tmp_path / "set", "http://127.0.0.1/announce")
    read = read_torrent(made.data)
    assert read.files == (TorrentFile("a", 1), TorrentFile("deep/b", 2)) and not read.single
    assert (read.name, read.info_hash, read.size) == ("set", made.infohash, 3)


def test_the_digest_is_of_the_bytes_and_not_of_what_they_mean() -> None:
    """Keys out of order are against the rules, and the swarm hashes them as they stand."""
    odd = b"d6:lengthi8e4:name5:a.iso6:pieces40:" + b"x" * 40 + b"12:piece lengthi4ee"
    read = read_torrent(b"d4:info" + odd + b"e")
    assert read.info_hash == hashlib.sha1(odd).hexdigest()


def test_an_info_elsewhere_is_not_taken_for_the_one() -> None:
    read = read_torrent(bencode({"azureus": {"info": {"x": 1}}, "info": info()}))
    assert read.info_hash == hashlib.sha1(bencode(info())).hexdigest()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\0b", 7, None])
def test_a_name_stays_in_its_folder(name: Bencodable) -> None:
    assert "the name is missing or would leave its folder" in refused(torrent(name=name))


@pytest.mark.parametrize("path", [["..", "x"], ["a/../../x"], [""], [], "x", [["x"]]])
def test_a_path_stays_in_its_folder(path: Bencodable) -> None:
    assert "path" in refused(torrent(length=None, files=[{"length": 8, "path": path}]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length": -1}, "length of a file is no number"),
        ({"length": b"8"}, "length of a file is no number"),
        ({"length": None}, "length of a file is no number"),
        ({"length": 9}, "do not fit the size"),
        ({"pieces": b"x" * 39}, "do not fit the size"),
        ({"pieces": 4}, "do not fit the size"),
        ({"piece length": 0}, "no positive number"),
        ({"files": [], "length": None}, "list of files is empty"),
        ({"files": [3], "length": None}, "holds something else"),
        ({"pieces": None, "meta version": 2}, "version 2 alone"),
    ],
)
def test_what_aria2_could_not_download(changes: dict[str, Loose], said: str) -> None:
    assert said in refused(torrent(**changes))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (b"<html>", "damaged"),
        (b"d4:infod", "damaged"),
        (b"i-e", "damaged"),
        (b"i1", "damaged"),
        (b"i" + b"9" * 30 + b"e", "damaged"),
        (b"9999:x", "ends too early"),
        (b"-1:x", "ends too early"),
        (b"i1ei2e", "something follows"),
        (b"d1:ai1e1:ai2ee", "twice"),
        (b"l" * (MAX_DEPTH + 2) + b"e" * (MAX_DEPTH + 2), "nested too deeply"),
        (b"l" + b"i0e" * MAX_VALUES + b"e", "too many parts"),
        (b"le", "names no content"),
        (b"d4:infoi1ee", "names no content"),
    ],
)
def test_what_is_no_torrent(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_every_beginning_of_one_is_refused() -> None:
    whole = torrent()
    for end in range(len(whole)):
        refused(whole[:end])


def test_values_are_read_as_they_were_written() -> None:
    value = {b"a": [1, -2, b"\xff\0"], b"b": {}}
    assert Bencode(b"d1:ali1ei-2e2:\xff\0e1:bdee").read() == value
