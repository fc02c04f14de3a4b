"""What may be asked: every refusal names its field, and what is accepted stays where it belongs."""

import re
import tempfile
from pathlib import Path, PureWindowsPath
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain import intake
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.options import ALLOWED, REFUSED
from ariacluster.domain.task import Priority, TaskSpec

URL = "http://one.example/f"
NOW = 1_800_000_000_000
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def check(**fields: Any) -> TaskSpec:
    return intake.check(**{"urls": [URL], **fields})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        # urls
        ({"urls": []}, "url"),
        ({"urls": [""]}, "url"),
        ({"urls": ["linux.iso"]}, "url"),
        ({"urls": ["//one.example/f"]}, "url"),
        ({"urls": ["http://"]}, "url"),
        ({"urls": ["http:///f"]}, "url"),
        ({"urls": ["http://[::1/f"]}, "url"),
        ({"urls": ["http://one.example:99999/f"]}, "url"),
        ({"urls": ["http://one.example:http/f"]}, "url"),
        ({"urls": ["http://one\u2100example/f"]}, "url"),
        ({"urls": ["file:///etc/passwd"]}, "url"),
        ({"urls": ["gopher://one.example/f"]}, "url"),
        ({"urls": ["data:text/plain,hello"]}, "url"),
        ({"urls": ["javascript:alert(1)"]}, "url"),
        ({"urls": [" http://one.example/f"]}, "url"),
        ({"urls": ["http://one.example/a b"]}, "url"),
        ({"urls": ["http://one.example/f\r\nHost: two"]}, "url"),
        ({"urls": ["http://one.example/\0"]}, "url"),
        ({"urls": ["http://one.example/\x7f"]}, "url"),
        ({"urls": ["http://one.example/\ud800"]}, "url"),
        ({"urls": ["http://one.example/" + "x" * intake.MAX_URL_CHARS]}, "url"),
        ({"urls": [URL, "ftp://"]}, "urls[1]"),
        ({"urls": [URL] * (intake.MAX_URLS + 1)}, "urls"),
        ({"urls": ["magnet:?dn=name"]}, "url"),
        ({"urls": ["magnet:?xt=urn:btih:aa", URL]}, "urls"),
        # out
        ({"out": ""}, "out"),
        ({"out": "."}, "out"),
        ({"out": ".."}, "out"),
        ({"out": "a/b"}, "out"),
        ({"out": "/etc/passwd"}, "out"),
        ({"out": "a\\b"}, "out"),
        ({"out": "C:evil"}, "out"),
        ({"out": "a\nb"}, "out"),
        ({"out": "a\0"}, "out"),
        ({"out": "\u202egnp.exe"}, "out"),
        ({"out": "\ud800"}, "out"),
        ({"out": "x" * 256}, "out"),
        ({"out": "é" * 128}, "out"),
        ({"out": ".ariacluster-x"}, "out"),
        # dir
        ({"dir": "/"}, "dir"),
        ({"dir": "/etc"}, "dir"),
        ({"dir": ".."}, "dir"),
        ({"dir": "a/../../b"}, "dir"),
        ({"dir": "a/.."}, "dir"),
        ({"dir": "~"}, "dir"),
        ({"dir": "~root/x"}, "dir"),
        ({"dir": "a\\..\\b"}, "dir"),
        ({"dir": "C:/Windows"}, "dir"),
        ({"dir": "./C:/Windows"}, "dir"),
        ({"dir": "a\nb"}, "dir"),
        ({"dir": "a\0b"}, "dir"),
        ({"dir": "x" * 256}, "dir"),
        ({"dir": "x/" * 600}, "dir"),
        ({"dir": ".ariacluster/x"}, "dir"),
        ({"dir": "x/.ariacluster"}, "dir"),
        # options
        *(({"options": {name: "x"}}, f"options.{name}") for name in sorted(REFUSED)),
        ({"options": {"no-such-thing": "1"}}, "options.no-such-thing"),
        ({"options": {"": "1"}}, "options."),
        ({"options": {"Split": "1"}}, "options.Split"),
        ({"options": {"split": None}}, "options.split"),
        ({"options": {"split": ["1"]}}, "options.split"),
        ({"options": {"split": {"a": 1}}}, "options.split"),
        ({"options": {"split": 10**5000}}, "options.split"),
        ({"options": {"referer": "a\nb"}}, "options.referer"),
        ({"options": {"referer": "a\0b"}}, "options.referer"),
        ({"options": {"referer": "\udfff"}}, "options.referer"),
        ({"options": {"referer": "x" * (intake.MAX_OPTION_CHARS + 1)}}, "options.referer"),
        *(({"options": {"select-file": text}}, "options.select-file") for text in ("", "0", "x", "3-1", "1,", True)),
        # the original's way of saying out, dir and tags
        ({"options": {"out": "../x"}}, "options.out"),
        ({"options": {"out": 5}}, "options.out"),
        ({"options": {"out": None}}, "options.out"),
        ({"options": {"out": "x"}, "out": "y"}, "options.out"),
        ({"options": {"dir": "/downloads"}}, "options.dir"),
        ({"options": {"dir": ["x"]}}, "options.dir"),
        ({"options": {"dir": "x"}, "dir": "y"}, "options.dir"),
        ({"options": {"tags": "gpu"}}, "options.tags"),
        ({"options": {"tags": ["gpu"]}}, "options.tags"),
        ({"options": {"tags": {"gpu": True}}}, "options.tags.gpu"),
        ({"options": {"tags": {5: "x"}}}, "options.tags.5"),
        # headers
        ({"headers": ["no colon"]}, "headers[0]"),
        ({"headers": ["A: b", ": empty"]}, "headers[1]"),
        ({"headers": ["A B: c"]}, "headers[0]"),
        ({"headers": ["A: b\r\nC: d"]}, "headers[0]"),
        ({"headers": ["A: b\0"]}, "headers[0]"),
        ({"headers": ["A: \ud800"]}, "headers[0]"),
        ({"headers": ["A: " + "x" * intake.MAX_HEADER_CHARS]}, "headers[0]"),
        ({"headers": ["A: b"] * (intake.MAX_HEADERS + 1)}, "headers"),
        # checksum
        ({"checksum": ""}, "checksum"),
        ({"checksum": SHA256}, "checksum"),
        ({"checksum": "sha-256="}, "checksum"),
        ({"checksum": "sha-256=" + SHA256[:-1]}, "checksum"),
        ({"checksum": "sha-256=" + "g" * 64}, "checksum"),
        ({"checksum": "crc32=00000000"}, "checksum"),
        ({"checksum": f"sha-256={SHA256}", "urls": ["magnet:?xt=urn:btih:" + "a" * 40]}, "checksum"),
        ({"checksum": f"sha-256={SHA256}", "urls": ["http://host/list.META4"]}, "checksum"),
        ({"checksum": f"sha-256={SHA256}", "urls": ["http://host/a", "http://host/a.torrent?x=1"]}, "checksum"),
        ({"checksum": "md5=" + "٣" * 32}, "checksum"),
        # the rest
        ({"priority": "soon"}, "priority"),
        ({"priority": ""}, "priority"),
        ({"priority": "__class__"}, "priority"),
        ({"tags": {"": "x"}}, "tags."),
        ({"tags": {"a=b": "x"}}, "tags.a=b"),
        ({"tags": {"a": "x" * 129}}, "tags.a"),
        ({"tags": {"a": "x\ny"}}, "tags.a"),
        ({"tags": {"a": 1}}, "tags.a"),
        ({"tags": {str(n): "x" for n in range(intake.MAX_TAGS + 1)}}, "tags"),
        ({"prefer_tags": {"": "x"}}, "prefer_tags."),
        ({"prefer_tags": {str(n): "x" for n in range(32)}, "options": {"tags": {"one": "more"}}}, "prefer_tags"),
        ({"node": ""}, "node"),
        ({"node": "x" * 129}, "node"),
        ({"node": "a\x1b[31m"}, "node"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": -1}, "max_attempts"),
        ({"max_attempts": intake.MAX_ATTEMPTS + 1}, "max_attempts"),
        ({"max_attempts": 10**5000}, "max_attempts"),
        ({"not_before": -1}, "not_before"),
        ({"not_before": 10**5000}, "not_before"),
        ({"not_before": NOW * 1_000_000, "now": NOW}, "not_before"),
        ({"not_before": NOW + intake.MAX_AHEAD_MS + 1, "now": NOW}, "not_before"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_a_refusal_names_its_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check(**fields)
    assert raised.value.field == named
    assert raised.value.detail.endswith((".", "please."))


@pytest.mark.parametrize(
    ("fields", "attribute", "value"),
    [
        ({}, "max_attempts", 0),
        (
            {"urls": ["HTTPS://user:pw@one.example:8443/f?x=%20#y", "ftp://two/f"]},
            "urls",
            ("HTTPS://user:pw@one.example:8443/f?x=%20#y", "ftp://two/f"),
        ),
        ({"urls": ["magnet:?xt=urn:btih:abc&dn=x"]}, "urls", ("magnet:?xt=urn:btih:abc&dn=x",)),
        ({"urls": ["http://bücher.example/ü"]}, "urls", ("http://bücher.example/ü",)),
        ({"out": "linux 12.iso"}, "out", "linux 12.iso"),
        ({"out": "…"}, "out", "…"),
        ({"out": "12:30.log"}, "out", "12:30.log"),
        ({"out": "x" * 255}, "out", "x" * 255),
        ({"dir": ""}, "dir", ""),
        ({"dir": "."}, "dir", ""),
        ({"dir": "./a//b/./c/"}, "dir", "a/b/c"),
        ({"dir": "a..b/..."}, "dir", "a..b/..."),
        (
            {"options": {"split": 4, "check-certificate": False, "use-head": True, "seed-ratio": 0.5}},
            "options",
            {"split": "4", "check-certificate": "false", "use-head": "true", "seed-ratio": "0.5"},
        ),
        ({"options": {"out": "x", "split": "2"}}, "options", {"split": "2"}),
        ({"options": {"out": "x"}}, "out", "x"),
        ({"options": {"dir": "x/y"}}, "dir", "x/y"),
        ({"options": {"tags": {"gpu": "yes"}}, "prefer_tags": {"a": "b"}}, "prefer_tags", {"a": "b", "gpu": "yes"}),
        ({"options": {"tags": {"gpu": "yes"}}}, "tags", {}),
        ({"headers": ["Cookie: a=b; c=d", "X-Empty:"]}, "headers", ("Cookie: a=b; c=d", "X-Empty:")),
        ({"checksum": f" SHA256={SHA256.upper()} "}, "checksum", f"sha-256={SHA256}"),
        ({"checksum": "sha-1=" + "a" * 40}, "checksum", "sha-1=" + "a" * 40),
        ({"checksum": "md5=" + "a" * 32}, "checksum", "md5=" + "a" * 32),
        ({"priority": "Urgent"}, "priority", Priority.URGENT),
        ({"tags": {"a": ""}}, "tags", {"a": ""}),
        ({"max_attempts": intake.MAX_ATTEMPTS}, "max_attempts", intake.MAX_ATTEMPTS),
        ({}, "not_before", 0),
        ({"not_before": 1, "now": NOW}, "not_before", 1),
        ({"not_before": NOW + intake.MAX_AHEAD_MS, "now": NOW}, "not_before", NOW + intake.MAX_AHEAD_MS),
        ({"not_before": NOW}, "not_before", NOW),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_what_is_accepted_is_taken_as_it_is_meant(fields: dict[str, Any], attribute: str, value: object) -> None:
    assert getattr(check(**fields), attribute) == value


def test_every_allowed_option_is_taken() -> None:
    assert check(options=dict.fromkeys(ALLOWED, "1")).options.keys() == ALLOWED


def test_the_caller_keeps_what_it_gave() -> None:
    options = {"out": "x", "tags": {"a": "b"}, "split": 1}
    check(options=options)
    assert options == {"out": "x", "tags": {"a": "b"}, "split": 1}


# -- new links for a task that is there ---------------------------------------------------------------------------

MIRROR = "ftp://two.example/f"


@pytest.mark.parametrize(
    ("urls", "headers", "named"),
    [
        ([], None, "url"),
        (["linux.iso"], None, "url"),
        (["file:///etc/passwd"], None, "url"),
        ([URL, "ftp://"], None, "urls[1]"),
        (["magnet:?xt=urn:btih:aa", URL], None, "urls"),
        ([URL], ["no colon"], "headers[0]"),
        ([URL], ["A: b\r\nC: d"], "headers[0]"),
        ([f"{URL}{n}/{'x' * 7900}" for n in range(4)], None, "urls"),
        ([URL], [f"A{n}: {'x' * 4000}" for n in range(7)], "urls"),
    ],
)
def test_new_links_are_held_to_the_rules_of_a_submit(urls: list[str], headers: list[str] | None, named: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        intake.check_links(urls, headers)
    assert raised.value.field == named


def test_new_links_come_back_checked() -> None:
    assert intake.check_links([URL, MIRROR], None) == ((URL, MIRROR), None)
    assert intake.check_links([URL], []) == ((URL,), ())
    assert intake.check_links([URL], ["Cookie: a=b"]) == ((URL,), ("Cookie: a=b",))


def test_new_links_must_suit_what_else_was_asked_of_the_task() -> None:
    hashed = check(checksum=f"sha-256={SHA256}")
    assert intake.check_links([MIRROR], None, hashed) == ((MIRROR,), None)
    with pytest.raises(InvalidInput) as raised:
        intake.check_links([f"{URL}.torrent"], None, hashed)
    assert raised.value.field == "checksum"
    wide = check(headers=[f"A{n}: {'x' * 4000}" for n in range(5)])
    with pytest.raises(InvalidInput, match="24 KB"):
        intake.check_links([URL + "x" * 5000], None, wide)
    assert intake.check_links([URL + "x" * 5000], [], wide)


# -- fuzz ---------------------------------------------------------------------------------------------------------

odd = st.one_of(
    st.sampled_from(
        ["/", ".", "..", "~", "\\", "C:", "a", ".ariacluster", "\0", "\n", "\u202e", "\ud800", "é", "=", ":", "//"]
    ),
    st.characters(),
)
texts = st.lists(odd, max_size=8).map("".join)
plain = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = plain | st.lists(plain, max_size=2) | st.dictionaries(texts, plain, max_size=2)
names = st.one_of(st.sampled_from([*sorted(ALLOWED), *sorted(REFUSED), "out", "dir", "tags"]), texts)
ROOT = Path(tempfile.gettempdir()).resolve() / "downloads"


@given(
    urls=st.lists(st.one_of(texts, texts.map("http://one.example/".__add__), texts.map("http://".__add__)), max_size=3),
    out=st.none() | texts,
    dir=texts,
    options=st.none() | st.dictionaries(names, values, max_size=3),
    headers=st.lists(st.one_of(texts, texts.map("A:".__add__)), max_size=2),
    checksum=st.none() | texts | texts.map("md5=".__add__),
    priority=st.sampled_from(["low", "high", "mro", ""]) | texts,
    tags=st.none() | st.dictionaries(texts, texts, max_size=2),
    node=st.none() | texts,
    max_attempts=st.integers(),
    not_before=st.integers(),
    now=st.sampled_from([0, NOW]),
)
def test_nothing_but_invalid_input_is_raised(**fields: Any) -> None:
    try:
        spec = intake.check(**fields)
    except InvalidInput as error:
        assert error.field  # noqa: PT017 - not being refused is fine, too
        return
    stays_inside(spec)


@given(
    urls=st.just([URL]),
    out=st.none() | texts,
    dir=texts,
    options=st.dictionaries(st.sampled_from(["out", "dir", "referer", "split"]), texts, max_size=2),
    headers=st.lists(texts.map("A:".__add__), max_size=1),
    tags=st.dictionaries(texts, texts, max_size=1),
    node=st.none() | texts,
)
def test_what_is_accepted_stays_inside_and_can_be_written_down(**fields: Any) -> None:
    try:
        spec = intake.check(**fields)
    except InvalidInput:
        return
    stays_inside(spec)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=TaskSpec) == spec


def stays_inside(spec: TaskSpec) -> None:
    target = (ROOT / spec.dir / (spec.out or "f")).resolve()
    assert target.is_relative_to(ROOT)
    assert target != ROOT
    assert not any(part.startswith(".ariacluster") for part in target.relative_to(ROOT).parts)
    windows = PureWindowsPath("D:/downloads") / spec.dir / (spec.out or "f")
    assert windows.is_relative_to("D:/downloads")
    assert ".." not in windows.parts


def test_a_task_leaves_room_for_its_story() -> None:
    """Its row has to fit one entry of the log, with the end of its story."""
    long = [f"http://example.org/{number}/{'x' * 7900}" for number in range(4)]
    assert intake.check(urls=long[:3]).urls == tuple(long[:3])
    with pytest.raises(InvalidInput, match="24 KB") as caught:
        intake.check(urls=long)
    assert caught.value.field == "urls"


@given(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["http://", "https://", "ftp://", "sftp://", "HTTP://", "file://", "magnet:", "//"]),
            st.text("aZ0.-_:@[]%\t\n\x00 é", max_size=6),
            st.text("/?#:@a0[]\x7f é\n", max_size=6),
        ),
    )
)
def test_a_link_that_is_read_quickly_is_judged_as_all_the_rest(url: str) -> None:
    def judged() -> str:
        try:
            return str(check(urls=[url]).urls)
        except InvalidInput as error:
            return error.detail

    quickly = judged()
    with patch.object(intake, "_PLAIN", re.compile(r"(?!)")):
        assert judged() == quickly
