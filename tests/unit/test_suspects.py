from ariacluster.domain.suspects import ALONE_S, FORGOTTEN_AFTER_S, Guilty, Run, Suspects

A, B, C, D = Run("a", 1), Run("b", 1), Run("c", 1), Run("d", 1)
ALL = [A, B, C]


def tried() -> Suspects:
    """Three ran when the engine ended, twice; one of them is on trial now."""
    suspects = Suspects()
    suspects.ended(ALL, 0)
    suspects.ended(ALL, 1)
    assert suspects.held(ALL) == {"b", "c"}
    return suspects


def test_one_end_of_the_engine_holds_nobody_back() -> None:
    suspects = Suspects()
    suspects.ended(ALL, 0)
    assert suspects.held(ALL) == set()


def test_after_the_second_they_run_one_at_a_time_and_nothing_runs_beside() -> None:
    suspects = tried()
    assert suspects.held([*ALL, D]) == {"b", "c", "d"}


def test_who_is_alone_when_the_engine_ends_again_is_guilty_and_the_others_are_tried_on() -> None:
    suspects = tried()
    suspects.look(ALL, [A], 2)
    suspects.ended([A], 3)
    assert suspects.guilty == [Guilty(A, 3)]
    assert suspects.held(ALL) == {"a", "c"}


def test_who_was_not_alone_is_not_guilty_however_often() -> None:
    suspects = Suspects()
    for end in range(9):
        suspects.ended([A, B], end)
    assert suspects.guilty == []


def test_who_runs_alone_for_long_enough_is_acquitted() -> None:
    suspects = tried()
    suspects.look(ALL, [A], 10)
    suspects.look(ALL, [A], 10 + ALONE_S - 1)
    assert suspects.held(ALL) == {"b", "c"}
    suspects.look(ALL, [A], 10 + ALONE_S)
    assert suspects.held(ALL) == {"a", "c"}, "the next one is tried"


def test_who_is_tried_again_must_run_alone_for_longer() -> None:
    suspects = tried()
    suspects.look(ALL, [A], 10)
    suspects.look(ALL, [A], 10 + ALONE_S)
    suspects.ended([A], 50)
    suspects.ended([A], 51)
    assert suspects.held([A, D]) == {"d"}
    suspects.look([A, D], [A], 60)
    suspects.look([A, D], [A], 60 + 2 * ALONE_S - 1)
    assert suspects.held([A, D]) == {"d"}
    suspects.look([A, D], [A], 60 + 2 * ALONE_S)
    assert suspects.held([A, D]) == set()


def test_time_in_company_does_not_count() -> None:
    suspects = tried()
    suspects.look(ALL, [A], 10)
    suspects.look(ALL, [A, D], 20)
    suspects.look(ALL, [A], 30)
    suspects.look(ALL, [A], 10 + ALONE_S)
    assert suspects.held(ALL) == {"b", "c"}


def test_who_completes_is_acquitted() -> None:
    suspects = tried()
    suspects.acquit(A)
    assert suspects.held([B, C]) == {"c"}
    suspects.acquit(B)
    suspects.acquit(C)
    assert suspects.held(ALL) == set()


def test_what_is_not_wanted_any_more_is_forgotten_and_a_new_attempt_is_a_new_chance() -> None:
    suspects = tried()
    suspects.ended([A], 3)
    again = Run("a", 2)
    suspects.look([again], [], 4)
    assert suspects.guilty == []
    assert suspects.held([again]) == set()


def test_ends_that_lie_far_apart_say_nothing() -> None:
    suspects = Suspects()
    suspects.ended([A, B], 0)
    suspects.ended([A, B], FORGOTTEN_AFTER_S)
    assert suspects.held([A, B]) == set()
    suspects.ended([A, B], FORGOTTEN_AFTER_S + 1)
    assert suspects.held([A, B]) == {"b"}
    suspects.look([A, B], [A, B], 3 * FORGOTTEN_AFTER_S)
    assert suspects.held([A, B]) == set()
