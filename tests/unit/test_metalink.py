"""Metalinks of both versions, and what is none."""

import pytest

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.metalink import MAX_ELEMENTS, V3, V4, MetalinkFile, read_metalink

HASH = "ab" * 32


def v4(inside: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><metalink xmlns="{V4}">{inside}</metalink>'.encode()


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_metalink(data)
    assert caught.value.field == "metalink"
    return caught.value.detail


def test_version_4() -> None:
    link = read_metalink(
        v4(f"""
        <published>2026-01-01T00:00:00Z</published>
        <file name="isos/a&amp;b.iso"><size>8</size>
          <url>http://last.example/</url><url priority="2"> http://b.example/a </url><url priority="1">ftp://c.example/a</url>
          <url priority="3">gopher://d.example/</url>
          <metaurl mediatype="torrent" priority="1">http://b.example/a.torrent</metaurl>
          <hash type="md5">{"0" * 32}</hash><hash type="sha-256">{HASH.upper()}</hash><hash type="tiger">00</hash>
          <pieces length="4" type="sha-256"><hash>{"c" * 64}</hash><hash>{"d" * 64}</hash></pieces>
        </file>
        <file name="b"><url>http://b.example/b</url></file>""")
    )
    assert link.files == (
        MetalinkFile(
            "isos/a&b.iso",
            8,
            ("ftp://c.example/a", "http://b.example/a", "http://last.example/"),
            f"sha-256={HASH}",
            ("http://b.example/a.torrent",),
        ),
        MetalinkFile("b", 0, ("http://b.example/b",)),
    )
    assert link.size == 8


def test_version_3() -> None:
    link = read_metalink(
        f"""<metalink version="3.0" xmlns="{V3}"><files><file name="a"><size>5</size>
        <verification><hash type="sha1">{"e" * 40}</hash><pieces type="sha1" length="1"><hash piece="0">x</hash></pieces>
        </verification><resources maxconnections="2"><url type="http" preference="10">http://slow.example/a</url>
        <url type="http" preference="90">http://fast.example/a</url><url type="bittorrent">http://x.example/a.torrent</url>
        </resources></file></files></metalink>""".encode()
    )
    assert link.files == (
        MetalinkFile(
            "a",
            5,
            ("http://fast.example/a", "http://slow.example/a"),
            f"sha-1={'e' * 40}",
            ("http://x.example/a.torrent",),
        ),
    )


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../../b", "a\\b", "a&#10;b"])
def test_a_name_stays_in_its_folder(name: str) -> None:
    assert "would leave its folder" in refused(v4(f'<file name="{name}"><url>http://a.example/</url></file>'))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no XML"),
        (b"d4:infode", "no XML"),
        (b"<html/>", "no Metalink"),
        (b"<metalink/>", "no Metalink"),
        (v4(""), "names no file"),
        (v4('<file name="a"/>'), "no link"),
        (v4('<file name="a"><url>javascript:alert(1)</url></file>'), "no link"),
        (v4('<file name="a"><url>http://a b/</url></file>'), "too long, or none"),
        (v4('<file name="a"><url>http://a/' + "x" * 9000 + "</url></file>"), "too long, or none"),
        (v4('<file name="a"><size>-1</size></file>'), "no number"),
        (v4("<a>" * 20 + "</a>" * 20), "nested too deeply"),
        (v4("<a/>" * MAX_ELEMENTS), "too many parts"),
        (b'<?xml version="1.0" encoding="x-none"?><metalink/>', "encoding"),
    ],
)
def test_what_cannot_be_used(data: bytes, said: str) -> None:
    assert said in refused(data)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE metalink [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>',
        '<!DOCTYPE metalink SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE metalink [<!ENTITY % x SYSTEM "http://127.0.0.1/"> %x;]>',
    ],
)
def test_no_entities(declared: str) -> None:
    whole = v4('<file name="a"><url>http://a.example/</url></file>').decode().replace("?>", f"?>{declared}")
    assert "document type" in refused(whole.encode())
