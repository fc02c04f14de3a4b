"""Which node: told, named by the environment, or local."""

import pytest

from ariacluster.client.locate import LOCAL, locate
from ariacluster.domain.errors import InvalidInput


def test_what_was_told_goes_before_the_environment_and_that_before_the_local_node() -> None:
    environ = {"ARIACLUSTER_URL": "http://environ:1"}
    assert locate("http://told:2", environ) == "http://told:2"
    assert locate(None, environ) == "http://environ:1"
    assert locate(None, {}) == locate(None, {"ARIACLUSTER_URL": ""}) == LOCAL == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("told", "url"),
    [
        ("nas", "http://nas:8000"),
        ("nas:8001", "http://nas:8001"),
        ("192.0.2.7", "http://192.0.2.7:8000"),
        ("fd00::12", "http://[fd00::12]:8000"),
        ("[fd00::12]:81", "http://[fd00::12]:81"),
        ("http://nas", "http://nas"),
        ("https://nas.example/aria/", "https://nas.example/aria"),
        (" nas:8000/ ", "http://nas:8000"),
    ],
)
def test_an_address_may_be_short(told: str, url: str) -> None:
    assert locate(told, {}) == url


@pytest.mark.parametrize(
    "told", ["", "   ", "ftp://nas", "http://", "nas:port", "nas:99999", "nas:0", "a b", "http://[", "nas?x", "na\x1bs"]
)
def test_what_is_no_address_is_refused_by_the_name_of_its_option(told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        locate(told, {})
    assert caught.value.field == "--url"
