"""What aria2 is told, option by option."""

from pathlib import Path

import pytest

from ariacluster_node.adapters.aria2.orders import limiting, options_of
from ariacluster_node.ports import EngineLimits, Job

ONE = ("http://a/x",)
TWO = ("http://a/x", "https://a:8443/x", "http://b/x")


def told(
    *, urls: tuple[str, ...] = ONE, connections: int = 0, options: dict[str, str] | None = None
) -> tuple[str | None, str | None]:
    """`max-connection-per-server` and `split`; None where nothing is said."""
    job = Job(gid="a", urls=urls, folder=Path("/f"), connections=connections, options=options or {})
    said = options_of(job)
    return said.get("max-connection-per-server"), said.get("split")


def test_without_a_limit_the_options_stand() -> None:
    assert told() == (None, None)
    assert told(options={"split": "3"}) == (None, "3")


@pytest.mark.parametrize(
    ("connections", "urls", "options", "both"),
    [
        (1, ONE, {}, ("1", "1")),
        (4, ONE, {}, ("4", "4")),
        (12, ONE, {}, ("12", "8")),
        (40, ONE, {}, ("16", "8")),
        (3, TWO, {}, ("3", "6")),  # two hosts, three links
        (2, ONE, {"split": "16"}, ("2", "2")),
        (6, TWO, {"split": "16"}, ("6", "12")),
        (6, TWO, {"split": "2", "max-connection-per-server": "1"}, ("1", "2")),
        (6, ONE, {"max-connection-per-server": "9"}, ("6", "6")),
    ],
)
def test_no_origin_gets_more_than_allowed(
    connections: int, urls: tuple[str, ...], options: dict[str, str], both: tuple[str, str]
) -> None:
    assert told(connections=connections, urls=urls, options=options) == both


def test_nonsense_is_left_for_aria2_to_refuse() -> None:
    assert told(connections=2, options={"split": "many"}) == ("2", "many")


def test_a_ratio_is_seeded_to_unless_a_time_is_given() -> None:
    job = Job(gid="a", urls=ONE, folder=Path("/f"))
    assert "seed-time" not in options_of(job)
    by_ratio = options_of(Job(gid="a", urls=ONE, folder=Path("/f"), options={"seed-ratio": "1.5"}))
    assert float(by_ratio["seed-time"]) > 1_000_000
    assert float(by_ratio["seed-time"]) * 60 < 2**31, "aria2 counts seconds in an int"
    both = options_of(Job(gid="a", urls=ONE, folder=Path("/f"), options={"seed-ratio": "1.5", "seed-time": "3"}))
    assert both["seed-time"] == "3"


def test_what_was_not_selected_of_a_torrent_goes_unless_it_is_to_stay() -> None:
    def removes(**options: str) -> object:
        return options_of(Job(gid="a", urls=ONE, folder=Path("/f"), options=options)).get("bt-remove-unselected-file")

    keep = {"select-file": "1", "bt-remove-unselected-file": "false"}
    assert (removes(), removes(**{"select-file": "1"}), removes(**keep)) == (None, "true", "false")


def test_limits_are_such_that_aria2_takes_them() -> None:
    assert limiting(EngineLimits(slots=0, download_limit=5)) == {
        "max-concurrent-downloads": "1",
        "max-overall-download-limit": "5",
        "max-overall-upload-limit": "0",
    }
