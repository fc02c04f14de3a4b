"""Which links lead to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.identity import identities, info_hash_of, key_of, of_url
from ariacluster.domain.task import TaskSpec

HASH = "0123456789abcdef0123456789abcdef01234567"
BASE32 = "AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://one/f", "http://one/f"),
        ("HTTP://One.Example:80/f", "http://one.example/f"),
        ("https://one:443", "https://one/"),
        ("https://one:444", "https://one:444/"),
        ("http://me:secret@one/f#part", "http://one/f"),
        ("http://one/a/./b/../c", "http://one/a/c"),
        ("http://one/../../f", "http://one/f"),
        ("http://one/a/..", "http://one/"),
        ("http://one/a//f", "http://one/a//f"),
        ("http://one/a/...", "http://one/a/..."),
        ("http://one/%7Eme/%2f%41", "http://one/~me/%2FA"),
        ("http://one/f?b=2&a=1", "http://one/f?b=2&a=1"),
        ("http://one/f?x=%2e", "http://one/f?x=."),
        ("http://one./f", "http://one/f"),
        ("ftp://one:21/f", "ftp://one/f"),
        ("sftp://me@one:22/f", "sftp://one/f"),
        ("http://[2001:DB8::1]:8080/f", "http://[2001:db8::1]:8080/f"),
        ("http://one/F", "http://one/F"),
        ("http://[1/f", ""),
        ("http://one:x/f", ""),
        (f"magnet:?dn=name&xt=urn:btih:{HASH.upper()}&tr=http://t", f"btih:{HASH}"),
        (f"MAGNET:?xt=urn:btih:{BASE32.lower()}", f"btih:{HASH}"),
        ("magnet:?xt=urn:btih:12", ""),
        ("magnet:?xt=urn:btmh:1220aa", ""),
        (f"magnet:?xt=urn:sha1:x&xt=urn:btih:{HASH}", f"btih:{HASH}"),
    ],
)
def test_one_spelling_for_all_that_lead_to_the_same(url: str, normal: str) -> None:
    assert of_url(url) == normal
    assert not normal or of_url(normal) == normal or normal.startswith("btih:")


def test_a_task_fetches_what_any_of_its_links_leads_to() -> None:
    spec = TaskSpec(urls=("http://one/f", "HTTP://one:80/f", "http://two/f"))
    assert identities(spec) == {key_of(url): url for url in ("http://one/f", "http://two/f")}


def test_keys_are_the_same_on_every_machine() -> None:
    assert key_of("http://one/f") == 0xE9DC3BCA143A6A39


@given(st.text() | st.from_regex(r"[a-z]{2,6}://[^\n]{0,40}", fullmatch=True))
def test_any_text_has_one_spelling_or_none(text: str) -> None:
    normal = of_url(text)
    assert isinstance(normal, str)
    info_hash_of(text)
    if normal:
        key_of(normal)


def test_thousands_of_fields_in_a_magnet_link_are_none() -> None:
    assert info_hash_of("magnet:?" + "&".join(["xt=urn:btih:" + HASH] * 1000)) == ""
