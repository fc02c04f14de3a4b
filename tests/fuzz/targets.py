"""The readers of what strangers write: each takes any bytes, and may refuse them with an error of ours alone."""

from collections.abc import Callable

from ariacluster.domain import intake
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.metalink import V3, V4, read_metalink
from ariacluster.domain.torrent import read_torrent
from ariacluster.wire import codec, link_list, peers

Reader = Callable[[bytes], object]


def magnet(data: bytes) -> object:
    return intake.check(urls=["magnet:?" + data.decode(errors="surrogateescape")])


def link(data: bytes) -> object:
    return intake.check(urls=[data.decode(errors="surrogateescape")])


def links(data: bytes) -> object:
    return link_list.parse(data.decode(errors="replace"))


READERS: dict[str, Reader] = {
    "torrent": read_torrent,
    "metalink": read_metalink,
    "magnet": magnet,
    "link": link,
    "links": links,
    "proposal": codec.decode_proposal,
    "report": peers.decode_report,
}

SEEDS: dict[str, list[bytes]] = {
    "torrent": [
        b"d4:infod6:lengthi3e4:name1:a12:piece lengthi4e6:pieces20:" + b"x" * 20 + b"ee",
        b"d4:infod5:filesld6:lengthi3e4:pathl1:b1:ceee4:name1:a12:piece lengthi4e6:pieces20:" + b"x" * 20 + b"ee",
    ],
    "metalink": [
        f'<metalink xmlns="{V4}"><file name="a"><size>3</size><hash type="sha-256">{"0" * 64}</hash>'
        '<url priority="1">http://a.example/</url></file></metalink>'.encode(),
        f'<metalink xmlns="{V3}"><files><file name="a"><resources><url preference="9">ftp://a/b</url></resources></file>'
        "</files></metalink>".encode(),
    ],
    "magnet": [b"xt=urn:btih:" + b"a" * 40 + b"&dn=a&tr=http%3A%2F%2Ft%2F"],
    "link": [b"http://user:pw@host.example:8080/a%20b?c#d", b"ftp://[::1]/x", b"sftp://h/x"],
    "links": [b"http://a.example/1\thttp://b.example/1\n out=x\n header=A: b\n# no\nhttp://c.example/\n"],
    "proposal": [b"\x01\x85\xa2id\xa1a\xa2at\x01\xa2by\xa1n\xa8commands\x90\xa1v\x01"],
    "report": [b"\x81\xa4news\x81\xa6number\x01"],
}
"""To begin with."""


def feed(name: str, data: bytes) -> None:
    """Whatever else the reader raises is a fault of it."""
    try:
        READERS[name](data)
    except AriaClusterError:
        return
