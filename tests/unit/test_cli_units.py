"""Numbers as a person reads them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.cli import units


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (12_345, "12.3 kB"),
        (123_456, "123 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (9_996_000, "10.0 MB"),
        (99_960_000, "100 MB"),
        (1_230_000_000, "1.23 GB"),
        (-5, "0 B"),
    ],
)
def test_sizes_have_three_digits(count: int, shown: str) -> None:
    assert units.size(count) == shown


@given(st.integers(0, 999 * 10**18), st.integers(0, 999 * 10**18))
def test_columns_are_as_narrow_as_they_promise(one: int, other: int) -> None:
    done, total = sorted((one, other))
    assert len(units.size(total)) <= 7
    assert len(units.part(done, total)) <= 12
    assert len(units.clock(total / 10**6)) <= 7


def test_a_part_is_said_in_the_unit_of_the_whole() -> None:
    assert units.part(123_000_000, 1_230_000_000) == "0.12/1.23 GB"
    assert units.part(5_000_000, 0) == "5.00 MB"
    assert units.part(0, 0) == ""


def test_a_hundred_percent_is_only_said_of_the_whole() -> None:
    assert units.percent(99.99) == "99%"
    assert units.percent(100) == "100%"


@pytest.mark.parametrize(
    ("seconds", "clock", "duration"),
    [
        (5, "0:05", "5 s"),
        (754, "12:34", "12 min"),
        (3_720, "1:02 h", "1 h 2 min"),
        (7_200, "2:00 h", "2 h"),
        (270_000, "3 d", "3 d 3 h"),
    ],
)
def test_times(seconds: int, clock: str, duration: str) -> None:
    assert units.clock(seconds) == clock
    assert units.duration(seconds) == duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "just now"), (0, "just now"), (40, "40 s ago"), (200, "3 min ago"), (8_000, "2 h ago"), (400_000, "4 d ago")],
)
def test_moments_are_relative(seconds: int, shown: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert units.ago(now - timedelta(seconds=seconds), now) == shown
