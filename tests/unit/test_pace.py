import pytest

from ariacluster.domain.pace import LATELY_S, Pace


def test_what_ends_regularly_is_told_per_second() -> None:
    pace = Pace()
    for tenth in range(1000):
        pace = pace.after(1, 100 + tenth / 10)
    assert pace.rate == pytest.approx(10, rel=0.02)


def test_it_decays_when_nothing_ends() -> None:
    pace = Pace().after(10, 100)
    assert pace.rate == 10 / LATELY_S
    assert pace.after(0, 100 + LATELY_S).rate == pytest.approx(pace.rate / 2.718, rel=0.01)
    assert pace.after(0, 100 + 20 * LATELY_S).rate < 1e-6


def test_a_clock_that_stands_still_changes_nothing() -> None:
    pace = Pace().after(1, 100)
    assert pace.after(0, 99).rate == pace.rate
