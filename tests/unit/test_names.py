"""What people call a task, as its link suggests it."""

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain import names
from ariacluster.domain.names import name_of_url


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://one.example/pub/film.iso", "film.iso"),
        ("ftp://192.0.2.1/film.iso", "film.iso"),
        ("http://one.example/pub/film.iso?a/b", "film.iso"),
        ("http://one.example/pub/film.iso#a/b", "film.iso"),
        ("http://one.example?key=a/b", "one.example"),
        ("http://one.example/pub/my%20film.iso", "my film.iso"),
        ("http://one.example/pub/", "pub"),
        ("http://one.example:8080/", "one.example:8080"),
        ("https://somebody:secret@one.example", "one.example"),
        ("magnet:?xt=urn:btih:aa&dn=a+film", "a film"),
        ("magnet:?xt=urn:btih:aa", "magnet:?xt=urn:btih:aa"),
    ],
)
def test_a_link_suggests_a_name(url: str, name: str) -> None:
    assert name_of_url(url) == name


@given(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(["http://", "https://", "sftp://", "HTTP://", "magnet:"]),
            st.text("aZ0.-_:@ é", max_size=4),
            st.text("/?#;:@a0.%+ é\n", max_size=8),
        ),
    )
)
def test_a_name_that_is_read_quickly_is_the_same(url: str) -> None:
    quickly = name_of_url(url)
    with patch.object(names, "_PLAIN", re.compile(r"(?!)")):
        assert name_of_url(url) == quickly
