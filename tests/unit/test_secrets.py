"""Where a task holds secrets, and what they are called."""

import pytest

from ariacluster.domain.secrets import changed, names, scrubbed, shown
from ariacluster.domain.task import TaskSpec

FULL = TaskSpec(
    urls=("https://ada:p%40ss@one:8443/f?a=b@c", "http://two/f", "ftp://ada@three/f"),
    headers=("Cookie: sid=1", "authorization:Bearer x"),
    options={
        "http-passwd": "a",
        "header": "X-Key: b",
        "all-proxy": "http://me:c@proxy:3128",
        "http-proxy": "me:d@proxy",
        "https-proxy": "proxy:3128",
        "no-proxy": "one,two",
        "split": "4",
    },
)


def test_they_are_named_and_nothing_else_is_touched() -> None:
    assert names(FULL) == [
        "password of the link",
        "header Cookie",
        "header authorization",
        "http-passwd",
        "header X-Key",
        "password of all-proxy",
        "password of http-proxy",
    ]
    hidden = changed(FULL, lambda secret: f"<{len(secret)}>")
    assert hidden.urls == ("https://ada:<6>@one:8443/f?a=b@c", *FULL.urls[1:])
    assert hidden.headers == ("Cookie: <5>", "authorization: <8>")
    assert hidden.options == {
        "http-passwd": "<1>",
        "header": "X-Key: <1>",
        "all-proxy": "http://me:<1>@proxy:3128",
        "http-proxy": "me:<1>@proxy",
        "https-proxy": "proxy:3128",
        "no-proxy": "one,two",
        "split": "4",
    }


@pytest.mark.parametrize("url", ["http://one/f", "magnet:?xt=urn:btih:x:y@z", "http://one/a:b@c", "http://one?x=:@"])
def test_who_has_none_stays_the_very_same(url: str) -> None:
    spec = TaskSpec(urls=(url,), options={"split": "4"})
    assert changed(spec, str.upper) is spec
    assert names(spec) == []


def test_a_sentence_loses_its_passwords() -> None:
    text = "Failed: HTTP://me:s:e@c@one/f and ftp://a:b@c, but not me:x@y, http://one/a:b@c"
    assert scrubbed(text) == "Failed: HTTP://me:***@one/f and ftp://a:***@c, but not me:x@y, http://one/a:b@c"
    assert scrubbed("a" * 50_000 + "@") == "a" * 50_000 + "@"


def test_options_are_shown_without_them() -> None:
    told = {key: shown(key, value) for key, value in FULL.options.items()}
    assert told["http-passwd"] == "***" and told["header"] == "X-Key: ***" and told["split"] == "4"
    assert told["http-proxy"] == "me:***@proxy" and told["https-proxy"] == "proxy:3128"
