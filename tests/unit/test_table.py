"""Commands on the table, one at a time; tests/properties has them in any order."""

from collections.abc import Callable

import msgspec
import pytest

from ariacluster.domain import crew, life
from ariacluster.domain.commands import (
    Absorb,
    Adopt,
    Assign,
    Bury,
    Cancel,
    Command,
    Complete,
    Configure,
    Drain,
    Edit,
    Elect,
    Fail,
    Introduce,
    Measure,
    Miss,
    Move,
    Pause,
    Proposal,
    Refusal,
    Register,
    Release,
    Relink,
    Remove,
    Resign,
    Resume,
    Retry,
    Start,
    Submit,
    Succeed,
    Took,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.formation import Membership
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.policy import Policy
from ariacluster.domain.snapshot import parts, restore, take
from ariacluster.domain.table import FORGOTTEN_AT_ONCE, REMEMBERED_PROPOSALS, REMEMBERED_REMOVALS, Applied, TaskTable
from ariacluster.domain.task import MAX_FAILURES, FailureKind, Result, Task, TaskSpec, TaskState

SPEC = TaskSpec(urls=("http://one/f",))
RESULT = Result(total_bytes=7, file_count=1)
INTO = Membership(cluster_id="d" * 16, cluster_name="default", key="ab", peers={})
ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002")
BOB = Member(id="b", name="bob", address="192.0.2.2", port=8000, raft="192.0.2.2:8002")


class Played:
    """A table, and its proposals numbered."""

    def __init__(self, *commands: Command) -> None:
        self.table = TaskTable()
        self.count = 0
        self.say(Register(ANN), Submit("t", SPEC), *commands)

    def say(self, *commands: Command, at: int = 100) -> Applied:
        self.count += 1
        return self.table.apply(Proposal(id=f"p{self.count}", at=at, by="a", commands=commands))

    def state(self) -> TaskState:
        return self.table.tasks["t"].state


FAIL = Fail("t", 1, FailureKind.ORIGIN, 2, "Timeout.", 0.5)
HOPELESS = Fail("t", 1, FailureKind.LINK, 3, "Gone.", 0.5)
GIVEN = Assign("t", 1, "a", "because")

WAYS: dict[TaskState, tuple[Command, ...]] = {
    TaskState.PENDING: (),
    TaskState.QUEUED: (GIVEN,),
    TaskState.DOWNLOADING: (GIVEN, Start("t", 1)),
    TaskState.PAUSED: (GIVEN, Start("t", 1), Pause("t")),
    TaskState.COMPLETED: (GIVEN, Complete("t", 1, RESULT)),
    TaskState.FAILED: (GIVEN, HOPELESS),
    TaskState.CANCELED: (GIVEN, Cancel("t")),
}
P, Q, D = TaskState.PENDING, TaskState.QUEUED, TaskState.DOWNLOADING

ILLEGAL = "illegal_move"
STALE = "stale_attempt"


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize(
    ("command", "target", "legal", "code"),
    [
        (Measure("t", 7, "v"), None, set(TaskState), ""),
        (Assign("t", 2, "a", ""), Q, {P}, ILLEGAL),
        (Move("t", 2, "b", ""), Q, {P, Q, D}, ILLEGAL),
        (Move("t", 2, "b", "", idle=True), Q, {P, Q}, ILLEGAL),
        (Took("t", 1), None, {Q, D}, STALE),
        (Start("t", 1), D, {Q, D}, STALE),
        (Complete("t", 1, RESULT), TaskState.COMPLETED, {Q, D, TaskState.PAUSED, TaskState.FAILED}, STALE),
        (FAIL, P, {Q, D}, STALE),
        (HOPELESS, TaskState.FAILED, {Q, D}, STALE),
        (Release("t", 1, "Gone."), P, {Q, D}, STALE),
        (Release("t", 1, "Held.", idle=True), P, {Q}, ILLEGAL),
        (Pause("t"), TaskState.PAUSED, {P, Q, D}, ILLEGAL),
        (Resume("t"), P, {TaskState.PAUSED}, ILLEGAL),
        (Retry("t"), P, {TaskState.FAILED, TaskState.CANCELED}, ILLEGAL),
        (Relink("t", ("http://two/f",)), P, {P, Q, D, TaskState.PAUSED, TaskState.FAILED}, ILLEGAL),
        (Cancel("t"), TaskState.CANCELED, {P, Q, D, TaskState.PAUSED}, ILLEGAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Command) else "",
)
def test_every_command_in_every_state(
    state: TaskState, command: Command, target: TaskState | None, legal: set[TaskState], code: str
) -> None:
    """`target` None: it stays where it is."""
    played = Played(Register(BOB), *WAYS[state])
    assert played.state() is state
    if state is P and isinstance(command, Assign | Move):
        command = msgspec.structs.replace(command, attempt=1)  # the first attempt is the next one there
    before = played.table.tasks["t"]
    [outcome] = played.say(command).outcomes
    if state in legal:
        assert outcome is None
        assert played.state() is (target or state)
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.code == (STALE if isinstance(command, Release) and state is not D else code)
        assert str(state) in outcome.detail
        assert played.table.tasks["t"] is before


@pytest.mark.parametrize(
    "command",
    [
        Measure("x", 7),
        Assign("x", 1, "a", ""),
        Move("x", 1, "a", ""),
        Took("x", 1),
        Start("x", 1),
        Complete("x", 1, RESULT),
        Release("x", 1, ""),
        Relink("x", ()),
        *(kind("x") for kind in (Pause, Resume, Retry, Cancel, Remove)),
    ],
    ids=lambda command: type(command).__name__,
)
def test_there_is_no_such_task(command: Command) -> None:
    assert Played().say(command).outcomes == (Refusal("no_such_task", "There is no task x."),)


@pytest.mark.parametrize("attempt", [0, 2, -1])
@pytest.mark.parametrize(
    "speaks",
    [
        lambda n: Start("t", n),
        lambda n: Took("t", n),
        lambda n: Release("t", n, ""),
        lambda n: Complete("t", n, RESULT),
        lambda n: msgspec.structs.replace(FAIL, attempt=n),
    ],
)
def test_only_the_present_attempt_is_heard(speaks: Callable[[int], Command], attempt: int) -> None:
    [outcome] = Played(GIVEN).say(speaks(attempt)).outcomes
    assert outcome == Refusal(STALE, f"Task t is queued at attempt 1; {attempt} is over.")


@pytest.mark.parametrize("kind", [Assign, Move])
def test_an_assignment_needs_a_member_and_the_next_number(kind: type[Assign | Move]) -> None:
    played = Played()
    for attempt in (0, 2, -1):
        wrong = Refusal(STALE, f"Task t is at attempt 0; {attempt} is not next.")
        assert played.say(kind("t", attempt, "a", "")).outcomes == (wrong,)
    assert played.say(kind("t", 1, "z", "")).outcomes == (Refusal("not_found", "There is no node z."),)


def test_a_refusal_tells_what_would_be_legal() -> None:
    [outcome] = Played().say(Resume("t")).outcomes
    assert outcome == Refusal(ILLEGAL, "Task t is pending; resume works only on paused.")
    [outcome] = Played(*WAYS[TaskState.COMPLETED]).say(Cancel("t")).outcomes
    assert isinstance(outcome, Refusal)
    assert outcome.detail.endswith("cancel works only on pending, queued, downloading or paused.")


def test_commands_of_a_proposal_take_effect_in_order_each_for_itself() -> None:
    played = Played()
    applied = played.say(Start("t", 1), GIVEN, Start("t", 1), Start("t", 1), Resume("t"))
    assert [outcome and outcome.code for outcome in applied.outcomes] == [STALE, None, None, None, ILLEGAL]
    assert [
        (change.before and change.before.state, change.after and change.after.state) for change in applied.changes
    ] == [
        (P, Q),
        (Q, D),
    ]


def test_a_failed_attempt_is_remembered_and_put_off() -> None:
    played = Played(GIVEN)
    played.say(FAIL, at=5_000)
    row = played.table.tasks["t"]
    assert (row.state, row.node, row.attempt, row.tries) == (P, "a", 1, 1)
    assert row.not_before == 7_000
    assert [(f.attempt, f.node, f.at, f.code, f.message) for f in row.failures] == [(1, "a", 5_000, 2, "Timeout.")]
    assert row.reason == "Timeout."


def test_retry_forgets_the_failures_but_not_the_attempt() -> None:
    played = Played(*WAYS[TaskState.FAILED])
    assert played.table.tasks["t"].tries == 1
    played.say(Retry("t"))
    row = played.table.tasks["t"]
    assert (row.state, row.attempt, row.node, row.tries, row.failures, row.reason) == (P, 1, "a", 0, (), "")


def test_only_the_newest_failures_are_kept_but_all_tries_are_counted() -> None:
    played = Played(Submit("many", TaskSpec(urls=SPEC.urls, max_attempts=30)))
    for attempt in range(1, 30):
        fail = Fail("many", attempt, FailureKind.ORIGIN, 2, f"No {attempt}.", 0.5)
        assert set(played.say(Assign("many", attempt, "a", ""), fail).outcomes) == {None}
        assert played.table.tasks["many"].state is P
    row = played.table.tasks["many"]
    assert len(row.failures) == MAX_FAILURES
    assert [failure.attempt for failure in row.failures] == list(range(14, 30))
    played.say(Assign("many", 30, "a", ""), Fail("many", 30, FailureKind.ORIGIN, 2, "No 30.", 0.5))
    row = played.table.tasks["many"]
    assert row.reason == "It failed 30 times. Last: No 30."
    assert row.state is TaskState.FAILED


def test_a_removed_id_does_not_come_back() -> None:
    """A node may still hold bytes of the old task: under the same id it would take them for the new one's."""
    played = Played(Remove("t"))
    [outcome] = played.say(Submit("t", SPEC)).outcomes
    assert isinstance(outcome, Refusal)
    assert outcome.code == "task_removed"
    again = restore(parts(take(played.table)))
    assert again.apply(Proposal(id="later", at=1, by="a", commands=(Submit("t", SPEC),))).outcomes == (outcome,)


def test_removed_ids_are_forgotten_in_the_end() -> None:
    played = Played(Remove("t"))
    played.table.removed.update(dict.fromkeys(map(str, range(REMEMBERED_REMOVALS + FORGOTTEN_AT_ONCE - 2))))
    played.say(Submit("u", SPEC), Remove("u"))
    assert played.say(Submit("t", SPEC)).outcomes == (None,)


def test_registering_is_noted_once_and_keeps_the_first_time() -> None:
    played = Played()
    assert not played.say(Register(ANN), at=900).members_changed
    assert played.table.members["a"].joined_at == 100
    moved = Member(id="a", name="ann", address="192.0.2.9", port=8000, raft="192.0.2.9:8002", joined_at=5)
    assert played.say(Register(moved), at=900).members_changed
    assert (played.table.members["a"].address, played.table.members["a"].joined_at) == ("192.0.2.9", 100)


def test_a_member_that_was_taken_off_is_given_nothing_more() -> None:
    played = Played(Register(BOB), Assign("t", 1, "b", ""))
    applied = played.say(Unregister("b"))
    assert (applied.outcomes, applied.members_changed, applied.changes) == ((None,), True, ())
    assert played.table.busy_nodes() == ["b"], "the dispatcher takes its tasks back, as from a lost node"
    assert played.say(Release("t", 1, "Gone.")).outcomes == (None,)
    for command, code in ((Assign("t", 2, "b", ""), "not_found"), (Unregister("b"), "not_found")):
        [outcome] = played.say(command).outcomes
        assert isinstance(outcome, Refusal)
        assert outcome.code == code
    assert played.say(Register(BOB), Assign("t", 2, "b", "")).outcomes == (None, None), "it may come back"


def test_the_last_member_stays() -> None:
    played = Played()
    [outcome] = played.say(Unregister("a")).outcomes
    assert isinstance(outcome, Refusal)
    assert outcome.code == "conflict"
    assert "ann" in outcome.detail
    assert list(played.table.members) == ["a"]


def test_a_proposal_id_is_forgotten_only_after_many_others() -> None:
    table = TaskTable()
    submit = Proposal(id="first", at=1, by="a", commands=(Submit("t", SPEC), Pause("t"), Resume("t")))
    table.apply(submit)
    for number in range(REMEMBERED_PROPOSALS + FORGOTTEN_AT_ONCE - 2):
        table.apply(Proposal(id=str(number), at=1, by="a", commands=()))
    assert table.apply(submit).changes == ()
    table.apply(Proposal(id="one more", at=1, by="a", commands=()))
    assert len(table.recent) == REMEMBERED_PROPOSALS
    assert len(table.apply(submit).changes) == 2, "it is applied anew: paused, resumed"


def test_a_node_with_an_empty_name_is_a_node_too() -> None:
    """Nothing hands out such an id; if one comes, its tasks must still be found again."""
    nameless = Member(id="", name="", address="192.0.2.1", port=8000, raft="192.0.2.1:8002")
    played = Played(Register(nameless), Assign("t", 1, "", ""))
    assert played.table.busy_nodes() == [""]
    assert played.say(Release("t", 1, "Gone.")).outcomes == (None,)


def test_of_what_a_node_has_not_begun_the_youngest_comes_first() -> None:
    """From there another node with free slots is given some: who came last would wait longest."""
    played = Played(*(Submit(name, SPEC) for name in "xyz"), Register(BOB))
    played.say(*(Assign(name, 1, "a", "") for name in "zyx"), GIVEN, Start("y", 1))
    assert [task.id for task in played.table.idle_at("a")] == ["z", "x", "t"]
    assert (played.table.idle_count("a"), played.table.load_of("a")) == (3, 4)
    played.say(*(Start(name, 1) for name in "tx"), Move("z", 2, "b", ""))
    assert [task.id for task in played.table.idle_at("b")] == ["z"]
    for node in ("a", "nobody"):
        assert (list(played.table.idle_at(node)), played.table.idle_count(node)) == ([], 0)
    assert played.table._idle.keys() == {"b"}, "nothing is kept of a node that has none"


# -- clusters that become one -------------------------------------------------------------------------------------


EVERY = [
    Submit("u", SPEC), Measure("t", 7), GIVEN, Move("t", 2, "a", ""), Took("t", 1), Start("t", 1), Pause("t"),
    Complete("t", 1, RESULT), FAIL, Release("t", 1, "Gone."), Resume("t"), Retry("t"), Relink("t", ()), Edit("t", SPEC, 0),
    Cancel("t"),
    Remove("t"), Register(ANN), Unregister("a"), Introduce(BOB), Miss("a", 5), Resign("a"), Drain("a", 5), Undrain("a"),
    Elect("a", 7), Tune("a", Tuning(slots=1)), Configure(Policy(min_free=5)), Adopt(Played().table.tasks["t"]), Bury(("t",)),
    Absorb("c"), Succeed(INTO),
]  # fmt: skip


def test_these_are_all_commands_that_there_are() -> None:
    assert {type(command) for command in EVERY} == {*life.HANDLERS, *crew.HANDLERS}


@pytest.mark.parametrize("command", EVERY, ids=lambda command: type(command).__name__)
def test_a_table_that_has_a_successor_is_closed(command: Command) -> None:
    played = Played(GIVEN)
    assert played.say(Succeed(INTO)).outcomes == (None,)
    assert played.table.successor == INTO
    rows, members, order = played.table.tasks.copy(), played.table.members.copy(), played.table.next_seq
    applied = played.say(command)
    [outcome] = applied.outcomes
    assert isinstance(outcome, Refusal)
    assert outcome.code == "moved"
    assert (applied.changes, applied.members_changed) == ((), False)
    assert (played.table.tasks, played.table.members, played.table.next_seq) == (rows, members, order)
    assert (played.table.removed, played.table.absorbed, played.table.successor) == ({}, {}, INTO)
    assert (played.table.policy, played.table.origins) == (Policy(), {})


def test_what_comes_before_the_last_word_in_its_proposal_counts() -> None:
    played = Played()
    outcomes = played.say(Submit("u", SPEC), Succeed(INTO), Submit("v", SPEC)).outcomes
    assert [outcome and outcome.code for outcome in outcomes] == [None, None, "moved"]
    assert list(played.table.tasks) == ["t", "u"]


def test_what_is_buried_does_not_come_back() -> None:
    played = Played(GIVEN)
    applied = played.say(Bury(("t", "elsewhere")))
    assert applied.outcomes == (None,)
    assert [(change.before and change.before.id, change.after) for change in applied.changes] == [("t", None)]
    assert played.table.busy_nodes() == []
    for task_id in ("t", "elsewhere"):
        row = Task(id=task_id, spec=SPEC, seq=1, created_at=1, updated_at=1)
        outcomes = played.say(Submit(task_id, SPEC), Adopt(row)).outcomes
        assert [outcome and outcome.code for outcome in outcomes] == ["task_removed"] * 2
        assert task_id not in played.table.tasks
    assert played.say(Bury(("t", "elsewhere"))).changes == ()


def test_a_cluster_is_absorbed_once() -> None:
    played = Played(Absorb("one"), Absorb("two", whole=True), Absorb("one", whole=True), Absorb("two"))
    assert list(played.table.absorbed.items()) == [("one", True), ("two", True)], "what is whole stays whole"


def test_a_row_of_another_cluster_is_taken_over_behind_those_that_are_here() -> None:
    other = Played(Submit("u", SPEC), Assign("u", 1, "a", "there"))
    played = Played()
    assert played.say(Adopt(other.table.tasks["u"])).outcomes == (None,)
    assert (played.table.tasks["u"].seq, played.table.next_seq) == (2, 3)
    assert played.table.tasks["u"].reason == "there"
    assert [task.id for task in played.table.assigned_to("a")] == ["u"], "what runs goes on"
    assert played.say(Adopt(other.table.tasks["u"])).changes == (), "said again, it changes nothing"
    assert other.say(Complete("u", 1, RESULT)).outcomes == (None,)
    assert played.say(Adopt(other.table.tasks["u"])).outcomes == (None,)
    assert (played.table.tasks["u"].state, played.table.tasks["u"].seq) == (TaskState.COMPLETED, 2)


def test_who_is_introduced_is_not_written_over() -> None:
    played = Played()
    moved = Member(id="a", name="ann", address="192.0.2.9", port=8000, raft="192.0.2.9:8002")
    assert not played.say(Introduce(moved)).members_changed
    assert played.table.members["a"].address == ANN.address
    assert played.say(Introduce(BOB)).members_changed
    assert played.table.members["b"].joined_at == 100


def test_who_is_away_is_written_down_until_it_is_back() -> None:
    played = Played()
    assert played.say(Miss("a", 77)).members_changed
    assert not played.say(Miss("a", 77)).members_changed
    assert played.table.members["a"].missed_since == 77
    played.say(Register(ANN))
    assert played.table.members["a"].missed_since == 77, "the leader says when it is back"
    played.say(Miss("a", 0))
    assert played.table.members["a"].missed_since == 0


def test_a_resignation_lasts_until_it_registers_again() -> None:
    played = Played()
    assert played.say(Resign("a")).members_changed
    assert played.table.members["a"].resigned
    played.say(Miss("a", 5))
    assert played.table.members["a"].resigned
    assert played.say(Register(ANN)).members_changed
    assert not played.table.members["a"].resigned


@pytest.mark.parametrize("command", [Miss("z", 5), Resign("z")])
def test_of_a_stranger_nothing_is_noted(command: Command) -> None:
    applied = Played().say(command)
    assert applied.outcomes == (Refusal("not_found", "There is no node z."),)
    assert not applied.members_changed


def test_the_newest_language_is_remembered() -> None:
    table = TaskTable()
    for number, version in enumerate((1, 3, 2)):
        table.apply(Proposal(id=str(number), at=1, by="a", commands=(), v=version))
    assert table.language == 3
