"""What only one node can say or do, asked for at any of them."""

from pathlib import Path

import pytest

from ariacluster.domain.commands import Assign, Register, Start, Submit
from ariacluster.domain.errors import Conflict, NoLeader, NoSuchTask, Unavailable
from ariacluster.domain.member import Member
from ariacluster_node.ports import Job
from tests.support.fake_site import SPEC, FakeSite
from tests.support.singly import add

A, M, N = "a" * 16, "m" * 8, "n" * 8


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("mno")
    await site.say(Submit(A, SPEC))
    return site


async def running(site: FakeSite) -> None:
    await site.say(Assign(A, 1, N, ""), Start(A, 1))
    await add(site.nodes["n"].downloader, Job(gid=A, urls=("http://u:secret@o/f",) * 2, folder=Path("/x"), out="f"))


async def test_a_download_is_told_of_from_any_node(site: FakeSite) -> None:
    await running(site)
    for name in "mno":
        told = await site.nodes[name].services.relaying.live(A[:5], relayed=False)
        assert (told.id, told.running, [file.path for file in told.files]) == (A, True, ["f"])
        assert [server.uri for server in told.servers] == ["http://u:***@o/f"], "once, over however many connections"
    assert site.peers.asked.count(("live", "n:8000")) == 2, "the node that has it asks nobody"


async def test_what_does_not_run_has_nothing_to_tell(site: FakeSite) -> None:
    relaying = site.nodes["m"].services.relaying
    assert not (await relaying.live(A, relayed=False)).running
    await site.say(Assign(A, 1, N, ""), Start(A, 1))
    assert not (await relaying.live(A, relayed=False)).running, "its engine does not know of it yet"
    with pytest.raises(NoSuchTask):
        await relaying.live("f" * 16, relayed=False)


async def test_a_question_is_passed_on_once(site: FakeSite) -> None:
    await running(site)
    assert not (await site.nodes["m"].services.relaying.live(A, relayed=True)).running
    assert ("live", "n:8000") not in site.peers.asked
    site.peers.shut.add("n:8000")
    with pytest.raises(Unavailable):
        await site.nodes["m"].services.relaying.live(A, relayed=False)


async def test_leadership_is_handed_over_from_any_node(site: FakeSite) -> None:
    await site.nodes["o"].services.relaying.transfer("n", relayed=False)
    assert site.consensus.leader == N
    assert ("transfer", "m:8000") in site.peers.asked
    await site.nodes["n"].services.relaying.transfer("", relayed=False)
    assert site.consensus.leader != N


async def test_to_whom_it_cannot_be_handed_over(site: FakeSite) -> None:
    relaying = site.nodes["o"].services.relaying
    with pytest.raises(Conflict, match="leads already"):
        await relaying.transfer("m", relayed=False)
    await site.say(Register(Member(id="l" * 8, name="l", address="l", port=1, raft="l:2")))
    with pytest.raises(Conflict, match="does not vote"):
        await relaying.transfer("l", relayed=False)
    with pytest.raises(NoLeader):
        await relaying.transfer("n", relayed=True)
    site.consensus.depose()
    with pytest.raises(NoLeader):
        await relaying.transfer("n", relayed=False)
    alone = FakeSite()
    [node] = await alone.up("m")
    with pytest.raises(Conflict, match="no other voter"):
        await node.services.relaying.transfer("", relayed=False)
