"""Which servers stand behind a task's links, and how many connections it would open to each."""

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain import origins as room
from ariacluster.domain.origins import DEFAULT_CONNECTIONS, origins_of, wanted_connections
from ariacluster.domain.task import TaskSpec

NEVER = re.compile(r"(?!)")


@pytest.mark.parametrize(
    ("urls", "origins"),
    [
        (("http://one.example/f",), ("one.example:80",)),
        (("https://one.example/f",), ("one.example:443",)),
        (("ftp://one.example/f", "sftp://one.example/f"), ("one.example:21", "one.example:22")),
        (("http://one.example:8080/f",), ("one.example:8080",)),
        (("HTTP://user:secret@ONE.example/f",), ("one.example:80",)),
        (("http://two/f", "http://one/f", "http://two/g"), ("one:80", "two:80")),
        (("http://[2001:db8::1]/f",), ("[2001:db8::1]:80",)),
        (("magnet:?xt=urn:btih:aa",), ()),
    ],
)
def test_origins_of(urls: tuple[str, ...], origins: tuple[str, ...]) -> None:
    assert origins_of(TaskSpec(urls=urls)) == origins


@given(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["http://", "https://", "ftp://", "sftp://", "HTTP://", "magnet:", "x://", "//"]),
            st.text("aZ0.-_:@[]\t\n é", max_size=6),
            st.text("/?#:@a0", max_size=6),
        ),
    )
)
def test_what_is_read_quickly_is_read_as_all_the_rest(url: str) -> None:
    try:
        with patch.object(room, "_PLAIN", NEVER):
            said = room._origin_of(url)
    except ValueError:
        assert not room._PLAIN.match(url)
    else:
        assert room._origin_of(url) == said


@pytest.mark.parametrize(
    ("options", "connections"),
    [
        ({}, DEFAULT_CONNECTIONS),
        ({"split": "3"}, 3),
        ({"split": "40"}, 16),
        ({"max-connection-per-server": "2"}, 2),
        ({"split": "1", "max-connection-per-server": "9"}, 1),
        ({"split": "0"}, 1),
        ({"split": "many"}, DEFAULT_CONNECTIONS),
        ({"split": "٣"}, DEFAULT_CONNECTIONS),
        ({"split": "-4"}, DEFAULT_CONNECTIONS),
    ],
)
def test_wanted_connections(options: dict[str, str], connections: int) -> None:
    assert wanted_connections(TaskSpec(urls=("http://one/f",), options=options)) == connections
