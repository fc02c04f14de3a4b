"""What goes into the log: compact, and with the same meaning after it."""

import msgspec
import pytest

from ariacluster.domain import crew, life
from ariacluster.domain.commands import (
    MAX_PROPOSAL_BYTES,
    Assign,
    Command,
    Complete,
    Move,
    Proposal,
    Remove,
    Submit,
    TaskCommand,
)
from ariacluster.domain.placement import AHEAD
from ariacluster.domain.scheduler import MAX_COMMANDS
from ariacluster.domain.task import MAX_FILES, FileEntry, Result, TaskSpec


def test_every_command_has_a_handler_and_a_tag_of_its_own() -> None:
    kinds = set(Command.__args__)
    assert kinds == {*life.HANDLERS, *crew.HANDLERS}
    assert not life.HANDLERS.keys() & crew.HANDLERS.keys()
    assert set(TaskCommand.__args__) == set(life.HANDLERS)
    assert len({msgspec.inspect.type_info(kind).tag for kind in kinds}) == len(kinds)  # type: ignore[attr-defined]


def test_a_full_decision_fits_one_log_entry() -> None:
    assert AHEAD < MAX_COMMANDS
    reason = (
        "a-rather-long-hostname.example: 128 of 128 slots free, tried here before, 12.0 TB free, has gpu=yes, disk=ssd"
    )
    why = f"{reason}; a-rather-long-hostname.example has only 123 MB free"
    ids = [f"{n:016x}" for n in range(MAX_COMMANDS)]
    assigns = tuple(Assign(task, 12, "0123456789abcdef", reason, 16, True) for task in ids)
    moves = tuple(Move(task, 12, "0123456789abcdef", why, 16, True, True) for task in ids)
    for commands in (assigns, moves):
        decision = Proposal(id="0" * 16, at=2**42, by="0" * 16, commands=commands)
        assert len(msgspec.msgpack.encode(decision)) < MAX_PROPOSAL_BYTES


def test_a_full_result_fits_one_log_entry() -> None:
    files = tuple(FileEntry(f"{'directory' * 10}/{'name' * 20}-{n:03}", 2**40) for n in range(MAX_FILES))
    complete = Complete("0" * 16, 7, Result(total_bytes=2**50, file_count=5000, files=files))
    assert (
        len(msgspec.msgpack.encode(Proposal(id="0" * 16, at=2**42, by="0" * 16, commands=(complete,))))
        < MAX_PROPOSAL_BYTES
    )


def test_an_unknown_command_is_not_decoded() -> None:
    good = Proposal(id="p", at=1, by="a", commands=(Submit("t", TaskSpec(urls=("http://one/f",))), Remove("t")))
    plain = msgspec.to_builtins(good)
    assert msgspec.convert(plain, Proposal) == good
    plain["commands"][0]["type"] = "explode"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plain, Proposal)
