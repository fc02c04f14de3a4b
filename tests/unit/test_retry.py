"""What an aria2 code means, and what follows a failed attempt."""

import math

import pytest

from ariacluster.domain.policy import FIRST_PAUSE_MS as BASE_DELAY_MS
from ariacluster.domain.policy import LONGEST_PAUSE_MS as MAX_DELAY_MS
from ariacluster.domain.policy import Policy
from ariacluster.domain.retry import (
    CANNOT_RESUME,
    CAUSES,
    KILLS_WITHIN_MS,
    MAX_RETRY_AFTER_MS,
    UNKNOWN,
    Again,
    GiveUp,
    backoff,
    cause,
    counts,
    judge,
)
from ariacluster.domain.task import Failure, FailureKind, Task, TaskSpec

ORIGIN, NODE, LOST, LINK, CONTENT, THROTTLED = (
    FailureKind.ORIGIN,
    FailureKind.NODE,
    FailureKind.LOST,
    FailureKind.LINK,
    FailureKind.CONTENT,
    FailureKind.THROTTLED,
)


@pytest.mark.parametrize(
    ("code", "message", "kind", "retryable"),
    [
        (1, "", ORIGIN, True),
        (2, "", ORIGIN, True),
        (3, "Resource not found", LINK, False),
        (9, "No space left on device", NODE, True),
        (19, "Could not resolve host", ORIGIN, True),
        (22, "The response status is not successful. status=404", LINK, False),
        (22, "The response status is not successful. status=410", LINK, False),
        (22, "The response status is not successful. status=403", LINK, False),
        (22, "The response status is not successful. status=401", LINK, False),
        (22, "The response status is not successful. status=429", THROTTLED, True),
        (22, "The response status is not successful. status=503", THROTTLED, True),
        (22, "The response status is not successful. status=418", ORIGIN, True),
        (29, "", THROTTLED, True),
        (24, "Authorization failed.", LINK, False),
        (1, "status: 403", LINK, False),
        (9, "status=404 is part of some path", NODE, True),
        (32, "", CONTENT, True),
        (28, "", CONTENT, False),
        (0, "", ORIGIN, True),
        (-7, "", ORIGIN, True),
        (4711, "what is this", ORIGIN, True),
    ],
)
def test_cause(code: int, message: str, kind: FailureKind, retryable: bool) -> None:
    meaning = cause(code, message)
    assert (meaning.kind, meaning.retryable) == (kind, retryable)


def test_unknown_codes_are_worth_another_try() -> None:
    assert cause(30, "") is UNKNOWN


@pytest.mark.parametrize("code", sorted(CAUSES))
def test_every_cause_is_told_in_a_sentence(code: int) -> None:
    sentence = CAUSES[code].sentence
    assert sentence[0].isupper() or sentence.startswith("aria2")
    assert sentence.endswith(".")
    assert len(sentence) < 120


def test_bytes_are_thrown_away_only_where_they_are_of_no_use() -> None:
    assert {code for code, meaning in CAUSES.items() if meaning.restart} == {8, 10, 32}


@pytest.mark.parametrize(
    ("tries", "dice", "delay"),
    [
        (1, 0.5, 2_000),
        (1, 0.0, 1_000),
        (1, 0.999, 2_998),
        (2, 0.5, 4_000),
        (3, 0.5, 8_000),
        (8, 0.5, 256_000),
        (9, 0.5, 300_000),
        (1000, 0.5, 300_000),
    ],
)
def test_backoff_doubles_and_is_spread(tries: int, dice: float, delay: int) -> None:
    assert backoff(tries, dice) == delay
    assert BASE_DELAY_MS // 2 <= backoff(tries, 0.0) <= delay <= MAX_DELAY_MS * 1.5


@pytest.mark.parametrize("dice", [math.nan, math.inf, -math.inf, -0.1, 1.0, 1e300])
def test_loaded_dice_count_as_the_middle(dice: float) -> None:
    assert backoff(1, dice) == backoff(1, 0.5)


def failure(kind: FailureKind = ORIGIN, node: str = "a", at: int = 10_000, *, ran: int = -1) -> Failure:
    return Failure(attempt=1, node=node, at=at, kind=kind, message="It broke.", ran=ran)


def test_pauses_are_those_that_people_set() -> None:
    policy = Policy(first_pause=500, longest_pause=3_000)
    assert [backoff(tries, 0.5, policy) for tries in (1, 2, 3, 4, 99)] == [500, 1_000, 2_000, 3_000, 3_000]
    assert backoff(3, 0.5, Policy(first_pause=0)) == 0


def test_a_task_that_does_not_say_has_as_many_attempts_as_people_set() -> None:
    for own, cluster, given_up in ((0, 5, False), (0, 1, True), (1, 5, True), (2, 1, False)):
        verdict = judge(task(max_attempts=own), failure(), True, 0.5, policy=Policy(max_attempts=cluster))
        assert isinstance(verdict, GiveUp) == given_up, (own, cluster)


def task(*failures: Failure, max_attempts: int = 5) -> Task:
    tries = sum(one.kind is not LOST for one in failures)
    spec = TaskSpec(urls=("http://one/f",), max_attempts=max_attempts)
    return Task(
        id="t", spec=spec, seq=1, attempt=1, node="a", failures=failures, tries=tries, created_at=0, updated_at=0
    )


def lost(node: str) -> Failure:
    message = f"Taken back: {node} was not heard for 20 s."
    return Failure(attempt=1, node=node, at=10_000, kind=LOST, message=message, ran=7_000)


HOPELESS = GiveUp("It broke.")


@pytest.mark.parametrize(
    ("row", "newest", "retryable", "verdict"),
    [
        (task(), failure(), True, Again(12_000)),
        (task(failure()), failure(), True, Again(14_000)),
        (task(), failure(), False, HOPELESS),
        (task(), failure(LINK), False, HOPELESS),
        (task(max_attempts=1), failure(), True, HOPELESS),
        (task(*4 * [failure()]), failure(), True, GiveUp("It failed 5 times. Last: It broke.")),
        (task(failure(NODE, "a"), failure(NODE, "b")), failure(NODE, "b"), True, Again(18_000)),
        (
            task(failure(NODE, "a"), failure(NODE, "b")),
            failure(NODE, "c"),
            True,
            GiveUp("It failed on 3 different nodes. Last: It broke."),
        ),
        (task(), failure(CONTENT), True, Again(12_000)),
        (task(failure(CONTENT)), failure(CONTENT), True, GiveUp("It broke. Fetching it again did not help.")),
        (task(failure(CONTENT)), failure(ORIGIN), True, Again(14_000)),
        # A lost node is nobody's fault: no waiting, no counting.
        (task(), failure(LOST), True, Again(10_000)),
        (task(max_attempts=1), failure(LOST), True, Again(10_000)),
        (task(failure(LOST, "a"), failure(LOST, "b")), failure(LOST, "c"), True, Again(10_000)),
        (task(failure(LOST, "a"), failure(LOST, "b")), failure(NODE, "c"), True, Again(12_000)),
        (task(*16 * [failure(LOST)], max_attempts=2), failure(), True, Again(12_000)),
        # A throttle says nothing about the node that ran into it.
        (task(failure(NODE, "a"), failure(NODE, "b")), failure(THROTTLED, "c"), True, Again(18_000)),
        (task(failure(THROTTLED, "a"), failure(THROTTLED, "b")), failure(NODE, "c"), True, Again(18_000)),
        (task(max_attempts=1), failure(THROTTLED), True, HOPELESS),
        # A task that takes nodes down: three of them, soon after it began.
        (task(lost("a"), lost("b")), lost("b"), True, Again(10_000)),
        (task(lost("a"), lost("b")), failure(LOST, "c"), True, Again(10_000)),
        (task(lost("a"), lost("b")), failure(LOST, "c", ran=KILLS_WITHIN_MS), True, Again(10_000)),
        (
            task(lost("a"), failure(), lost("b")),
            failure(LOST, "c", ran=KILLS_WITHIN_MS - 1),
            True,
            GiveUp(
                "3 nodes were lost soon after it began on them: a was not heard for 20 s, 7 s after it began;"
                " b was not heard for 20 s, 7 s after it began; It broke, 300 s after it began."
            ),
        ),
    ],
)
def test_judge(row: Task, newest: Failure, retryable: bool, verdict: Again | GiveUp) -> None:
    assert judge(row, newest, retryable, 0.5) == verdict


@pytest.mark.parametrize(
    ("newest", "retry_after", "counted"),
    [
        (failure(), 0, True),
        (failure(), 60_000, True),
        (failure(NODE), 0, True),
        (failure(LOST), 0, False),
        (failure(THROTTLED), 0, True),
        (failure(THROTTLED), -1, True),
        (failure(THROTTLED), 1, False),
    ],
)
def test_what_counts_as_a_try(newest: Failure, retry_after: int, counted: bool) -> None:
    assert counts(newest, retry_after) is counted


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(1, 300_000), (310_000, 310_000), (MAX_RETRY_AFTER_MS + 1, MAX_RETRY_AFTER_MS), (10**18, 86_400_000)],
)
def test_an_origin_that_says_when_is_given_at_least_that_but_no_more_than_a_day(asked: int, waits: int) -> None:
    row = task(*9 * [failure(THROTTLED)], max_attempts=1)
    assert judge(row, failure(THROTTLED), True, 0.5, asked) == Again(10_000 + waits)


def test_an_origin_that_says_too_little_is_asked_less_and_less() -> None:
    waits = [
        judge(task(*n * [failure(THROTTLED)]), failure(THROTTLED), True, 0.5, 1_000).not_before - 10_000  # type: ignore[union-attr]
        for n in range(4)
    ]
    assert waits == [2_000, 4_000, 8_000, 16_000]
    others = task(*3 * [failure(LOST)])
    assert judge(others, failure(THROTTLED), True, 0.5, 1_000) == Again(12_000), "what else went wrong does not count"


def test_beginning_anew_because_it_cannot_be_resumed_is_no_try_and_waits_for_nothing() -> None:
    cannot = Failure(attempt=1, node="a", at=10_000, kind=ORIGIN, code=CANNOT_RESUME)
    assert not counts(cannot)
    assert judge(task(max_attempts=1), cannot, True, 0.5) == Again(10_000)


def test_when_to_come_again_is_heeded_of_a_throttle_only() -> None:
    assert judge(task(), failure(), True, 0.5, 60_000) == Again(12_000)
