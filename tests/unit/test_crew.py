"""What commands do to members and to the policy; tests/unit/test_table.py has those that make one cluster of two."""

import msgspec
import pytest

from ariacluster.domain.commands import (
    Assign,
    Command,
    Configure,
    Drain,
    Introduce,
    Miss,
    Proposal,
    Refusal,
    Register,
    Resign,
    Submit,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.policy import Policy, Strategy
from ariacluster.domain.table import Applied, TaskTable
from ariacluster.domain.task import TaskSpec

ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002", slots=5)
BOB = Member(id="b", name="bob", address="192.0.2.2", port=8000, raft="192.0.2.2:8002", slots=5)
TUNING = Tuning(slots=2, download_limit=1000, upload_limit=10)


class Crew:
    """A table with two members, written down at 100 ms."""

    def __init__(self, *commands: Command) -> None:
        self.table = TaskTable()
        self.count = 0
        self.say(Register(ANN), Register(BOB), *commands)

    def say(self, *commands: Command, at: int = 100) -> Applied:
        self.count += 1
        return self.table.apply(Proposal(id=f"p{self.count}", at=at, by="a", commands=commands))

    @property
    def ann(self) -> Member:
        return self.table.members["a"]


@pytest.mark.parametrize(
    ("command", "field", "value"),
    [
        (Miss("a", 77), "missed_since", 77),
        (Resign("a"), "resigned", True),
        (Drain("a", 9_000), "drain_until", 9_000),
        (Drain("a", 0), "drain_until", 0),
        (Tune("a", TUNING), "tuning", TUNING),
    ],
)
def test_it_is_written_down_once_of_this_member_and_nothing_else(command: Command, field: str, value: object) -> None:
    crew = Crew()
    before = crew.ann
    applied = crew.say(command)
    assert (applied.outcomes, applied.members_changed, applied.changes) == ((None,), True, ())
    assert getattr(crew.ann, field) == value
    assert crew.ann == msgspec.structs.replace(before, **{field: value})
    assert crew.table.members["b"] == msgspec.structs.replace(BOB, joined_at=100)
    again = crew.say(command)
    assert (again.outcomes, again.members_changed) == ((None,), False)


@pytest.mark.parametrize("command", [Drain("z", 5), Undrain("z"), Tune("z", TUNING), Miss("z", 5), Resign("z")])
def test_of_a_stranger_nothing_is_noted(command: Command) -> None:
    applied = Crew().say(command)
    assert applied.outcomes == (Refusal("not_found", "There is no node z."),)
    assert not applied.members_changed


def test_what_the_cluster_knows_of_a_member_is_not_its_to_change() -> None:
    """A node that restarts registers as its settings say: it is still being drained, and still tuned."""
    crew = Crew(Drain("a", 9_000), Tune("a", TUNING), Miss("a", 77), Resign("a"))
    moved = msgspec.structs.replace(
        ANN, address="192.0.2.9", slots=9, joined_at=5, tuning=Tuning(slots=1), drain_until=1
    )
    assert crew.say(Register(moved), at=900).members_changed
    assert (crew.ann.address, crew.ann.slots) == ("192.0.2.9", 9)
    assert (crew.ann.drain_until, crew.ann.tuning, crew.ann.missed_since, crew.ann.joined_at) == (
        9_000,
        TUNING,
        77,
        100,
    )
    assert not crew.ann.resigned, "it is back"


def test_a_member_that_was_struck_off_begins_anew() -> None:
    crew = Crew(Drain("a", 9_000), Tune("a", TUNING), Unregister("a"))
    crew.say(Register(ANN), at=900)
    assert crew.ann == msgspec.structs.replace(ANN, joined_at=900)


def test_draining_ends_by_a_word() -> None:
    crew = Crew(Drain("a", 9_000), Drain("a", 10_000))
    assert crew.ann.drain_until == 10_000
    assert crew.say(Undrain("a")).members_changed
    assert crew.ann.drain_until is None
    assert not crew.say(Undrain("a")).members_changed


def test_slots_are_those_of_its_settings_unless_somebody_set_them() -> None:
    crew = Crew()
    assert crew.table.policy.slots_of(crew.ann) == 5
    crew.say(Tune("a", Tuning(slots=0)))
    assert (crew.table.policy.slots_of(crew.ann), crew.ann.slots) == (0, 5)
    crew.say(Tune("a", Tuning(download_limit=7)))
    assert crew.table.policy.slots_of(crew.ann) == 5
    crew.say(Configure(Policy(slots=9)))
    assert crew.table.policy.slots_of(crew.ann) == 9, "as the cluster says, while nobody said otherwise of this one"
    crew.say(Tune("a", Tuning(slots=3)))
    assert crew.table.policy.slots_of(crew.ann) == 3
    assert crew.table.policy.slots_of(msgspec.structs.replace(BOB, witness=True, slots=0)) == 0


def test_a_table_takes_what_is_assigned_to_a_drained_node() -> None:
    """Whom to give what is the dispatcher's: a decision that crosses with a drain is no error, and moves on from there."""
    crew = Crew(Drain("a", 0), Submit("t", TaskSpec(urls=("http://one/f",))))
    assert crew.say(Assign("t", 1, "a", "")).outcomes == (None,)


def test_who_is_introduced_keeps_how_it_was_tuned() -> None:
    carol = msgspec.structs.replace(ANN, id="c", name="carol", tuning=TUNING, drain_until=5, missed_since=3)
    crew = Crew(Introduce(carol))
    assert crew.table.members["c"] == msgspec.structs.replace(carol, joined_at=100)
    assert not crew.say(Introduce(msgspec.structs.replace(carol, tuning=Tuning()))).members_changed


def test_the_policy_is_replaced_whole() -> None:
    crew = Crew()
    assert crew.table.policy == Policy()
    first = Policy(strategy=Strategy.TAGS, origin_connections=4, origin_limits={"one": 2}, min_free=7)
    applied = crew.say(Configure(first))
    assert (applied.outcomes, applied.changes, applied.members_changed) == ((None,), (), False)
    assert applied.policy_changed and not crew.say(Configure(first)).policy_changed
    assert crew.table.policy == first
    crew.say(Configure(Policy(origin_connections=9)))
    assert crew.table.policy == Policy(origin_connections=9)


def test_a_limit_is_by_port_before_host_before_all() -> None:
    policy = Policy(origin_connections=4, origin_limits={"one": 2, "one:8080": 1, "[2001:db8::1]": 6, "free:80": 0})
    wanted = {"one:80": 2, "one:8080": 1, "two:80": 4, "[2001:db8::1]:443": 6, "free:80": 0, "free:81": 4}
    assert {origin: policy.limit_of(origin) for origin in wanted} == wanted
