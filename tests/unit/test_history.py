"""What the table remembers of what happened, and what people are told of it."""

import pytest

from ariacluster.domain import history
from ariacluster.domain.commands import (
    Absorb,
    Assign,
    Cancel,
    Command,
    Complete,
    Configure,
    Drain,
    Elect,
    Fail,
    Measure,
    Miss,
    Pause,
    Proposal,
    Register,
    Release,
    Relink,
    Remove,
    Resign,
    Resume,
    Retry,
    Start,
    Submit,
    Took,
    Tune,
    Undrain,
    Unregister,
)
from ariacluster.domain.history import Entry, Kind
from ariacluster.domain.member import Member, Tuning
from ariacluster.domain.policy import Policy
from ariacluster.domain.snapshot import parts, restore, take
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import FailureKind, Result, TaskSpec
from ariacluster.wire.codec import decode_snapshot, encode_snapshot
from ariacluster.wire.history import MANY, ONE, entry_of, sentence

SPEC = TaskSpec(urls=("http://one/file.iso",))
ANN = Member(id="a", name="ann", address="192.0.2.1", port=8000, raft="192.0.2.1:8002")
BOB = Member(id="b", name="bob", address="192.0.2.2", port=8000, raft="192.0.2.2:8002")


class Told:
    """A table, and what its history tells of each proposal."""

    def __init__(self, *commands: Command) -> None:
        self.table = TaskTable()
        self.count = 0
        self(*commands)

    def __call__(self, *commands: Command, who: str = "", at: int = 5) -> list[str]:
        self.count += 1
        applied = self.table.apply(Proposal(id=f"p{self.count}", at=at, by="a", who=who, commands=commands))
        return [sentence(entry) for entry in applied.happened]


def test_a_task_from_its_first_day_to_its_last() -> None:
    told = Told(Register(ANN), Register(BOB))
    assert told(Submit("t", SPEC)) == ["file.iso was submitted."]
    assert told(Measure("t", 700), Assign("t", 1, "a", "ann: 2 of 2 slots free"), Took("t", 1)) == [
        "file.iso was given to ann: 2 of 2 slots free."
    ]
    assert told(Start("t", 1), Start("t", 1, 900)) == ["ann began to download file.iso."]
    assert told(Fail("t", 1, FailureKind.ORIGIN, 2, "Too slow.", 0.5)) == [
        "file.iso failed on ann and is tried again: Too slow."
    ]
    told(Assign("t", 2, "b", "bob: free"), Start("t", 2))
    assert told(Release("t", 2, "Taken back: bob was not heard for 21 s.", 21_000)) == [
        "file.iso was taken back from bob, which was lost: Taken back: bob was not heard for 21 s."
    ]
    assert told(Assign("t", 3, "a", "ann"), Release("t", 3, "Taken back: busy.", idle=True))[1:] == [
        "file.iso was taken back from ann: Taken back: busy."
    ]
    assert told(Pause("t"), Resume("t"), Relink("t", ("http://two/other.iso",))) == [
        "file.iso was paused.",
        "file.iso was resumed.",
        "other.iso was given another link.",
    ]
    assert told(Cancel("t"), Retry("t"), Pause("gone")) == ["other.iso was canceled.", "other.iso is to be tried anew."]
    done = (Assign("t", 4, "b", "bob"), Complete("t", 4, Result(total_bytes=1, file_count=1)), Remove("t"))
    assert told(*done)[1:] == ["bob has downloaded other.iso.", "other.iso was taken off the list."]
    hopeless = (Submit("u", SPEC), Assign("u", 1, "a", "ann"), Fail("u", 1, FailureKind.LINK, 3, "Gone.", 0.5))
    assert told(*hopeless)[2:] == ["file.iso failed: Gone."]


def test_nodes_come_and_go() -> None:
    told = Told(Register(ANN))
    assert told(Register(BOB)) == ["bob joined the cluster."]
    assert told(Register(BOB), Miss("b", 0), Undrain("b"), Configure(Policy())) == [], "it is so already"
    assert told(Miss("b", 3)) == ["bob is not heard any more."]
    assert told(Miss("b", 0), Drain("b", 9), Undrain("b"), Tune("b", Tuning(slots=3))) == [
        "bob is back.",
        "bob is being emptied.",
        "bob takes tasks again.",
        "bob was given other slots or limits.",
    ]
    assert told(Resign("b"), Register(BOB), Unregister("b")) == [
        "bob said goodbye.",
        "bob is back.",
        "bob is no longer a member.",
    ]
    assert told(Elect("a", 7), Elect("a", 7), Elect("a", 6)) == ["ann leads since term 7."]
    assert told(Configure(Policy(first_pause=9, min_free=5))) == ["Settings were changed: min_free, retry_pause."]
    assert told(Absorb("c9"), Absorb("c9")) == ["The cluster c9 was taken in."]


def test_of_many_one_tells_how_many_and_rare_things_stay() -> None:
    told = Told(Register(ANN))
    few = [Submit(f"few{n}", SPEC) for n in range(history.FEW)]
    assert len(told(*few)) == history.FEW
    many = [Submit(f"t{n:04}", SPEC) for n in range(1234)]
    assert told(*many, Elect("a", 1)) == [
        "1,234 tasks were submitted, the first of them file.iso.",
        "ann leads since term 1.",
    ]
    [entry] = [entry for entry in told.table.history.entries if entry.count > 1]
    assert (entry.task, entry.count, entry.kind) == ("t0000", 1234, Kind.TASK_SUBMITTED)


def test_it_says_whose_word_it_was() -> None:
    told = Told(Register(ANN))
    told(Submit("t", SPEC), who="192.0.2.9")
    entry = entry_of(told.table.history.entries[-1])
    assert (entry.who, entry.kind, entry.task, entry.task_name) == ("192.0.2.9", "task_submitted", "t", "file.iso")
    assert (entry.node, entry.node_name, entry.seq) == (None, None, 2)


def test_the_oldest_are_forgotten_and_the_numbers_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(Register(ANN))
    for term in range(1, history.KEPT + 5):
        told(Elect("a", term))
    entries = told.table.history.entries
    assert (len(entries), entries[0].seq, entries[-1].seq) == (history.KEPT, 6, history.KEPT + 5)
    back = decode_snapshot(list(encode_snapshot(take(told.table))))
    assert list(back.history.entries) == list(entries)
    assert (back.history.seq, back.term) == (told.table.history.seq, told.table.term)
    assert back.history.entries.maxlen == history.KEPT


def test_a_part_of_the_history_that_comes_twice_is_damage() -> None:
    told = Told(Register(ANN), Register(BOB))
    head, *rest = parts(take(told.table))
    with pytest.raises(ValueError, match="twice"):
        restore([head, *rest, rest[-1]])
    with pytest.raises(ValueError, match="not whole"):
        restore([head, *rest[:-1]])


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("count", [1, 1000])
def test_every_kind_has_its_sentence(kind: Kind, count: int) -> None:
    text = sentence(Entry(1, 5, kind, "t" * 16, "{name}", "n" * 8, "nas", "", count, "why. "))
    assert text[0].isupper() or text.startswith(("{name}", "nas", "1,000"))
    assert text.endswith(".") and ".." not in text and " ." not in text
    if count > 1 and kind in MANY:
        assert "1,000" in text
    assert kind in ONE


def test_a_word_too_long_is_cut() -> None:
    told = Told(Register(ANN), Submit("t", TaskSpec(urls=("http://one/" + "x" * 500,))))
    told(Assign("t", 1, "a", "y" * 1000))
    entry = told.table.history.entries[-1]
    assert (len(entry.name), len(entry.detail)) == (history.MAX_NAME_CHARS, history.MAX_DETAIL_CHARS)


def test_a_password_in_a_link_is_no_name() -> None:
    told = Told(Register(ANN))
    assert told(Submit("t", TaskSpec(urls=("http://me:secret@one/",)))) == ["one was submitted."]
