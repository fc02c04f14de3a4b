"""Lists of downloads: plain ones and aria2's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput
from ariacluster.wire.link_list import MAX_LINE_CHARS, parse, read

LISTED = """\
# the isos
http://a.example/1.iso

http://a.example/2.iso\thttp://b.example/2.iso
  out=two.iso
  dir=isos
  checksum=sha-256=00ff
  header=X-One: 1
  header=X-Two: 2
  max-connection-per-server=4
"""


def test_a_list_in_the_format_of_aria2() -> None:
    one, two = parse("\ufeff" + LISTED.replace("\n", "\r\n"))
    assert (one.line, one.urls, one.out, one.options) == (2, ["http://a.example/1.iso"], None, {})
    assert two.urls == ["http://a.example/2.iso", "http://b.example/2.iso"]
    assert (two.line, two.out, two.folder, two.checksum) == (4, "two.iso", "isos", "sha-256=00ff")
    assert two.headers == ["X-One: 1", "X-Two: 2"]
    assert two.options == {"max-connection-per-server": "4"}


@pytest.mark.parametrize(("text", "line"), [("  out=x\nhttp://a", "Line 1"), ("http://a\n  nonsense", "Line 2")])
def test_a_line_that_means_nothing_is_named(text: str, line: str) -> None:
    with pytest.raises(InvalidInput, match=line):
        parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        entries = parse(text)
    except InvalidInput:
        return
    assert all(entry.urls for entry in entries)


def test_what_is_wrong_stands_beside_what_is_right() -> None:
    entries, troubles = read("  out=x\nhttp://a\n  nonsense\n  split=4\nhttp://b\n  =5\nhttp://" + "c" * MAX_LINE_CHARS)
    assert [(entry.line, entry.urls, entry.options) for entry in entries] == [
        (2, ["http://a"], {"split": "4"}),
        (5, ["http://b"], {}),
    ]
    assert [(trouble.line, trouble.entry) for trouble in troubles] == [(1, 0), (3, 2), (6, 5), (7, 0)]
    assert all(f"Line {trouble.line}" in trouble.sentence for trouble in troubles)
