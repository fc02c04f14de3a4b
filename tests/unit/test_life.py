"""What commands do to a row beside moving it: its bytes, its size, its turn, and the origins to be left alone."""

import msgspec
import pytest

from ariacluster.domain.commands import (
    Assign,
    Cancel,
    Command,
    Complete,
    Fail,
    Measure,
    Move,
    Outcome,
    Pause,
    Proposal,
    Refusal,
    Register,
    Release,
    Relink,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
)
from ariacluster.domain.life import FORGIVEN_AFTER_MS, MAX_ASKING_MS, MAX_HOLD_MS
from ariacluster.domain.member import Member
from ariacluster.domain.origins import Origin, links_of
from ariacluster.domain.queue import AGE_MS
from ariacluster.domain.table import Change, TaskTable
from ariacluster.domain.task import FailureKind, Priority, Result, Task, TaskSpec, TaskState

SPEC = TaskSpec(urls=("http://one/f", "https://two:8443/f"), headers=("A: b",), max_attempts=9)
RESULT = Result(total_bytes=7, file_count=1)
P, Q, D = TaskState.PENDING, TaskState.QUEUED, TaskState.DOWNLOADING
HOUR = 3_600_000


class Life:
    """A table with three members and the task `t`, submitted at 1,000 ms."""

    def __init__(self, *commands: Command, spec: TaskSpec = SPEC) -> None:
        self.table = TaskTable()
        self.count = 0
        self.changes: tuple[Change, ...] = ()
        for name in "abc":
            self.say(Register(Member(id=name, name=name, address="192.0.2.1", port=8000, raft="192.0.2.1:8002")))
        self.say(Submit("t", spec), *commands)

    def say(self, *commands: Command, at: int = 1_000) -> Outcome:
        """The last outcome; all before it must be fine."""
        self.count += 1
        applied = self.table.apply(Proposal(id=f"p{self.count}", at=at, by="a", commands=commands))
        assert set(applied.outcomes[:-1]) <= {None}
        self.changes = applied.changes
        return applied.outcomes[-1]

    @property
    def row(self) -> Task:
        return self.table.tasks["t"]


def given(attempt: int, node: str, *, fetch: bool = False) -> Assign:
    return Assign("t", attempt, node, "because", fetch=fetch)


def moved(attempt: int, node: str, *, fetch: bool = False, idle: bool = False) -> Move:
    return Move("t", attempt, node, "better there", fetch=fetch, idle=idle)


def failed(
    attempt: int,
    code: int = 6,
    kind: FailureKind = FailureKind.ORIGIN,
    *,
    retry_after: int = 0,
    task: str = "t",
    message: str = "No.",
) -> Fail:
    return Fail(task, attempt, kind, code, message, 0.5, retry_after)


STARTED = (given(1, "a"), Start("t", 1, 100))
BACK = (*STARTED, Release("t", 1, "Lost."))
"""Pending, with bytes on `a`."""


# -- where the bytes are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "state", "bytes_on", "holder"),
    [
        ((), P, None, None),
        ((given(1, "a"),), Q, None, None),
        (STARTED, D, "a", None),
        (BACK, P, "a", None),
        # assigned again: fetched, given up, or there already
        ((*BACK, given(2, "b", fetch=True)), Q, "a", "a"),
        ((*BACK, given(2, "b")), Q, None, None),
        ((*BACK, given(2, "a")), Q, "a", None),
        ((*BACK, given(2, "a", fetch=True)), Q, "a", None),
        ((given(1, "a", fetch=True),), Q, None, None),
        # fetched; or begun without
        ((*BACK, given(2, "b", fetch=True), Took("t", 2)), Q, "b", None),
        ((*BACK, given(2, "b", fetch=True), Start("t", 2)), D, "b", None),
        ((*BACK, given(2, "b"), Took("t", 2)), Q, None, None),
        # while they are still on their way, they are where they were
        ((*BACK, given(2, "b", fetch=True), Release("t", 2, "Lost.")), P, "a", None),
        ((*BACK, given(2, "b", fetch=True), failed(2)), P, "a", None),
        ((*BACK, given(2, "b", fetch=True), Pause("t")), TaskState.PAUSED, "a", None),
        ((*BACK, given(2, "b", fetch=True), moved(3, "c", fetch=True)), Q, "a", "a"),
        ((*BACK, given(2, "b", fetch=True), moved(3, "a")), Q, "a", None),
        ((*BACK, given(2, "b", fetch=True), moved(3, "c")), Q, None, None),
        # moved
        ((*STARTED, moved(2, "b", fetch=True)), Q, "a", "a"),
        ((*STARTED, moved(2, "b")), Q, None, None),
        ((given(1, "a"), moved(2, "b", fetch=True)), Q, None, None),
        ((moved(1, "b", fetch=True),), Q, None, None),
        ((*STARTED, moved(2, "b", fetch=True), Took("t", 2), moved(3, "c", fetch=True)), Q, "b", "b"),
        # an attempt that failed leaves them, unless they are what it failed of
        ((*STARTED, failed(1)), P, "a", None),
        ((*STARTED, failed(1, 8)), P, None, None),
        ((*STARTED, failed(1, 10, FailureKind.CONTENT)), P, None, None),
        ((*STARTED, failed(1, 32, FailureKind.CONTENT)), P, None, None),
        ((*STARTED, failed(1, 24, FailureKind.LINK)), TaskState.FAILED, "a", None),
        # people
        ((*STARTED, Pause("t"), Resume("t")), P, "a", None),
        ((*STARTED, Cancel("t")), TaskState.CANCELED, None, None),
        ((*STARTED, Cancel("t"), Retry("t")), P, None, None),
        ((*STARTED, failed(1, 24, FailureKind.LINK), Retry("t")), P, "a", None),
        ((*STARTED, failed(1, 24, FailureKind.LINK), Relink("t", ("http://new/f",))), P, "a", None),
        ((*STARTED, Relink("t", ("http://new/f",))), P, "a", None),
        ((*STARTED, Complete("t", 1, RESULT)), TaskState.COMPLETED, None, None),
    ],
)
def test_where_the_bytes_are(
    commands: tuple[Command, ...], state: TaskState, bytes_on: str | None, holder: str | None
) -> None:
    life = Life()
    if commands:
        assert life.say(*commands) is None
    assert (life.row.state, life.row.bytes_on, life.row.holder) == (state, bytes_on, holder)


def test_only_the_present_attempt_takes_bytes_and_it_says_so_once() -> None:
    life = Life(*BACK, given(2, "b", fetch=True))
    stale = life.say(Took("t", 1))
    assert isinstance(stale, Refusal)
    assert stale.code == "stale_attempt"
    assert life.say(Took("t", 2), at=9_000) is None
    assert life.row.updated_at == 1_000, "it moved nowhere by that"
    assert life.say(Took("t", 2)) is None
    assert life.changes == ()


# -- moving -------------------------------------------------------------------------------------------------------


def test_a_move_is_the_next_attempt_elsewhere() -> None:
    life = Life(*STARTED)
    assert life.say(Move("t", 2, "b", "it waited", connections=3), at=7_000) is None
    row = life.row
    assert (row.state, row.attempt, row.node, row.connections, row.reason) == (Q, 2, "b", 3, "it waited")
    assert (row.updated_at, row.size, row.tries, row.failures) == (7_000, 100, 0, ())
    assert life.table.busy_nodes() == ["b"]
    stale = life.say(Start("t", 1))
    assert isinstance(stale, Refusal), "the one that had it is not heard any more"


def test_nothing_is_moved_to_where_it_is() -> None:
    life = Life(*STARTED)
    refusal = life.say(moved(2, "a", fetch=True))
    assert refusal == Refusal("conflict", "Task t is on that node already.")
    assert life.say(Pause("t"), Resume("t"), moved(2, "a")) is None, "it was there, but is not now"


def test_what_has_begun_by_now_stays_if_only_what_waits_was_meant() -> None:
    life = Life(given(1, "a"))
    assert life.say(moved(2, "b", idle=True), Start("t", 2)) is None
    refusal = life.say(moved(3, "c", idle=True))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, life.row.node) == ("illegal_move", "b")


def test_a_pending_task_that_is_moved_waits_no_longer() -> None:
    life = Life(given(1, "a"), failed(1))
    assert life.row.not_before > 1_000
    assert life.say(moved(2, "b")) is None
    assert (life.row.state, life.row.not_before) == (Q, 0)


# -- what the origin says of it -----------------------------------------------------------------------------------


def test_nobody_is_given_a_task_before_its_origin_was_asked() -> None:
    life = Life()
    life.say(
        Submit("u", SPEC, asking=500), Submit("v", TaskSpec(urls=SPEC.urls, not_before=9_000), asking=500), at=2_000
    )
    tasks = life.table.tasks
    assert (tasks["u"].not_before, tasks["v"].not_before, tasks["t"].not_before) == (2_500, 9_000, 0)
    life.say(Measure("u", 77, '"e"'), Measure("v", 78), at=2_100)
    assert (tasks["u"].not_before, tasks["u"].size, tasks["u"].validator) == (0, 77, '"e"')
    assert (tasks["v"].not_before, tasks["v"].size, tasks["v"].validator) == (9_000, 78, "")
    assert tasks["u"].updated_at == 2_000


def test_nobody_waits_for_an_answer_for_more_than_a_minute() -> None:
    life = Life()
    life.say(Submit("u", SPEC, asking=10**15), Submit("v", SPEC, asking=60_000), at=2_000)
    assert {life.table.tasks[task].not_before for task in "uv"} == {2_000 + MAX_ASKING_MS}


def test_what_an_old_link_said_is_not_taken_for_the_new_one() -> None:
    life = Life(Measure("t", 5, "old", links_of(SPEC)))
    assert (life.row.size, life.row.validator) == (5, "old")
    life.say(Relink("t", ("http://new/f",)))
    outcome = life.say(Measure("t", 6, "old", links_of(SPEC)))
    assert outcome == Refusal("conflict", "Task t has another link by now.")
    assert life.say(Measure("t", 7, "new", links_of(life.row.spec))) is None
    assert life.say(Measure("t", 8)) is None, "whichever was asked"
    assert (life.row.size, life.row.validator) == (8, "new")


def test_a_wait_that_people_asked_for_is_over_when_it_is_over() -> None:
    life = Life()
    life.say(Submit("u", TaskSpec(urls=SPEC.urls, not_before=2_300), asking=500), at=2_000)
    assert life.table.tasks["u"].not_before == 2_500
    life.say(Measure("u"), at=2_300)
    assert life.table.tasks["u"].not_before == 0


def test_a_measure_does_not_cut_the_wait_for_another_try_short() -> None:
    life = Life(given(1, "a"), failed(1))
    waits = life.row.not_before
    assert waits > 1_000
    life.say(Measure("t", 5))
    assert (life.row.not_before, life.row.size) == (waits, 5)


def test_what_nobody_knows_takes_nothing_away() -> None:
    life = Life(Measure("t", 5, "v"))
    assert life.say(Measure("t", 0, ""), Measure("t", -3)) is None
    assert life.changes == ()
    assert (life.row.size, life.row.validator) == (5, "v")


def test_aria2_knows_better_how_large_it_is_and_may_learn_it_late() -> None:
    life = Life(Measure("t", 5), given(1, "a"))
    assert life.table.expected_on("a") == 5
    life.say(Start("t", 1, 0))
    assert life.row.size == 5
    life.say(Start("t", 1, 100), at=9_000)
    assert (life.row.size, life.row.updated_at, life.table.expected_on("a")) == (100, 1_000, 100)
    life.say(Start("t", 1, 100))
    assert life.changes == ()


# -- its turn -----------------------------------------------------------------------------------------------------


def test_the_turn_follows_the_time_and_the_priority_and_stays() -> None:
    life = Life()
    turn = 1_000 - AGE_MS * Priority.NORMAL
    assert life.row.turn == turn
    for commands in (
        STARTED,
        (failed(1),),
        (given(2, "b"), Pause("t")),
        (Resume("t"),),
        (Relink("t", ("http://x/",)),),
    ):
        assert life.say(*commands, at=HOUR) is None
        assert life.row.turn == turn


def test_turns_never_run_backwards() -> None:
    life = Life()
    urgent = TaskSpec(urls=SPEC.urls, priority=Priority.URGENT)
    life.say(Submit("u", SPEC), Submit("v", urgent), at=5_000)
    life.say(Submit("w", SPEC), at=3_000)  # by a node whose clock is behind
    life.say(Submit("x", SPEC), at=5_001)
    turns = {task.id: task.turn + AGE_MS * task.spec.priority for task in life.table.tasks.values()}
    assert turns == {"t": 1_000, "u": 5_000, "v": 5_000, "w": 5_000, "x": 5_001}
    assert life.table.tasks["w"].created_at == 3_000


# -- links --------------------------------------------------------------------------------------------------------


def test_a_new_link_begins_a_new_count_and_keeps_the_size() -> None:
    life = Life(Measure("t", 100, "v"), *STARTED, failed(1, 24, FailureKind.LINK))
    assert life.row.state is TaskState.FAILED
    assert life.say(Relink("t", ("ftp://new/f",)), at=8_000) is None
    row = life.row
    assert (row.spec.urls, row.spec.headers) == (("ftp://new/f",), ("A: b",))
    assert (row.size, row.validator, row.attempt, row.node) == (100, "", 1, "a")
    assert (row.tries, row.failures, row.reason, row.not_before, row.updated_at) == (0, (), "", 0, 8_000)
    assert life.say(Relink("t", ("http://newer/f",), ())) is None
    assert life.row.spec.headers == ()


def test_a_new_link_is_tried_at_once() -> None:
    life = Life(given(1, "a"), failed(1))
    assert life.row.not_before > 1_000
    assert life.say(Relink("t", ("http://new/f",))) is None
    assert (life.row.state, life.row.not_before) == (P, 0)


def test_a_new_link_does_not_bring_the_appointed_time_forward() -> None:
    life = Life(Pause("t"), spec=msgspec.structs.replace(SPEC, not_before=50_000))
    assert life.say(Relink("t", ("http://new/f",))) is None
    assert (life.row.state, life.row.not_before) == (P, 50_000)


def test_connections_are_counted_at_the_origins_of_the_present_link() -> None:
    life = Life(Assign("t", 1, "a", "", connections=3))
    assert [life.table.connections_to(o) for o in ("one:80", "two:8443", "new:21")] == [3, 3, 0]
    life.say(Relink("t", ("ftp://new/f",)), given(2, "a"))
    assert [life.table.connections_to(o) for o in ("one:80", "two:8443", "new:21")] == [0, 0, 8]
    life.say(Complete("t", 2, RESULT))
    assert life.table.connections_to("new:21") == 0


# -- origins that want to be left alone ---------------------------------------------------------------------------

THROTTLED = FailureKind.THROTTLED
BOTH = ("one:80", "two:8443")


def throttled(attempt: int, retry_after: int = 0, task: str = "t") -> Fail:
    return failed(attempt, 29, THROTTLED, retry_after=retry_after, task=task)


def test_an_origin_that_asked_for_fewer_requests_is_left_alone_by_all() -> None:
    life = Life(given(1, "a"))
    assert life.say(throttled(1), at=10_000) is None
    assert life.table.origins == dict.fromkeys(BOTH, Origin(12_000, 1))
    assert (life.row.state, life.row.tries, life.row.not_before) == (P, 1, 12_000)


def test_other_failures_are_not_held_against_an_origin() -> None:
    life = Life(given(1, "a"), failed(1), given(2, "a"), failed(2, 7, FailureKind.NODE), given(3, "b"))
    assert life.say(Release("t", 3, "Lost.")) is None
    assert life.table.origins == {}


def test_it_is_left_alone_for_as_long_as_it_says_and_that_is_no_try() -> None:
    life = Life(given(1, "a"))
    life.say(throttled(1, 90_000), at=10_000)
    assert life.table.origins == dict.fromkeys(BOTH, Origin(100_000, 1))
    assert (life.row.tries, life.row.not_before) == (0, 100_000)


def test_one_that_asks_for_less_than_the_usual_is_left_alone_as_usual() -> None:
    life = Life(given(1, "a"))
    life.say(throttled(1, 1), at=10_000)
    assert life.table.origins == dict.fromkeys(BOTH, Origin(12_000, 1))
    assert (life.row.tries, life.row.not_before) == (0, 12_000)
    life.say(given(2, "a"), throttled(2, 1), at=12_000)
    assert life.table.origins["one:80"] == Origin(16_000, 2), "and longer each time"
    assert life.row.not_before == 16_000


def test_no_origin_is_left_alone_for_more_than_a_day() -> None:
    assert MAX_HOLD_MS == 24 * HOUR
    life = Life(given(1, "a"))
    life.say(throttled(1, 10**15), at=10_000)
    assert life.table.origins == dict.fromkeys(BOTH, Origin(10_000 + 24 * HOUR, 1))
    assert life.row.not_before == 10_000 + 24 * HOUR


def test_strikes_in_a_row_double_the_wait_those_of_one_moment_count_once() -> None:
    life = Life(Submit("u", SPEC), given(1, "a"), Assign("u", 1, "b", ""))
    life.say(throttled(1), at=10_000)
    life.say(throttled(1, task="u"), at=11_000)
    assert life.table.origins["one:80"] == Origin(13_000, 1), "it was on its way already"
    life.say(given(2, "a"), throttled(2), at=13_000)
    assert life.table.origins["one:80"] == Origin(17_000, 2), "asked again, it said so again"
    life.say(given(3, "a"), throttled(3), at=17_000)
    assert life.table.origins["one:80"] == Origin(25_000, 3)


def test_a_hold_is_not_shortened_by_another() -> None:
    life = Life(Submit("u", SPEC), given(1, "a"), Assign("u", 1, "b", ""))
    life.say(throttled(1, 60_000), at=10_000)
    life.say(throttled(1, 5_000, task="u"), at=11_000)
    assert life.table.origins["one:80"] == Origin(70_000, 1)


def test_an_origin_that_serves_again_is_forgiven() -> None:
    life = Life(given(1, "a"))
    life.say(throttled(1), at=10_000)
    life.say(given(2, "a"), Complete("t", 2, RESULT), at=12_000)
    assert life.table.origins == {}


def test_what_was_under_way_before_forgives_nothing() -> None:
    only = TaskSpec(urls=("http://one/other",))
    life = Life(Submit("u", only), given(1, "a"), Assign("u", 1, "b", ""))
    life.say(throttled(1), at=10_000)
    life.say(Complete("u", 1, RESULT), at=11_999)
    assert life.table.origins.keys() == set(BOTH), "it still wants to be left alone"


def test_only_the_origins_of_what_was_served_are_forgiven() -> None:
    only = TaskSpec(urls=("http://one/other",))
    life = Life(Submit("u", only), given(1, "a"), Assign("u", 1, "b", ""))
    life.say(throttled(1), at=10_000)
    life.say(Complete("u", 1, RESULT), at=12_000)
    assert life.table.origins.keys() == {"two:8443"}


@pytest.mark.parametrize(("later", "strikes"), [(0, 2), (1, 1)])
def test_an_origin_that_was_long_not_asked_is_a_stranger_again(later: int, strikes: int) -> None:
    assert FORGIVEN_AFTER_MS == HOUR
    life = Life(given(1, "a"))
    life.say(throttled(1), at=10_000)
    life.say(given(2, "a"), throttled(2), at=12_000 + HOUR + later)
    assert life.table.origins["one:80"].strikes == strikes


def test_strangers_are_forgotten_whoever_is_held() -> None:
    life = Life(Submit("u", TaskSpec(urls=("http://three/f",))), given(1, "a"), Assign("u", 1, "b", ""))
    life.say(throttled(1), at=10_000)
    life.say(throttled(1, task="u"), at=12_000 + HOUR + 1)
    assert life.table.origins.keys() == {"three:80"}


def test_a_magnet_link_has_no_origin_to_leave_alone() -> None:
    life = Life(given(1, "a"), spec=TaskSpec(urls=("magnet:?xt=urn:btih:0",)))
    assert life.say(throttled(1)) is None
    assert life.table.origins == {}


# -- attempts that were lost with their node ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silent", "at", "ran"), [(0, 31_000, 30_000), (20_000, 31_000, 10_000), (40_000, 31_000, 0), (0, 500, 0)]
)
def test_how_long_a_lost_attempt_had_run(silent: int, at: int, ran: int) -> None:
    life = Life(*STARTED)
    assert life.say(Release("t", 1, "Lost.", silent), at=at) is None
    [failure] = life.row.failures
    assert (failure.kind, failure.node, failure.at, failure.message, failure.ran) == (
        FailureKind.LOST, "a", at, "Lost.", ran
    )  # fmt: skip
    assert (life.row.tries, life.row.not_before, life.row.reason) == (0, at, "Lost.")


def test_an_idle_task_is_taken_back_without_a_mark_and_one_that_began_is_not() -> None:
    life = Life(*BACK, given(2, "b", fetch=True))
    marks = life.row.failures
    assert life.say(Release("t", 2, "It waits there.", idle=True)) is None
    row = life.row
    assert (row.state, row.reason, row.not_before, row.tries, row.bytes_on) == (P, "It waits there.", 0, 0, "a")
    assert row.failures == marks
    life.say(given(3, "b"), Start("t", 3))
    began = life.row
    refusal = life.say(Release("t", 3, "It waits there.", idle=True))
    assert isinstance(refusal, Refusal) and refusal.code == "illegal_move"
    assert life.row is began
    refusal = life.say(Release("t", 2, "It waits there.", idle=True))
    assert isinstance(refusal, Refusal) and refusal.code == "stale_attempt"


def test_what_is_whole_counts_though_its_attempt_was_ended_meanwhile() -> None:
    for end, state in ((Pause("t"), TaskState.PAUSED), (failed(1, 24, FailureKind.LINK), TaskState.FAILED)):
        life = Life(*STARTED, end)
        assert life.row.state is state
        assert life.say(Complete("t", 1, RESULT)) is None
        assert (life.row.state, life.row.result, life.row.bytes_on) == (TaskState.COMPLETED, RESULT, None)
    life = Life()
    refusal = life.say(Complete("t", 0, RESULT))
    assert isinstance(refusal, Refusal) and refusal.code == "stale_attempt", "nobody ever had it"


def test_an_attempt_that_had_not_begun_did_not_run() -> None:
    life = Life(given(1, "a"))
    life.say(Release("t", 1, "Lost.", 20_000), at=90_000)
    assert life.row.failures[0].ran == -1


def test_a_task_that_takes_three_nodes_down_is_failed_with_their_stories() -> None:
    life = Life()
    for attempt, node in enumerate("abc", 1):
        assert life.row.state is P
        begin = attempt * HOUR
        assert life.say(given(attempt, node), Start("t", attempt), at=begin) is None
        assert life.say(Release("t", attempt, f"{node} was not heard for 20 s.", 20_000), at=begin + 50_000) is None
    assert life.row.state is TaskState.FAILED
    assert all(f"{node} was not heard for 20 s, 30 s after it began" in life.row.reason for node in "abc")


def test_one_that_ran_for_long_is_not_held_to_have_taken_it_down() -> None:
    life = Life()
    for attempt, node in enumerate("abc", 1):
        begin = attempt * HOUR
        life.say(given(attempt, node), Start("t", attempt), at=begin)
        life.say(Release("t", attempt, "Lost.", 20_000), at=begin + 20_000 + 5 * 60_000)
    assert life.row.state is P
