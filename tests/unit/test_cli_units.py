"""Numbers as a person reads them."""

import time
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


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("5M", 5_000_000),
        ("2GB", 2_000_000_000),
        ("500 kB/s", 500_000),
        ("1.5g", 1_500_000_000),
        ("1Ki", 1024),
        ("2MiB", 2 * 1024**2),
        ("7B", 7),
        ("", None),
        ("-1", None),
        ("M", None),
        ("5X", None),
        ("5i", None),
        ("1e3", None),
        ("\u0665", None),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, count: int | None) -> None:
    assert units.bytes_of(text) == count


@given(st.integers(0, 999), st.sampled_from(["B", "kB", "MB", "GB", "TB"]))
def test_what_is_shown_is_read_back(number: int, unit: str) -> None:
    count = number * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert units.bytes_of(units.size(count)) == count
    assert units.bytes_of(f"{units.size(count)}/s") == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("1.5", 1.5), ("10m", 600), ("10min", 600), ("1h30m", 5400), ("2d", 172_800)]
    + [(wrong, None) for wrong in ("", "h", "10x", "m10", "10m5", "-5", "1.5h")],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    assert units.seconds_of(text) == seconds


def test_a_time_to_come_is_read_as_people_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        now = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
        for text, then in (
            ("2h", datetime(2026, 1, 2, 14, 0, tzinfo=UTC)),
            ("18:00", datetime(2026, 1, 2, 17, 0, tzinfo=UTC)),
            ("12:59", datetime(2026, 1, 3, 11, 59, tzinfo=UTC)),
            ("2026-12-24 18:00", datetime(2026, 12, 24, 17, 0, tzinfo=UTC)),
            ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, 0, tzinfo=UTC)),
            ("20261224", datetime(2026, 12, 23, 23, 0, tzinfo=UTC)),
        ):
            assert units.time_of(text, now) == then
        for wrong in ("", "soon", "25:00", "90", "2026-13-01", "999999999d"):
            assert units.time_of(wrong, now) is None
    finally:
        monkeypatch.undo()
        time.tzset()
