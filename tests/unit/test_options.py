"""The allow-list says yes to nothing that names a path, a program or the whole engine."""

import re

from ariacluster.domain.options import ALLOWED, REFUSED


def test_no_option_is_both_allowed_and_refused() -> None:
    assert not ALLOWED & REFUSED.keys()


def test_nothing_dangerous_is_allowed() -> None:
    dangerous = re.compile(
        r"^(on-|rpc-|enable-rpc|dir$|out$|gid$|log|conf-path|input-file|daemon|stop|save-|load-|netrc|dht-|listen-port"
        r"|index-out|max-overall|max-concurrent|interface|.*-path$|.*certificate$|.*private-key|continue|allow-overwrite)"
    )
    assert {option for option in ALLOWED if dangerous.match(option)} == {"check-certificate"}


def test_options_are_spelled_as_aria2_does() -> None:
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", option) for option in ALLOWED | REFUSED.keys())


def test_every_refusal_has_its_reason() -> None:
    assert all(reason.endswith(".") for reason in REFUSED.values())
