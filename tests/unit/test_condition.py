import pytest

from ariacluster.domain.condition import LASTING_S, Condition

MIN = 1_000


def after(*steps: tuple[str, int | None, float]) -> Condition:
    """What a fault, free bytes and a time, one after the other, lead to."""
    condition = Condition()
    for fault, free, now in steps:
        condition = condition.judge(fault, free, MIN, now)
    return condition


def disk(*free: int) -> Condition:
    return after(*(("", bytes_free, 0.0) for bytes_free in free))


@pytest.mark.parametrize(
    ("free", "pressed", "full"),
    [
        ((MIN,), False, False),
        ((MIN - 1,), True, False),
        ((MIN - 1, MIN), True, False),
        ((MIN - 1, MIN * 5 // 4), False, False),
        ((MIN // 4 + 1,), True, False),
        ((MIN // 4,), True, True),
        ((MIN // 4, MIN), True, True),
        ((MIN // 4, MIN * 5 // 4), False, False),
        ((MIN * 5 // 4 - 1,), False, False),
    ],
)
def test_a_disk_that_fills_up_and_is_emptied(free: tuple[int, ...], pressed: bool, full: bool) -> None:
    condition = disk(*free)
    assert (condition.pressed, condition.full) == (pressed, full)
    assert bool(condition.trouble) == full, "a low disk is told by its number, a full one in words"


def test_the_sentence_of_a_full_disk() -> None:
    condition = Condition().judge("", 200_000_000, 1_000_000_000, 0)
    assert condition.trouble == "Its disk has only 200 MB left, and 1.0 GB are to stay free; make room."
    assert not condition.faulty


def test_without_a_reserve_only_an_empty_disk_is_full() -> None:
    assert not Condition().judge("", 1, 0, 0).pressed
    assert Condition().judge("", 0, 0, 0).full


def test_a_disk_that_nobody_knows_is_as_it_was() -> None:
    assert after(("", 0, 0), ("", None, 1)).full
    assert not after(("", None, 0)).pressed


def test_trouble_that_lasts_presses() -> None:
    gone = "The folder is gone."
    assert after((gone, None, 7)) == Condition(trouble=gone, since=7)
    assert not after((gone, None, 7), (gone, None, 7 + LASTING_S - 0.1)).pressed
    assert after((gone, None, 7), ("Another one.", None, 7 + LASTING_S)).pressed
    assert not after((gone, None, 7), (gone, None, 20), ("", None, 21)).pressed
    assert not after((gone, None, 7), ("", None, 8), (gone, None, 7 + LASTING_S)).pressed
