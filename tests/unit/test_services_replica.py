import asyncio
from functools import partial

import msgspec
import pytest

from ariacluster.domain import commands
from ariacluster.domain.commands import (
    LANGUAGE,
    MAX_PROPOSAL_BYTES,
    Assign,
    Cancel,
    Command,
    Proposal,
    Refusal,
    Register,
    Submit,
    Succeed,
)
from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    IllegalMove,
    InvalidInput,
    NoLeader,
    NoQuorum,
    NoSuchTask,
    NotReady,
    NotSpoken,
    Overloaded,
    TaskExists,
    UnknownOutcome,
)
from ariacluster.domain.formation import Membership
from ariacluster.domain.member import Member
from ariacluster.domain.table import Applied
from ariacluster.domain.task import TaskSpec, TaskState
from ariacluster.wire import codec
from ariacluster_node.services import replica as replica_room
from ariacluster_node.services.replica import MOST_COMMANDS, Replica
from tests.support.fake_clock import FakeClock
from tests.support.fake_consensus import FakeConsensus
from tests.support.fake_site import SPEC, FakeSite, turns, until

A, B = "a" * 16, "b" * 16


@pytest.fixture
def site() -> FakeSite:
    return FakeSite()


@pytest.mark.parametrize("who", ["a", "b"], ids=["leader", "follower"])
async def test_a_proposal_has_its_outcomes_where_it_was_made(site: FakeSite, who: str) -> None:
    await site.up("abc")
    replica = site.nodes[who].replica
    outcomes = await replica.propose([Submit(A, SPEC), Cancel(B), Cancel(A)])
    assert [outcome.code if outcome else None for outcome in outcomes] == [None, "no_such_task", None]
    assert replica.table.tasks[A].state is TaskState.CANCELED, "what was answered must be readable here at once"
    await site.settled()
    assert all(A in node.replica.table.tasks for node in site.nodes.values())


async def test_a_proposal_carries_its_proposers_clock_and_name(site: FakeSite) -> None:
    [node] = await site.up("a")
    site.clock.advance(1.5)
    await node.replica.change(Submit(A, SPEC))
    assert node.task(A).created_at == site.clock.now()


async def test_an_unknown_outcome_is_retried_under_the_same_id(site: FakeSite) -> None:
    node, *_ = await site.up("ab")
    before = len(site.consensus._log)
    site.consensus.mute.add(node.me.id)
    seen: list[Applied | None] = []
    node.replica.watch(seen.append)
    # Applied here all the same, so its outcome is known after all; and a register twice would show as two changes.
    await node.replica.change(Submit(A, SPEC))
    assert node.row(A)() == "pending"
    assert len(site.consensus._log) > before
    assert sum(len(applied.changes) for applied in seen if applied) == 1


async def test_a_retry_after_an_unknown_outcome_takes_effect_once(site: FakeSite) -> None:
    class Doubtful(FakeConsensus):
        """Lets the entry through late: after the caller was told that nobody knows."""

        first = b""

        async def propose(self, payload: bytes, *, timeout: float) -> None:
            if not self.first:
                self.first = payload
                raise UnknownOutcome("the link broke")
            await super().propose(self.first, timeout=timeout)
            await super().propose(payload, timeout=timeout)
            assert payload == self.first

    [node] = await site.up("a")
    doubtful = Doubtful(node.replica, cluster=site.consensus, me=node.me.id)
    doubtful._applied = node.consensus._applied
    await doubtful.start()
    node.replica.attach(doubtful)
    seen: list[Applied | None] = []
    node.replica.watch(seen.append)
    await node.replica.change(Submit(A, SPEC))
    assert [len(applied.changes) for applied in seen if applied] == [1, 0]
    assert node.replica.table.next_seq == 2


async def test_without_a_leader_it_tries_until_the_timeout(site: FakeSite) -> None:
    [node] = await site.up("a")
    site.consensus.depose()
    proposing = asyncio.create_task(node.replica.propose([Submit(A, SPEC)], timeout=0.02))
    await turns()
    site.clock.advance(1)
    with pytest.raises(NoLeader):
        await asyncio.wait_for(proposing, 5)
    assert node.replica._waiting == {}


async def test_it_goes_through_once_a_leader_is_back(site: FakeSite) -> None:
    node, other = await site.up("ab")
    site.consensus.depose()
    proposing = asyncio.create_task(node.replica.change(Submit(A, SPEC)))
    await turns()
    assert not proposing.done()
    site.consensus.lead(other.me.id)
    await asyncio.wait_for(proposing, 5)
    assert node.row(A)() == "pending"


async def test_a_refusal_now_does_not_deny_what_an_earlier_try_may_have_done(site: FakeSite) -> None:
    class Doubtful(FakeConsensus):
        tries = 0

        async def propose(self, payload: bytes, *, timeout: float) -> None:
            self.tries += 1
            raise UnknownOutcome("the link broke") if self.tries == 1 else Overloaded("full")

    [node] = await site.up("a")
    node.replica.attach(Doubtful(node.replica, cluster=site.consensus, me=node.me.id))
    with pytest.raises(UnknownOutcome):
        await node.replica.change(Submit(A, SPEC))


async def test_overloaded_is_told_at_once(site: FakeSite) -> None:
    [node] = await site.up("a")
    site.consensus.full = True
    with pytest.raises(Overloaded):
        await node.replica.change(Submit(A, SPEC))


async def test_a_node_without_a_cluster_is_not_ready() -> None:
    replica = Replica("a" * 8, FakeClock())
    with pytest.raises(NotReady):
        await replica.propose([Submit(A, SPEC)])
    assert (replica.status, replica.ready, replica.leads) == (None, False, False)


async def test_change_raises_a_refusal_as_the_error_it_names(site: FakeSite) -> None:
    [node] = await site.up("a")
    change = node.replica.change
    with pytest.raises(NoSuchTask, match=A):
        await change(Cancel(A))
    await change(Submit(A, SPEC))
    await change(Submit(A, SPEC))
    with pytest.raises(TaskExists):
        await change(Submit(A, TaskSpec(urls=("http://origin/other",))))
    await change(Cancel(A))
    with pytest.raises(IllegalMove):
        await change(Cancel(A))
    with pytest.raises(Conflict):
        await change(Assign(A, 5, node.me.id, ""))


@pytest.mark.parametrize("at_once", [0, 1, 3])
async def test_a_large_proposal_is_split_and_keeps_order_and_outcomes(site: FakeSite, at_once: int) -> None:
    _, node = await site.up("ab")
    ids = [f"{n:016x}" for n in range(200)]
    spec = TaskSpec(urls=(f"http://origin/{'x' * 500}",))
    before = len(site.consensus._log)
    commands: list[Command] = [*(Submit(i, spec) for i in ids), Cancel(ids[0]), Cancel(B)]
    many = partial(node.replica.propose_many, at_once=at_once)
    outcomes = await (many if at_once else node.replica.propose)(commands)
    entries = site.consensus._log[before:]
    assert len(entries) > 2
    assert max(map(len, entries)) <= MAX_PROPOSAL_BYTES
    assert outcomes[:-1] == [None] * 201
    assert isinstance(outcomes[-1], Refusal)
    assert list(node.replica.table.order.values()) == ids


async def test_small_commands_are_not_applied_by_the_thousand_in_one_go(site: FakeSite) -> None:
    _, node = await site.up("ab")
    before = len(site.consensus._log)
    outcomes = await node.replica.propose_many([Cancel(A)] * (MOST_COMMANDS + 1), at_once=2)
    assert len(outcomes) == MOST_COMMANDS + 1
    assert [len(codec.decode_proposal(entry).commands) for entry in site.consensus._log[before:]] == [MOST_COMMANDS, 1]


async def test_one_command_that_is_too_large_is_invalid_and_nothing_is_half_applied(site: FakeSite) -> None:
    [node] = await site.up("a")
    huge = Submit(B, TaskSpec(urls=("http://origin/" + "x" * MAX_PROPOSAL_BYTES,)))
    with pytest.raises(InvalidInput):
        await node.replica.propose([Submit(A, SPEC), huge])
    assert node.replica.table.tasks == {}


async def test_a_part_that_was_taken_is_not_denied_by_the_next_one(site: FakeSite) -> None:
    class FullAfterOne(FakeConsensus):
        async def propose(self, payload: bytes, *, timeout: float) -> None:
            await super().propose(payload, timeout=timeout)
            self._cluster.full = True

    [node] = await site.up("a")
    consensus = FullAfterOne(node.replica, cluster=site.consensus, me=node.me.id)
    consensus._applied = node.consensus._applied
    await consensus.start()
    node.replica.attach(consensus)
    spec = TaskSpec(urls=("http://origin/" + "x" * 20_000,))
    with pytest.raises(UnknownOutcome, match="part"):
        await node.replica.propose([Submit(A, spec), Submit(B, spec)])
    assert list(node.replica.table.tasks) == [A]


async def test_one_part_of_many_that_are_on_their_way_is_refused(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = await site.up("a")
    propose, tries = node.consensus.propose, []

    async def all_but_the_second(payload: bytes, *, timeout: float) -> None:
        tries.append(payload)
        if len(tries) == 2:
            raise Overloaded("full")
        await propose(payload, timeout=timeout)

    monkeypatch.setattr(node.consensus, "propose", all_but_the_second)
    spec = TaskSpec(urls=("http://origin/" + "x" * 20_000,))
    with pytest.raises(UnknownOutcome, match="part"):
        await node.replica.propose_many([Submit(A, spec), Submit(B, spec)], at_once=3)
    assert list(node.replica.table.tasks) == [A]


async def test_of_many_parts_none_was_taken(site: FakeSite) -> None:
    [node] = await site.up("a")
    site.consensus.full = True
    spec = TaskSpec(urls=("http://origin/" + "x" * 20_000,))
    with pytest.raises(Overloaded):
        await node.replica.propose_many([Submit(A, spec), Submit(B, spec)], at_once=3)
    assert node.replica.table.tasks == {}


async def test_an_entry_that_cannot_be_read_is_skipped(site: FakeSite) -> None:
    node, other = await site.up("ab")
    await node.consensus.propose(b"\xc1 no proposal", timeout=1)
    await node.replica.change(Submit(A, SPEC))
    await site.settled()
    assert node.row(A)() == other.row(A)() == "pending"
    node.replica.apply(99, b"")  # raises nothing


async def test_a_snapshot_is_loaded_aside_and_then_put_in_place(site: FakeSite) -> None:
    [node] = await site.up("a")
    await node.replica.change(Submit(A, SPEC))
    encode = node.replica.snapshot()
    await node.replica.change(Submit(B, SPEC))
    copy = Replica("b" * 8, site.clock)
    before = copy.table
    seen: list[Applied | None] = []
    copy.watch(seen.append)
    put = await asyncio.to_thread(lambda: copy.load(iter(list(encode()))))
    assert copy.table is before and seen == [], "nobody sees it before it is whole"
    put()
    assert seen == [None]
    assert list(copy.table.tasks) == [A], "frozen when it was taken, not when it is encoded"
    assert copy.table.members == node.replica.table.members
    assert copy.table.next_seq == 2
    assert list(encode()) == list(encode())


async def test_what_is_replaced_is_let_go_of(site: FakeSite) -> None:
    [node] = await site.up("a")
    await node.replica.change(Submit(A, SPEC))
    old = node.replica.table
    node.replica.load(iter(list(node.replica.snapshot()())))()
    assert node.replica.table is not old
    assert list(node.replica.table.tasks) == [A]
    await until(lambda: not old.tasks)


async def test_a_snapshot_that_is_not_whole_changes_nothing(site: FakeSite) -> None:
    [node] = await site.up("a")
    await node.replica.change(Submit(A, SPEC))
    table = node.replica.table
    whole = list(node.replica.snapshot()())
    for damaged in ([], whole[1:], whole[:-1], [*whole, whole[-1][:-1]]):
        with pytest.raises((ValueError, AriaClusterError)):
            node.replica.load(iter(damaged))
    assert node.replica.table is table


async def test_what_comes_back_inside_a_snapshot_is_answered(site: FakeSite) -> None:
    """The leader compacted at once, so this node never sees its own entry, only the table that has it."""
    leader, node = await site.up("ab")
    leader.consensus._compact_entries = 1
    [refused] = await asyncio.wait_for(node.replica.propose([Cancel(B)]), 2)
    assert isinstance(refused, Refusal)
    await asyncio.wait_for(node.replica.change(Submit(A, SPEC)), 2)
    assert node.row(A)() == "pending"


async def test_it_leads_only_when_it_is_ready(site: FakeSite) -> None:
    node, other = await site.up("ab")
    assert node.replica.leads
    assert not other.replica.leads
    node.consensus._ready = False
    assert not node.replica.leads
    node.consensus._ready = True
    site.consensus.leaseless.add(node.me.id)
    assert not node.replica.leads, "another one may have been elected"


async def test_a_copy_that_nobody_vouches_for_is_stale(site: FakeSite) -> None:
    _, node = await site.up("ab")
    assert not node.replica.stale
    node.consensus._ready = False
    assert node.replica.stale
    node.consensus._ready = True
    site.consensus.depose()
    assert node.replica.stale
    node.replica.detach()
    assert node.replica.stale


async def test_a_fresh_read_sees_what_was_committed_anywhere(site: FakeSite) -> None:
    writer, reader = await site.up("ab")
    site.consensus.stuck.add(reader.me.id)
    await writer.replica.change(Submit(A, SPEC))
    assert A not in reader.replica.table.tasks
    looking = asyncio.create_task(reader.replica.fresh())
    await turns()
    assert not looking.done()
    site.consensus.stuck.clear()
    site.consensus._settle()
    await asyncio.wait_for(looking, 5)
    assert A in reader.replica.table.tasks


async def test_a_fresh_read_that_cannot_be_had_says_why(site: FakeSite) -> None:
    node, _, _ = await site.up("abc")
    site.consensus.depose()
    with pytest.raises(NoLeader) as caught:
        await node.replica.fresh(timeout=0.01)
    assert caught.value.code == "no_leader"
    site.consensus.cut(node.me.id)
    with pytest.raises(NoQuorum, match="majority"):
        await node.replica.fresh(timeout=0.01)
    node.replica.detach()
    with pytest.raises(NotReady):
        await node.replica.fresh()


async def test_a_writer_who_goes_by_what_is_there_is_refused_where_nobody_vouches_for_it(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the write would be: with who is missing, and that nothing was changed."""
    monkeypatch.setattr(replica_room, "QUORUM_TIMEOUT", 0.02)
    a, b, c = await site.up("abc")
    await a.replica.abreast()
    site.consensus.stuck.add(a.me.id)
    await b.replica.change(Submit(A, SPEC))
    looking = asyncio.create_task(a.replica.abreast())
    await turns()
    assert not looking.done()
    site.consensus.stuck.clear()
    site.consensus.heal(a.me.id)
    await asyncio.wait_for(looking, 5)
    assert A in a.replica.table.tasks
    for other in (b, c):
        site.consensus.cut(other.me.id)
    with pytest.raises(NoQuorum, match=r"b and c cannot be reached.*Nothing was changed"):
        await a.replica.abreast()
    for other in (b, c):
        site.consensus.heal(other.me.id)
    site.consensus.depose()
    looking = asyncio.create_task(a.replica.abreast())
    await asyncio.sleep(0.05)
    assert not looking.done(), "an election may be under way"
    site.clock.advance(replica_room.PROPOSE_TIMEOUT)
    with pytest.raises(NoLeader, match="Nothing was changed"):
        await asyncio.wait_for(looking, 5)
    a.replica.detach()
    with pytest.raises(NotReady):
        await a.replica.abreast()


async def test_watchers_hear_of_members(site: FakeSite) -> None:
    [node] = await site.up("a")
    seen: list[Applied | None] = []
    node.replica.watch(seen.append)
    await node.replica.change(Register(Member(id="x", name="x", address="x", port=1, raft="x:2")))
    assert [applied.members_changed for applied in seen if applied] == [True]
    node.replica.detach()
    await until(lambda: node.replica.status is None)


async def test_no_leader_at_once_is_no_reason_to_give_up(site: FakeSite) -> None:
    class LedSoon(FakeConsensus):
        tries = 0

        async def propose(self, payload: bytes, *, timeout: float) -> None:
            self.tries += 1
            if self.tries == 1:
                raise NoLeader("not yet")
            await super().propose(payload, timeout=timeout)

    [node] = await site.up("a")
    consensus = LedSoon(node.replica, cluster=site.consensus, me=node.me.id)
    consensus._applied = node.consensus._applied
    await consensus.start()
    node.replica.attach(consensus)
    await node.replica.change(Submit(A, SPEC))
    assert consensus.tries == 2


# -- without a majority -----------------------------------------------------------------------------------------


async def test_without_a_majority_the_missing_are_named_soon(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_room, "QUORUM_TIMEOUT", 0.02)
    node, *others = await site.up("abc")
    for other in others:
        site.consensus.cut(other.me.id)
    began = asyncio.get_running_loop().time()
    with pytest.raises(NoQuorum, match=r"3 voters b and c cannot be reached, .*Nothing was changed\.") as caught:
        await node.replica.propose([Submit(A, SPEC)])
    assert 0.01 < asyncio.get_running_loop().time() - began < 1, "much sooner than a caller would wait"
    assert caught.value.code == "no_quorum"
    assert node.replica._waiting == {}


async def test_a_majority_that_is_back_in_time_is_not_missed(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_room, "QUORUM_TIMEOUT", 5.0)
    node, *others = await site.up("abc")
    for other in others:
        site.consensus.cut(other.me.id)
    proposing = asyncio.create_task(node.replica.change(Submit(A, SPEC)))
    await turns()
    assert not proposing.done()
    site.consensus.heal(others[0].me.id)
    await asyncio.wait_for(proposing, 5)
    assert node.row(A)() == "pending"


async def test_what_may_have_been_taken_is_not_denied_for_lack_of_a_majority(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_room, "QUORUM_TIMEOUT", 0.01)

    class Doubtful(FakeConsensus):
        tries = 0

        async def propose(self, payload: bytes, *, timeout: float) -> None:
            self.tries += 1
            if self.tries > 2:
                site.clock.advance(60)
            raise UnknownOutcome("the link broke") if self.tries == 1 else NoLeader("gone")

    node, other = await site.up("ab")
    site.consensus.cut(other.me.id)
    node.replica.attach(Doubtful(node.replica, cluster=site.consensus, me=node.me.id))
    with pytest.raises(UnknownOutcome):
        await node.replica.change(Submit(A, SPEC))


async def test_that_the_majority_is_lost_is_a_sentence(site: FakeSite) -> None:
    node, other, third = await site.up("abc")
    assert node.replica.quorum_lost() == ""
    site.consensus.cut(other.me.id)
    assert node.replica.quorum_lost() == "", "two of three are enough"
    site.consensus.voters.append("z" * 8)
    site.consensus.cut(third.me.id)
    assert node.replica.quorum_lost() == (
        "Of the cluster's 4 voters b and c and zzzzzzzz cannot be reached, and a majority is needed to decide anything. "
        "Running downloads go on."
    )
    node.replica.detach()
    assert node.replica.quorum_lost() == ""


async def test_who_has_not_heard_who_votes_misses_nobody(site: FakeSite) -> None:
    await site.up("a")
    node = Replica("x" * 8, site.clock)
    consensus = FakeConsensus(node, cluster=site.consensus, me="x" * 8)
    node.attach(consensus)
    assert consensus.status().voters == ()
    assert node.quorum_lost() == ""


# -- versions ---------------------------------------------------------------------------------------------------

NEWER = LANGUAGE + 1


async def test_nobody_says_what_a_member_does_not_understand(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    node, other = await site.up("ab")
    monkeypatch.setitem(commands.SINCE, Cancel, NEWER)
    entries = site.consensus.last
    with pytest.raises(NotSpoken, match=f"version {NEWER} of the commands, which a and b cannot understand: update"):
        await node.replica.propose([Submit(A, SPEC), Cancel(A)])
    await site.say(Register(msgspec.structs.replace(node.me, speaks=NEWER)))
    with pytest.raises(NotSpoken, match="which b cannot"):
        await node.replica.propose([Cancel(A)])
    assert site.consensus.last == entries + 1
    await node.replica.change(Submit(A, SPEC))
    await site.say(Register(msgspec.structs.replace(other.me, speaks=NEWER)))
    monkeypatch.setattr(replica_room, "LANGUAGE", NEWER)
    monkeypatch.setattr(codec, "LANGUAGE", NEWER)
    await node.replica.change(Cancel(A))
    assert node.row(A)() == "canceled"
    assert node.replica.table.language == NEWER


def newer() -> bytes:
    proposal = Proposal(id="n", at=1, by="a", commands=(Submit(A, SPEC),), v=NEWER)
    return codec.encode_proposal(proposal)


async def test_what_a_newer_version_wrote_is_not_passed_over(site: FakeSite) -> None:
    """Unlike what nobody can read: other copies have applied it."""
    [node] = await site.up("a")
    with pytest.raises(NotSpoken, match=f"understands {LANGUAGE}"):
        node.replica.apply(99, newer())
    assert node.replica.table.tasks == {}


async def test_a_leader_admits_what_it_understands(site: FakeSite) -> None:
    leader, follower = await site.up("ab")
    assert not leader.replica.admits(newer())
    assert leader.replica.admits(codec.encode_proposal(Proposal(id="o", at=1, by="a", commands=())))
    assert leader.replica.admits(b"")
    entries = site.consensus.last
    with pytest.raises(NotSpoken):
        await follower.consensus.propose(newer(), timeout=1)
    assert site.consensus.last == entries


# -- moving -----------------------------------------------------------------------------------------------------


async def test_a_table_is_forgotten_at_once(site: FakeSite) -> None:
    [node] = await site.up("a")
    await node.replica.change(Submit(A, SPEC))
    old = node.replica.table
    seen: list[Applied | None] = []
    node.replica.watch(seen.append)
    node.replica.clear()
    table = node.replica.table
    assert (table.tasks, table.members, table.recent, table.next_seq) == ({}, {}, {}, 1)
    assert seen == [None], "whoever looks at the table looks again"
    await until(lambda: not old.tasks)


async def test_a_closed_table_refuses_with_the_error_that_says_so(site: FakeSite) -> None:
    [node] = await site.up("a")
    await node.replica.change(Succeed(Membership(cluster_id="d", cluster_name="default", key="ab", peers={})))
    with pytest.raises(AriaClusterError, match="dissolving") as caught:
        await node.replica.change(Submit(A, SPEC))
    assert (caught.value.code, caught.value.status) == ("moved", 503)
