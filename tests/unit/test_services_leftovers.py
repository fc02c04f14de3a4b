import pytest

from ariacluster.domain.commands import Assign, Command, Fail, Move, Pause, Remove, Resume, Start, Submit, Took
from ariacluster.domain.task import FailureKind
from ariacluster_node.services.leftovers import Leftovers
from tests.support.fake_site import SPEC, FakeSite

A, B = "a" * 16, "b" * 16
M, N = "m" * 8, "n" * 8

STORY: list[tuple[Command, int, int]] = [
    (Submit(A, SPEC), 0, 0),
    (Assign(A, 1, M, ""), 0, 0),
    (Start(A, 1), 0, 0),
    (Move(A, 2, N, "", fetch=True), 1, 0),
    (Took(A, 2), 0, 0),
    (Start(A, 2), 0, 0),
    (Fail(A, 2, FailureKind.ORIGIN, 2, "", 0.5), 0, 1),
    (Pause(A), 0, 0),
    (Resume(A), 0, 1),
    (Assign(A, 3, M, "", fetch=True), 0, 1),
    (Submit(B, SPEC), 0, 1),
    (Remove(A), 0, 0),
]
"""What is said, and how many tasks m and n have something of then that others want."""


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mn")
    return site


@pytest.mark.parametrize("asked_first", [True, False], ids=["kept up", "counted anew"])
async def test_what_others_have_yet_to_fetch_is_counted(site: FakeSite, asked_first: bool) -> None:
    replica = site.nodes["n"].replica
    kept = Leftovers(replica)
    for command, *counts in STORY:
        await site.say(command)
        leftovers = kept if asked_first else Leftovers(replica)
        assert [leftovers.on(node) for node in (M, N)] == counts, command


async def test_another_table_is_counted_anew(site: FakeSite) -> None:
    replica = site.nodes["n"].replica
    leftovers = Leftovers(replica)
    await site.say(Submit(A, SPEC), Assign(A, 1, M, ""), Start(A, 1), Move(A, 2, N, "", fetch=True))
    assert leftovers.on(M) == 1
    replica.clear()
    assert leftovers.on(M) == 0
