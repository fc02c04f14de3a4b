"""What the `Consensus` port promises, held against the fake and against PySyncObj on loopback."""

import asyncio
import contextlib
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    InvalidInput,
    NoLeader,
    NotSpoken,
    Overloaded,
    Unavailable,
    UnknownOutcome,
)
from ariacluster_node.adapters.raft import PySyncObjConsensus
from ariacluster_node.ports import Consensus
from tests.support.fake_consensus import FakeCluster, FakeConsensus
from tests.support.ledger import BOOM, FOREIGN, Ledger
from tests.support.ports import free_port

KEY = b"k" * 32
WITHIN_S = 15.0
"""Generous: the machine may be busy. What takes a part of a second on a quiet one must not fail here."""


class Site:
    """Nodes of one cluster, with ids `a`, `b`, `c` …, started and stopped by name; their disks stay."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        self._fake = FakeCluster(introduced=False)
        self._ports: dict[str, int] = {}
        self.nodes: dict[str, Consensus] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.failures: list[str] = []

    def address(self, name: str) -> str:
        if name not in self._ports:
            self._ports[name] = free_port()
        return f"127.0.0.1:{self._ports[name]}"

    def move(self, name: str) -> None:
        """The next start of `name` is at another address."""
        self._ports[name] = free_port()

    def wipe(self, name: str) -> None:
        """Its disk is lost."""
        shutil.rmtree(self._folder / name, ignore_errors=True)

    async def up(self, name: str, knows: str = "", *, found: bool = False, compact_entries: int = 20_000) -> Consensus:
        """Start `name`, with a new machine; it knows where the nodes `knows` are."""
        machine, listens = Ledger(), self.address(name)
        addresses = {other: self.address(other) for other in knows if other != name}
        node: Consensus
        if self.kind == "fake":
            node = FakeConsensus(
                machine,
                cluster=self._fake,
                me=name,
                listens=listens,
                addresses=addresses,
                found=found,
                compact_entries=compact_entries,
            )
        else:
            node = PySyncObjConsensus(
                machine,
                me=name,
                listen=socket.create_server(("127.0.0.1", self._ports[name])),
                cluster_id="c" * 16,
                key=KEY,
                addresses=addresses,
                found=found,
                folder=self._folder / name,
                compact_entries=compact_entries,
                on_failure=self.failures.append,
            )
        await node.start()
        self.nodes[name], self.ledgers[name] = node, machine
        return node

    async def founded(self, voters: str = "abc", *, compact_entries: int = 20_000) -> None:
        """A new cluster: the first founds it, the others come as learners and are made voters."""
        first, others = voters[0], voters[1:]
        await self.up(first, voters, found=True, compact_entries=compact_entries)
        for name in others:
            await self.up(name, voters, compact_entries=compact_entries)
            await self.promote(name)
        await until(lambda: all(node.status().ready for node in self.nodes.values()))
        await self.voting(voters)

    async def back(self, names: str = "abc", *, compact_entries: int = 20_000) -> None:
        """Nodes that were there before start again, and are ready."""
        for name in names:
            await self.up(name, names, compact_entries=compact_entries)
        await until(lambda: all(node.status().ready for node in self.nodes.values()))

    async def down(self, names: str) -> None:
        await asyncio.gather(*(self.nodes.pop(name).stop() for name in names))

    async def promote(self, name: str) -> None:
        """Make a learner a voter, as soon as the leader agrees to it."""
        await self._patiently(lambda: self.nodes[self.leader()].add_voter(name, timeout=2.0))

    async def demote(self, name: str) -> None:
        await self._patiently(lambda: self.nodes[self.leader()].remove_voter(name, timeout=2.0))

    async def _patiently(self, change: Callable[[], Awaitable[None]]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while True:
            await self.led()
            try:
                await change()
            except (Unavailable, Conflict, UnknownOutcome):
                assert time.monotonic() < deadline, "the change was not made in time"
                await asyncio.sleep(0.02)
            else:
                return

    async def voting(self, names: str) -> None:
        """Wait until every running node has exactly these for voters."""
        await until(lambda: all(node.status().voters == tuple(sorted(names)) for node in self.nodes.values()))

    def leader(self) -> str:
        return next(name for name, node in self.nodes.items() if node.status().is_leader)

    def follower(self) -> str:
        leader = self.leader()
        return next(name for name in self.nodes if name != leader)

    async def led(self) -> str:
        """The name of the leader, once every running node agrees on one."""
        await until(lambda: self._agreed() is not None)
        return self.leader()

    def _agreed(self) -> str | None:
        told = {node.status().leader for node in self.nodes.values()}
        return next(iter(told)) if len(told) == 1 and told <= set(self.nodes) else None

    async def same(self, *entries: bytes) -> None:
        """Wait until every running node holds exactly these."""
        await until(lambda: all(self.ledgers[name].entries == list(entries) for name in self.nodes))


async def until(condition: Callable[[], bool], within: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture(params=["fake", "real"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(request.param, tmp_path)
    yield site
    await site.down("".join(site.nodes))
    assert site.failures == []


async def propose(site: Site, name: str, payload: bytes) -> None:
    """As a caller does who may repeat himself: until it is certain."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return await site.nodes[name].propose(payload, timeout=2.0)
        except NoLeader:
            assert time.monotonic() < deadline


# -- one order ------------------------------------------------------------------------------------------------------


async def test_what_is_proposed_anywhere_is_applied_everywhere_in_one_order(site: Site) -> None:
    await site.founded()
    await site.led()
    for number in range(10):
        name = "abc"[number % 3]
        payload = b"%d" % number
        await propose(site, name, payload)
        assert site.ledgers[name].entries[-1] == payload  # returned: applied here
    await site.same(*(b"%d" % number for number in range(10)))


async def test_concurrent_proposals_end_in_the_same_order_on_all(site: Site) -> None:
    await site.founded()
    await site.led()
    payloads = [b"%d" % number for number in range(300)]
    await asyncio.gather(*(site.nodes["abc"[n % 3]].propose(p, timeout=WITHIN_S) for n, p in enumerate(payloads)))
    await until(lambda: all(len(ledger.entries) == 300 for ledger in site.ledgers.values()))
    first, *rest = (ledger.entries for ledger in site.ledgers.values())
    assert sorted(first) == sorted(payloads)
    assert all(other == first for other in rest)


async def test_proposals_of_one_node_are_applied_in_the_order_in_which_they_were_made(site: Site) -> None:
    await site.founded()
    await site.led()
    for name in (site.leader(), site.follower()):
        payloads = [f"{name}{number}".encode() for number in range(50)]
        await asyncio.gather(*(site.nodes[name].propose(payload, timeout=WITHIN_S) for payload in payloads))
        assert [entry for entry in site.ledgers[name].entries if entry in payloads] == payloads


async def test_any_bytes_up_to_the_limit_are_taken_as_they_are(site: Site) -> None:
    await site.founded()
    largest = bytes(range(128, 256)) * (MAX_PROPOSAL_BYTES // 128)
    await propose(site, await site.led(), b"")
    await propose(site, site.follower(), largest)
    await propose(site, site.leader(), b"\x80\x04pickle.")
    await site.same(b"", largest, b"\x80\x04pickle.")


async def test_a_larger_one_is_refused(site: Site) -> None:
    await site.up("a", found=True)
    with pytest.raises(InvalidInput):
        await site.nodes["a"].propose(bytes(MAX_PROPOSAL_BYTES + 1), timeout=5.0)


async def test_what_the_leader_does_not_understand_it_does_not_take(site: Site) -> None:
    await site.founded()
    await site.led()
    with pytest.raises(NotSpoken):
        await site.nodes[site.follower()].propose(FOREIGN + b" words", timeout=WITHIN_S)
    await propose(site, site.follower(), b"one")
    await site.same(b"one")


async def test_one_node_alone_works(site: Site) -> None:
    node = await site.up("a", found=True)
    await propose(site, "a", b"one")
    status = node.status()
    assert status.is_leader and status.has_quorum and status.ready
    assert (status.me, status.voters) == ("a", ("a",))
    assert node.holds_lease()
    assert node.followers() == []
    await site.same(b"one")


async def test_a_machine_that_raises_does_not_hold_up_the_cluster(site: Site) -> None:
    await site.founded()
    await site.led()
    await propose(site, "a", b"before")
    await propose(site, "b", BOOM)
    await propose(site, "c", b"after")
    await site.same(b"before", b"after")


async def test_applied_grows_to_the_same_on_all(site: Site) -> None:
    await site.founded()
    before = site.nodes[await site.led()].status().applied
    await propose(site, "a", b"one")
    assert site.nodes["a"].status().applied > before
    await until(lambda: len({node.status().applied for node in site.nodes.values()}) == 1)


# -- stopping, coming back ------------------------------------------------------------------------------------------


async def test_a_start_that_is_cancelled_leaves_nothing_behind(site: Site) -> None:
    starting = asyncio.create_task(site.up("a", found=True))
    await asyncio.sleep(0)  # it has begun
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):  # the fake has nothing to wait for
        await (await starting).stop()
    assert [thread for thread in threading.enumerate() if thread.name == "raft"] == []
    node = await site.up("a", found=True)
    await until(lambda: node.status().is_leader)


async def test_when_the_leader_stops_another_one_leads_and_work_goes_on(site: Site) -> None:
    await site.founded()
    old = await site.led()
    term = site.nodes[old].status().term
    await propose(site, old, b"before")
    await site.down(old)
    new = await site.led()
    assert new != old
    assert site.nodes[new].status().term > term
    assert old in site.nodes[new].status().voters, "who stops keeps its vote"
    await propose(site, site.follower(), b"after")
    await site.same(b"before", b"after")


async def test_a_node_that_comes_back_has_it_all(site: Site) -> None:
    await site.founded()
    gone = await site.led()
    await propose(site, gone, b"before")
    await site.down(gone)
    await site.led()
    await propose(site, site.leader(), b"meanwhile")
    back = await site.up(gone, "abc")
    await until(lambda: back.status().ready)
    assert site.ledgers[gone].entries == [b"before", b"meanwhile"]  # ready: nothing that was there is missing
    await propose(site, gone, b"after")
    await site.same(b"before", b"meanwhile", b"after")


async def test_all_stop_and_come_back(site: Site) -> None:
    await site.founded()
    await site.led()
    await propose(site, "a", b"one")
    await propose(site, "b", b"two")
    await site.down("abc")
    await site.back()
    assert all(site.ledgers[name].entries == [b"one", b"two"] for name in "abc")
    await site.led()
    await propose(site, "c", b"three")
    await site.same(b"one", b"two", b"three")


async def test_who_founds_again_finds_what_was_there(site: Site) -> None:
    """To found is for an empty log: a founder that starts anew with the same word is the voter that it was."""
    await site.founded("ab")
    await propose(site, "a", b"one")
    await site.down("ab")
    node = await site.up("a", "ab", found=True)
    with pytest.raises(NoLeader):
        await node.propose(b"alone", timeout=1.5)
    assert node.status().voters == ("a", "b")
    await site.up("b", "ab")
    await propose(site, "a", b"two")
    await site.same(b"one", b"two")


async def test_state_survives_by_snapshot(site: Site) -> None:
    await site.founded(compact_entries=20)
    await site.led()
    payloads = [b"%d" % number for number in range(50)]
    for payload in payloads:
        await propose(site, "a", payload)
    await site.same(*payloads)
    await site.down("abc")
    await site.back(compact_entries=20)
    assert all(site.ledgers[name].entries == payloads for name in "abc")
    assert all(site.ledgers[name].restored == 1 for name in "abc")
    await site.voting("abc")
    await site.led()
    await propose(site, "b", b"more")
    await site.same(*payloads, b"more")


async def test_a_node_that_was_away_for_long_is_sent_a_snapshot(site: Site) -> None:
    await site.founded(compact_entries=20)
    await site.led()
    gone = site.follower()
    await propose(site, gone, b"before")
    await site.down(gone)
    await site.led()
    payloads = [b"%d" % number + bytes(5000) for number in range(50)]  # several messages long
    for payload in payloads:
        await propose(site, site.leader(), payload)
    back = await site.up(gone, "abc", compact_entries=20)
    await until(lambda: back.status().ready)
    assert site.ledgers[gone].entries == [b"before", *payloads]
    assert site.ledgers[gone].restored
    await site.led()
    await propose(site, gone, b"after")
    await site.same(b"before", *payloads, b"after")


async def test_a_stopped_node_says_so(site: Site) -> None:
    await site.founded()
    leader = site.nodes[await site.led()]
    await leader.stop()
    await leader.stop()
    assert leader.status().leader is None and not leader.status().has_quorum
    assert not leader.holds_lease() and leader.followers() == []
    for refused in (
        leader.propose(b"lost", timeout=1.0),
        leader.barrier(timeout=1.0),
        leader.add_voter("z", timeout=1.0),
        leader.remove_voter("b", timeout=1.0),
        leader.transfer(timeout=1.0),
    ):
        with pytest.raises(AriaClusterError):
            await refused


async def test_stopping_answers_who_still_waits(site: Site) -> None:
    await site.founded("ab")
    await site.down("b")
    node = site.nodes["a"]
    await until(lambda: node.status().leader is None)
    waiting = [
        asyncio.create_task(node.propose(b"lost", timeout=60.0)),
        asyncio.create_task(node.barrier(timeout=60.0)),
    ]
    await asyncio.sleep(0)
    await node.stop()
    for call in waiting:
        with pytest.raises((NoLeader, UnknownOutcome)):
            await asyncio.wait_for(call, WITHIN_S)


# -- learners and voters --------------------------------------------------------------------------------------------


async def test_a_cluster_grows_from_one_to_three(site: Site) -> None:
    founder = await site.up("a", found=True)
    await propose(site, "a", b"one")
    term = founder.status().term
    for joiner in "bc":
        node = await site.up(joiner, "ab")
        await until(lambda: node.status().ready)  # noqa: B023
        assert joiner not in node.status().voters
        await propose(site, joiner, joiner.encode())
        await site.promote(joiner)
        assert joiner in founder.status().voters
    await site.same(b"one", b"b", b"c")
    await site.voting("abc")
    assert founder.status().is_leader and founder.status().term == term  # nobody was disturbed
    await founder.add_voter("c", timeout=WITHIN_S)  # idempotent
    await site.down("a")
    await site.led()
    await propose(site, "b", b"without the founder")
    await site.same(b"one", b"b", b"c", b"without the founder")


async def test_learners_apply_and_propose_but_do_not_count(site: Site) -> None:
    await site.up("a", found=True)
    for learner in "bc":
        await site.up(learner, "a")
    await propose(site, "b", b"one")
    await site.same(b"one")
    await site.voting("a")
    assert [f.node for f in site.nodes["a"].followers()] == ["b", "c"]
    await site.down("bc")
    await site.nodes["a"].propose(b"two", timeout=WITHIN_S)
    for learner in "bc":
        await site.up(learner, "a")
    await site.same(b"one", b"two")
    await site.down("a")
    with pytest.raises(NoLeader):
        await site.nodes["b"].propose(b"lost", timeout=2.0)
    assert not any(site.nodes[learner].status().has_quorum for learner in "bc")
    await site.back("a")
    assert site.nodes["a"].status().is_leader


async def test_a_joiner_is_sent_a_snapshot(site: Site) -> None:
    await site.up("a", found=True, compact_entries=20)
    payloads = [b"%d" % number + bytes(5000) for number in range(50)]
    for payload in payloads:
        await propose(site, "a", payload)
    await site.up("b", "a")
    await until(lambda: site.nodes["b"].status().ready)
    assert site.ledgers["b"].entries == payloads
    assert site.ledgers["b"].restored == 1
    assert site.nodes["b"].status().voters == ("a",)
    await site.promote("b")
    await site.voting("ab")


async def test_only_the_leader_changes_voters_and_one_at_a_time(site: Site) -> None:
    await site.up("a", found=True)
    for learner in "bc":
        await site.up(learner, "a")
        await until(lambda: site.nodes[learner].status().ready)  # noqa: B023
    for refused in (
        site.nodes["b"].add_voter("c", timeout=1.0),
        site.nodes["b"].remove_voter("a", timeout=1.0),
        site.nodes["b"].transfer(timeout=1.0),
    ):
        with pytest.raises(NoLeader):
            await refused
    assert site.nodes["b"].followers() == []
    leader = site.nodes["a"]
    await until(lambda: all(f.connected and f.lag == 0 for f in leader.followers()))
    both = await asyncio.gather(
        *(leader.add_voter(learner, timeout=WITHIN_S) for learner in "bc"), return_exceptions=True
    )
    assert [type(outcome) for outcome in both] == [type(None), Conflict]
    await site.promote("c")
    await propose(site, "a", b"three of us")
    await site.same(b"three of us")


async def test_nobody_is_made_a_voter_who_is_not_there(site: Site) -> None:
    await site.up("a", found=True)
    await propose(site, "a", b"alone")
    with pytest.raises(Unavailable):
        await site.nodes["a"].add_voter("z", timeout=2.0)
    assert site.nodes["a"].status().voters == ("a",)
    await propose(site, "a", b"alone, and well")


async def test_a_voter_that_is_removed_goes_on_as_a_learner(site: Site) -> None:
    await site.founded()
    leader = await site.led()
    gone = site.follower()
    await site.demote(gone)
    left = "abc".replace(gone, "")
    await site.voting(left)
    await propose(site, gone, b"still here")
    await site.same(b"still here")
    await site.nodes[leader].remove_voter(gone, timeout=WITHIN_S)  # idempotent
    await site.down(left)
    with pytest.raises(NoLeader):
        await site.nodes[gone].propose(b"lost", timeout=2.0)
    await site.back(left)
    await site.voting(left)
    await propose(site, gone, b"and again")
    await site.same(b"still here", b"and again")


async def test_a_dead_voter_is_removed_and_disturbs_nobody_when_it_is_back(site: Site) -> None:
    await site.founded()
    leader = await site.led()
    dead = site.follower()
    await site.down(dead)
    await site.demote(dead)
    left = "abc".replace(dead, "")
    await site.voting(left)
    term = site.nodes[leader].status().term
    await site.up(dead, "abc")
    await propose(site, leader, b"one")
    await site.same(b"one")
    await site.voting(left)
    assert site.nodes[leader].status().is_leader and site.nodes[leader].status().term == term


async def test_no_removal_costs_the_majority(site: Site) -> None:
    await site.founded()
    leader = await site.led()
    dead, alive = (name for name in "abc" if name != leader)
    await site.down(dead)
    await until(lambda: not all(f.connected for f in site.nodes[leader].followers()))
    with pytest.raises(Conflict):
        await site.nodes[leader].remove_voter(alive, timeout=2.0)
    await site.voting("abc")
    await site.demote(dead)
    await propose(site, alive, b"two of us")
    await site.same(b"two of us")


async def test_the_leader_does_not_remove_itself(site: Site) -> None:
    await site.founded()
    leader = await site.led()
    with pytest.raises(Conflict):
        await site.nodes[leader].remove_voter(leader, timeout=2.0)
    await site.voting("abc")


async def test_a_node_that_lost_its_disk_returns_as_a_new_one(site: Site) -> None:
    await site.founded()
    await site.led()
    lost = site.follower()
    await propose(site, lost, b"one")
    await site.down(lost)
    site.wipe(lost)
    await site.led()
    await site.up("d", "abc")
    await site.promote("d")
    await site.demote(lost)
    await site.voting("abcd".replace(lost, ""))
    await propose(site, "d", b"two")
    await site.same(b"one", b"two")


async def test_followers_are_told_as_the_leader_sees_them(site: Site) -> None:
    await site.founded()
    await site.up("d", "abc")
    await until(lambda: site.nodes["d"].status().ready)
    leader = await site.led()
    others = sorted(set("abcd") - {leader})
    seen = site.nodes[leader].followers
    await until(lambda: [f.node for f in seen()] == others and all(f.connected and f.lag == 0 for f in seen()))
    assert all(f.silent_for < 5 for f in seen())
    dead = next(name for name in others if name != "d")
    await site.down(dead)
    await propose(site, leader, b"one")
    await until(lambda: [f.node for f in seen() if not f.connected and f.lag > 0] == [dead])
    await until(lambda: next(f for f in seen() if f.node == dead).silent_for > 0.3)


# -- who leads ------------------------------------------------------------------------------------------------------


async def test_leadership_is_handed_over_on_request(site: Site) -> None:
    await site.founded()
    await propose(site, "a", b"before")
    old = await site.led()
    term = site.nodes[old].status().term
    await until(lambda: all(f.connected and f.lag == 0 for f in site.nodes[old].followers()))
    await site.nodes[old].transfer(timeout=WITHIN_S)
    assert site.nodes[old].status().leader not in (None, old)
    assert not site.nodes[old].holds_lease()
    new = await site.led()
    assert new != old and site.nodes[new].status().term > term
    await propose(site, old, b"after")
    await site.same(b"before", b"after")


async def test_leadership_goes_to_whom_it_is_handed(site: Site) -> None:
    await site.founded("abc")
    for _ in range(2):
        leader = await site.led()
        heir = max(name for name in "abc" if name != leader)
        await site.nodes[leader].transfer(timeout=WITHIN_S, to=heir)
        assert await site.led() == heir
    await propose(site, "a", b"after")
    await site.same(b"after")


async def test_there_must_be_somebody_to_hand_it_to(site: Site) -> None:
    node = await site.up("a", found=True)
    await site.up("b", "a")
    await propose(site, "b", b"one")
    with pytest.raises(Unavailable):
        await node.transfer(timeout=1.0)
    await propose(site, "b", b"two")
    assert node.status().is_leader, "a learner cannot take it"
    with pytest.raises(Unavailable):
        await node.transfer(timeout=1.0, to="b")


async def test_the_lease_is_the_leaders_and_ends_with_its_majority(site: Site) -> None:
    await site.founded()
    leader = await site.led()
    await until(lambda: site.nodes[leader].holds_lease())
    assert not any(node.holds_lease() for name, node in site.nodes.items() if name != leader)
    await site.down("abc".replace(leader, ""))
    await until(lambda: not site.nodes[leader].holds_lease(), within=5.0)
    await until(lambda: site.nodes[leader].status().leader is None, within=5.0)


async def test_without_a_majority_a_proposal_fails_in_time(site: Site) -> None:
    await site.founded()
    last = await site.led()
    await site.down("abc".replace(last, ""))
    for call in (site.nodes[last].propose(b"lost", timeout=1.0), site.nodes[last].barrier(timeout=1.0)):
        began = time.monotonic()
        with pytest.raises((NoLeader, UnknownOutcome)):
            await call
        assert time.monotonic() - began < 1.5
    await until(lambda: not site.nodes[last].status().has_quorum)
    await until(lambda: site.nodes[last].status().leader is None)
    with pytest.raises(NoLeader):
        await site.nodes[last].propose(b"lost", timeout=0.2)


async def test_the_voters_that_cannot_be_reached_are_named(site: Site) -> None:
    await site.founded()
    await site.up("d", "abc")  # a learner: nobody misses it
    last = await site.led()
    await until(lambda: all(node.status().missing == () for node in site.nodes.values()))
    first, second = (name for name in "abc" if name != last)
    await site.down("d")
    await site.down(first)
    await until(lambda: {node.status().missing for node in site.nodes.values()} == {(first,)})
    assert site.nodes[last].status().has_quorum
    await site.down(second)
    await until(lambda: site.nodes[last].status().missing == tuple(sorted((first, second))))
    await until(lambda: not site.nodes[last].status().has_quorum)
    await site.up(first, "abc")
    await until(lambda: {node.status().missing for node in site.nodes.values()} == {(second,)})


async def test_without_a_majority_from_the_start_there_is_no_leader(site: Site) -> None:
    await site.founded()
    await site.down("abc")
    node = await site.up("a", "abc")
    with pytest.raises(NoLeader):
        await node.propose(b"lost", timeout=0.3)
    status = node.status()
    assert status.leader is None and not status.has_quorum and not status.ready
    assert status.voters == ("a", "b", "c")


async def test_changes_are_told(site: Site) -> None:
    node = await site.up("a", "abc", found=True)
    told: list[tuple[str | None, tuple[str, ...]]] = []
    node.on_change(lambda: told.append((node.status().leader, node.status().voters)))
    for name in "bc":
        await site.up(name, "abc")
        await site.promote(name)
    await until(lambda: told[-1:] == [("a", ("a", "b", "c"))])
    await until(lambda: all(f.connected and f.lag == 0 for f in node.followers()))
    await node.transfer(timeout=WITHIN_S)
    new = await site.led()
    await until(lambda: told[-1:] == [(new, ("a", "b", "c"))])


# -- reading --------------------------------------------------------------------------------------------------------


async def test_behind_a_barrier_a_read_is_fresh_on_every_node(site: Site) -> None:
    await site.founded()
    await site.up("d", "abc")
    await site.led()
    for number in range(40):
        writer, reader = "abcd"[number % 4], "abcd"[(number * 7 + 1) % 4]
        payload = b"%d" % number
        await propose(site, writer, payload)
        await site.nodes[reader].barrier(timeout=WITHIN_S)
        assert payload in site.ledgers[reader].entries, f"{reader} read something old"


# -- where they are -------------------------------------------------------------------------------------------------


async def test_nodes_tell_each_other_where_they_are(site: Site) -> None:
    await site.founded()
    for name, node in site.nodes.items():
        others = {other: site.address(other) for other in "abc" if other != name}
        await until(lambda: node.addresses() == others)  # noqa: B023


async def test_a_node_that_moved_is_found_once_that_is_learned(site: Site) -> None:
    await site.founded()
    await propose(site, "a", b"one")
    await site.led()
    moved = site.follower()
    await site.down(moved)
    site.move(moved)
    node = await site.up(moved)  # and it knows nobody
    await propose(site, await led_without(site, moved), b"two")
    assert not node.status().ready
    for name in site.nodes:
        if name != moved:
            site.nodes[name].learn(moved, site.address(moved))
    await until(lambda: node.status().ready)
    await site.same(b"one", b"two")
    leader = await site.led()
    assert leader == moved or site.nodes[leader].addresses()[moved] == site.address(moved)
    await site.voting("abc")


async def led_without(site: Site, absent: str) -> str:
    """The leader that the others have."""

    def leaders() -> set[str | None]:
        return {node.status().leader for name, node in site.nodes.items() if name != absent}

    await until(lambda: len(leaders()) == 1 and None not in leaders())
    [leader] = leaders()
    assert leader is not None
    return leader


# -- the fake alone -------------------------------------------------------------------------------------------------


async def test_the_fake_can_be_told_to_misbehave() -> None:
    cluster = FakeCluster()
    ledgers = {me: Ledger() for me in "abcd"}
    nodes = {me: FakeConsensus(ledger, cluster=cluster, me=me) for me, ledger in ledgers.items()}
    cluster.voters = ["a", "b", "c"]
    for node in nodes.values():
        await node.start()
    cluster.lead("b")
    assert nodes["a"].status().leader == "b"
    cluster.cut("b")
    assert nodes["a"].status().leader == "a" and nodes["b"].status().leader is None
    with pytest.raises(NoLeader):
        await nodes["b"].propose(b"cut off", timeout=0.05)
    await nodes["a"].propose(b"one", timeout=1.0)
    cluster.mute.add("a")
    with pytest.raises(UnknownOutcome):
        await nodes["a"].propose(b"two", timeout=1.0)
    cluster.heal("b")
    cluster.mute.clear()
    cluster.full = True
    with pytest.raises(Overloaded):
        await nodes["a"].propose(b"too much", timeout=1.0)
    cluster.full = False
    cluster.stuck.add("d")
    with pytest.raises(Unavailable):
        await nodes["a"].add_voter("d", timeout=1.0)
    cluster.stuck.clear()
    cluster.leaseless.add("a")
    assert nodes["a"].status().is_leader and not nodes["a"].holds_lease()
    cluster.silent["c"] = 99.0
    assert {f.node: f.silent_for for f in nodes["a"].followers()}["c"] == 99.0
    cluster.depose()
    with pytest.raises(NoLeader):
        await nodes["c"].propose(b"no leader", timeout=0.05)
    cluster.lead("c")
    await nodes["b"].propose(b"three", timeout=1.0)
    await until(lambda: all(ledger.entries == [b"one", b"two", b"three"] for ledger in ledgers.values()))
    for node in nodes.values():
        await node.stop()
