"""What the `Consensus` port promises, held against the fake and against PySyncObj on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES
from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    InvalidInput,
    NoLeader,
    Overloaded,
    Unavailable,
    UnknownOutcome,
)
from ariacluster_node.adapters.raft import PySyncObjConsensus
from ariacluster_node.ports import Consensus
from tests.support.fake_consensus import FakeCluster, FakeConsensus
from tests.support.ledger import BOOM, Ledger
from tests.support.ports import free_port

KEY = b"k" * 32
WITHIN_S = 15.0
"""Generous: the machine may be busy. What takes a part of a second on a quiet one must not fail here."""


class Site:
    """Nodes `a`, `b`, `c` … of one cluster, started and stopped by name; their disks stay."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        self._fake = FakeCluster()
        self._addresses: dict[str, str] = {}
        self.nodes: dict[str, Consensus] = {}
        self.ledgers: dict[str, Ledger] = {}

    def address(self, name: str) -> str:
        return self._addresses.setdefault(name, f"127.0.0.1:{free_port()}")

    async def up(
        self, name: str, others: str = "", *, joining: bool = False, compact_entries: int = 20_000
    ) -> Consensus:
        """Start `name`, with a new machine, told of `others`."""
        machine, me, voters = Ledger(), self.address(name), [self.address(other) for other in others]
        node: Consensus
        if self.kind == "fake":
            node = FakeConsensus(
                machine, cluster=self._fake, me=me, voters=voters, joining=joining, compact_entries=compact_entries
            )
        else:
            node = PySyncObjConsensus(
                machine,
                me=me,
                bind="127.0.0.1",
                voters=voters,
                key=KEY,
                folder=self._folder / name,
                joining=joining,
                compact_entries=compact_entries,
            )
        await node.start()
        self.nodes[name], self.ledgers[name] = node, machine
        return node

    async def all_up(self, names: str = "abc", *, compact_entries: int = 20_000) -> None:
        """Start them all, each told of the others, and wait until all are ready."""
        for name in names:
            await self.up(name, names.replace(name, ""), compact_entries=compact_entries)
        await until(lambda: all(node.status().ready for node in self.nodes.values()))

    async def down(self, names: str) -> None:
        await asyncio.gather(*(self.nodes.pop(name).stop() for name in names))

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
        return next(iter(told)) if len(told) == 1 and told <= {n.status().me for n in self.nodes.values()} else None

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


async def propose(site: Site, name: str, payload: bytes) -> None:
    """As a caller does who may repeat himself: until it is certain."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return await site.nodes[name].propose(payload, timeout=2.0)
        except NoLeader:
            assert time.monotonic() < deadline


async def test_what_is_proposed_anywhere_is_applied_everywhere_in_one_order(site: Site) -> None:
    await site.all_up()
    await site.led()
    for number in range(10):
        name = "abc"[number % 3]
        payload = b"%d" % number
        await propose(site, name, payload)
        assert site.ledgers[name].entries[-1] == payload  # returned: applied here
    await site.same(*(b"%d" % number for number in range(10)))


async def test_concurrent_proposals_end_in_the_same_order_on_all(site: Site) -> None:
    await site.all_up()
    await site.led()
    payloads = [b"%d" % number for number in range(300)]
    await asyncio.gather(*(site.nodes["abc"[n % 3]].propose(p, timeout=WITHIN_S) for n, p in enumerate(payloads)))
    await until(lambda: all(len(ledger.entries) == 300 for ledger in site.ledgers.values()))
    first, *rest = (ledger.entries for ledger in site.ledgers.values())
    assert sorted(first) == sorted(payloads)
    assert all(other == first for other in rest)


async def test_proposals_of_one_node_are_applied_in_the_order_in_which_they_were_made(site: Site) -> None:
    await site.all_up()
    await site.led()
    for name in (site.leader(), site.follower()):
        payloads = [f"{name}{number}".encode() for number in range(50)]
        await asyncio.gather(*(site.nodes[name].propose(payload, timeout=WITHIN_S) for payload in payloads))
        assert [entry for entry in site.ledgers[name].entries if entry in payloads] == payloads


async def test_any_bytes_up_to_the_limit_are_taken_as_they_are(site: Site) -> None:
    await site.all_up()
    largest = bytes(range(128, 256)) * (MAX_PROPOSAL_BYTES // 128)
    await propose(site, await site.led(), b"")
    await propose(site, site.follower(), largest)
    await propose(site, site.leader(), b"\x80\x04pickle.")
    await site.same(b"", largest, b"\x80\x04pickle.")


async def test_a_larger_one_is_refused(site: Site) -> None:
    await site.up("a")
    with pytest.raises(InvalidInput):
        await site.nodes["a"].propose(bytes(MAX_PROPOSAL_BYTES + 1), timeout=5.0)


async def test_one_node_alone_works(site: Site) -> None:
    node = await site.up("a")
    await propose(site, "a", b"one")
    status = node.status()
    assert status.is_leader and status.has_quorum and status.ready and status.voters == (site.address("a"),)
    await site.same(b"one")


async def test_when_the_leader_stops_another_one_leads_and_work_goes_on(site: Site) -> None:
    await site.all_up()
    old = await site.led()
    term = site.nodes[old].status().term
    await propose(site, old, b"before")
    await site.down(old)
    new = await site.led()
    assert new != old
    assert site.nodes[new].status().term > term
    await propose(site, site.follower(), b"after")
    await site.same(b"before", b"after")


async def test_a_node_that_comes_back_has_it_all(site: Site) -> None:
    await site.all_up()
    gone = await site.led()
    await propose(site, gone, b"before")
    await site.down(gone)
    await site.led()
    await propose(site, site.leader(), b"meanwhile")
    back = await site.up(gone, "abc".replace(gone, ""))
    await until(lambda: back.status().ready)
    assert site.ledgers[gone].entries == [b"before", b"meanwhile"]  # ready: nothing that was there is missing
    await propose(site, gone, b"after")
    await site.same(b"before", b"meanwhile", b"after")


async def test_all_stop_and_come_back(site: Site) -> None:
    await site.all_up()
    await site.led()
    await propose(site, "a", b"one")
    await propose(site, "b", b"two")
    await site.down("abc")
    await site.all_up()
    assert all(site.ledgers[name].entries == [b"one", b"two"] for name in "abc")
    await site.led()
    await propose(site, "c", b"three")
    await site.same(b"one", b"two", b"three")


async def test_state_survives_by_snapshot(site: Site) -> None:
    await site.all_up(compact_entries=20)
    await site.led()
    payloads = [b"%d" % number for number in range(50)]
    for payload in payloads:
        await propose(site, "a", payload)
    await site.same(*payloads)
    await site.down("abc")
    await site.all_up(compact_entries=20)
    assert all(site.ledgers[name].entries == payloads for name in "abc")
    assert all(site.ledgers[name].restored == 1 for name in "abc")
    await site.led()
    await propose(site, "b", b"more")
    await site.same(*payloads, b"more")


async def test_a_node_that_was_away_for_long_is_sent_a_snapshot(site: Site) -> None:
    await site.all_up(compact_entries=20)
    await site.led()
    gone = site.follower()
    await propose(site, gone, b"before")
    await site.down(gone)
    await site.led()
    payloads = [b"%d" % number + bytes(5000) for number in range(50)]  # several messages long
    for payload in payloads:
        await propose(site, site.leader(), payload)
    back = await site.up(gone, "abc".replace(gone, ""), compact_entries=20)
    await until(lambda: back.status().ready)
    assert site.ledgers[gone].entries == [b"before", *payloads]
    assert site.ledgers[gone].restored
    await site.led()
    await propose(site, gone, b"after")
    await site.same(b"before", *payloads, b"after")


async def test_a_cluster_grows_from_one_to_three(site: Site) -> None:
    founder = await site.up("a")
    await propose(site, "a", b"one")
    term = founder.status().term
    for joiner, others in (("b", "a"), ("c", "ab")):
        await site.up(joiner, others, joining=True)
        assert not site.nodes[joiner].status().ready
        await founder.add_voter(site.address(joiner), timeout=WITHIN_S)
        await until(lambda: site.nodes[joiner].status().ready)  # noqa: B023
        await propose(site, joiner, joiner.encode())
    await site.same(b"one", b"b", b"c")
    everyone = tuple(sorted(site.address(name) for name in "abc"))
    await until(lambda: all(node.status().voters == everyone for node in site.nodes.values()))
    assert founder.status().is_leader and founder.status().term == term  # nobody was disturbed
    await founder.add_voter(site.address("c"), timeout=WITHIN_S)  # idempotent
    await site.down("a")
    await site.led()
    await propose(site, "b", b"without the founder")
    await site.same(b"one", b"b", b"c", b"without the founder")


async def test_a_joiner_is_sent_a_snapshot(site: Site) -> None:
    founder = await site.up("a", compact_entries=20)
    payloads = [b"%d" % number for number in range(50)]
    for payload in payloads:
        await propose(site, "a", payload)
    await site.up("b", "a", joining=True)
    await founder.add_voter(site.address("b"), timeout=WITHIN_S)
    await until(lambda: site.nodes["b"].status().ready)
    assert site.ledgers["b"].entries == payloads
    assert site.ledgers["b"].restored == 1
    assert site.nodes["b"].status().voters == tuple(sorted([site.address("a"), site.address("b")]))


async def test_voters_are_taken_in_by_the_leader_one_at_a_time(site: Site) -> None:
    await site.up("a")
    for joiner in "bc":
        await site.up(joiner, "a", joining=True)
    await until(lambda: site.nodes["a"].status().is_leader)
    with pytest.raises(NoLeader):
        await site.nodes["b"].add_voter(site.address("c"), timeout=1.0)
    both = await asyncio.gather(
        *(site.nodes["a"].add_voter(site.address(joiner), timeout=WITHIN_S) for joiner in "bc"), return_exceptions=True
    )
    assert [type(outcome) for outcome in both] == [type(None), Conflict]
    await site.nodes["a"].add_voter(site.address("c"), timeout=WITHIN_S)
    await propose(site, "a", b"three of us")
    await site.same(b"three of us")


async def test_nobody_is_taken_in_who_is_not_there(site: Site) -> None:
    await site.up("a")
    await until(lambda: site.nodes["a"].status().is_leader)
    with pytest.raises(Unavailable):
        await site.nodes["a"].add_voter(site.address("z"), timeout=2.0)
    await propose(site, "a", b"alone, and well")


async def test_without_a_majority_a_proposal_fails_in_time(site: Site) -> None:
    await site.all_up()
    last = await site.led()
    await site.down("abc".replace(last, ""))
    began = time.monotonic()
    with pytest.raises((NoLeader, UnknownOutcome)):
        await site.nodes[last].propose(b"lost", timeout=1.0)
    assert time.monotonic() - began < 1.5
    await until(lambda: not site.nodes[last].status().has_quorum)
    await until(lambda: site.nodes[last].status().leader is None)
    with pytest.raises(NoLeader):
        await site.nodes[last].propose(b"lost", timeout=0.2)


async def test_without_a_majority_from_the_start_there_is_no_leader(site: Site) -> None:
    node = await site.up("a", "bc")
    with pytest.raises(NoLeader):
        await node.propose(b"lost", timeout=0.3)
    status = node.status()
    assert status.leader is None and not status.has_quorum and not status.ready
    assert len(status.voters) == 3


async def test_a_machine_that_raises_does_not_hold_up_the_cluster(site: Site) -> None:
    await site.all_up()
    await site.led()
    await propose(site, "a", b"before")
    await propose(site, "b", BOOM)
    await propose(site, "c", b"after")
    await site.same(b"before", b"after")


async def test_changes_are_told(site: Site) -> None:
    node = await site.up("a", "bc")
    told: list[str | None] = []
    node.on_change(lambda: told.append(node.status().leader))
    await site.up("b", "ac")
    await site.up("c", "ab")
    old = await site.led()
    await until(lambda: told[-1:] == [site.address(old)])
    if old != "a":
        await site.down(old)
        new = await site.led()
        await until(lambda: told[-1:] == [site.address(new)])


async def test_applied_grows_to_the_same_on_all(site: Site) -> None:
    await site.all_up()
    before = site.nodes[await site.led()].status().applied
    await propose(site, "a", b"one")
    assert site.nodes["a"].status().applied > before
    await until(lambda: len({node.status().applied for node in site.nodes.values()}) == 1)


async def test_a_stopped_node_says_so(site: Site) -> None:
    await site.all_up()
    leader = site.nodes[await site.led()]
    await leader.stop()
    await leader.stop()
    assert leader.status().leader is None and not leader.status().has_quorum
    with pytest.raises(AriaClusterError):
        await leader.propose(b"lost", timeout=1.0)


async def test_stopping_answers_who_still_waits(site: Site) -> None:
    node = await site.up("a", "bc")
    waiting = asyncio.create_task(node.propose(b"lost", timeout=60.0))
    await asyncio.sleep(0)
    await node.stop()
    with pytest.raises((NoLeader, UnknownOutcome)):
        await asyncio.wait_for(waiting, WITHIN_S)


async def test_the_fake_can_be_told_to_misbehave() -> None:
    cluster = FakeCluster()
    ledgers = {me: Ledger() for me in ("a:1", "b:1", "c:1")}
    nodes = {me: FakeConsensus(ledger, cluster=cluster, me=me, voters=list(ledgers)) for me, ledger in ledgers.items()}
    for node in nodes.values():
        await node.start()
    cluster.lead("b:1")
    assert nodes["a:1"].status().leader == "b:1"
    cluster.cut("b:1")
    assert nodes["a:1"].status().leader == "a:1" and nodes["b:1"].status().leader is None
    with pytest.raises(NoLeader):
        await nodes["b:1"].propose(b"cut off", timeout=0.05)
    await nodes["a:1"].propose(b"one", timeout=1.0)
    cluster.mute.add("a:1")
    with pytest.raises(UnknownOutcome):
        await nodes["a:1"].propose(b"two", timeout=1.0)
    cluster.heal("b:1")
    cluster.mute.clear()
    cluster.full = True
    with pytest.raises(Overloaded):
        await nodes["a:1"].propose(b"too much", timeout=1.0)
    cluster.full = False
    cluster.depose()
    with pytest.raises(NoLeader):
        await nodes["c:1"].propose(b"no leader", timeout=0.05)
    cluster.lead("c:1")
    await nodes["b:1"].propose(b"three", timeout=1.0)
    await until(lambda: all(ledger.entries == [b"one", b"two", b"three"] for ledger in ledgers.values()))
    for node in nodes.values():
        await node.stop()
