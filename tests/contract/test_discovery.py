"""What every discovery keeps to: the fake and multicast DNS on loopback run the same bodies.

Other tests may speak on the same loopback at the same time: only the ids of the test itself count.
"""

import secrets
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns.discovery import ZeroconfDiscovery
from ariacluster_node.ports import Discovery
from tests.support.fake_discovery import Air, FakeDiscovery, wait_until

Make = Callable[[], Discovery]


@pytest.fixture(params=["fake", "mdns"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    air = Air()
    made: list[Discovery] = []

    def one() -> Discovery:
        made.append(FakeDiscovery(air) if request.param == "fake" else ZeroconfDiscovery("127.0.0.1"))
        return made[-1]

    yield one
    for discovery in made:
        await discovery.stop()


def node(port: int = 8000, name: str = "n") -> Heard:
    return Heard(
        node_id=secrets.token_hex(8),
        node_name=name,
        cluster_name="lab",
        address="127.0.0.1",
        port=port,
        version="0.1.0",
    )


def of(discovery: Discovery, *nodes: Heard) -> list[Heard]:
    """What is heard of `nodes`, in their order."""
    heard = {h.node_id: h for h in discovery.heard()}
    return [heard[n.node_id] for n in nodes if n.node_id in heard]


async def test_nobody_hears_itself(make: Make) -> None:
    mine, other = node(), node(8001)
    first, second = make(), make()
    await first.start(mine)
    await second.start(other)
    await wait_until(lambda: of(first, other) == [other] and of(second, mine) == [mine])
    assert of(first, mine) == [] and of(second, other) == []


async def test_all_hear_all_whoever_came_first(make: Make) -> None:
    nodes = [node(8000 + n, name) for n, name in enumerate(("früh", "spät", "später 🦀", "n"))]
    discoveries = [make() for _ in nodes]
    for mine, discovery in zip(nodes, discoveries, strict=True):
        await discovery.start(mine)
    for mine, discovery in zip(nodes, discoveries, strict=True):
        others = [n for n in nodes if n is not mine]
        await wait_until(lambda d=discovery, o=others: of(d, *o) == o)  # type: ignore[misc]


async def test_an_update_is_heard_under_the_same_id(make: Make) -> None:
    mine, other = node(), node(8001)
    first, second = make(), make()
    await first.start(mine)
    await second.start(other)
    await wait_until(lambda: of(second, mine) == [mine])
    joined = msgspec.structs.replace(mine, cluster_id="c0ffee", node_name="renamed")
    await first.update(joined)
    await wait_until(lambda: of(second, mine) == [joined])
    assert len([h for h in second.heard() if h.node_id == mine.node_id]) == 1


async def test_who_comes_later_hears_the_update(make: Make) -> None:
    mine, other = node(), node(8001)
    first, second = make(), make()
    await first.start(mine)
    joined = msgspec.structs.replace(mine, cluster_id="c0ffee")
    await first.update(joined)
    await second.start(other)
    await wait_until(lambda: of(second, mine) == [joined])


async def test_a_goodbye_is_heard(make: Make) -> None:
    mine, other = node(), node(8001)
    first, second = make(), make()
    await first.start(mine)
    await second.start(other)
    await wait_until(lambda: of(second, mine) == [mine])
    await first.stop()
    await first.stop()
    await wait_until(lambda: of(second, mine) == [])
    assert first.heard() == []


async def test_before_the_start_nobody_is_heard(make: Make) -> None:
    discovery = make()
    assert discovery.heard() == []
    await discovery.stop()


async def test_the_muted_neither_hear_nor_are_heard() -> None:
    """Of the fake alone: what the scenarios rely on."""
    air = Air()
    mine, other = node(), node(8001)
    first, second = FakeDiscovery(air), FakeDiscovery(air)
    await first.start(mine)
    await second.start(other)
    air.mute(mine.node_id)
    assert first.heard() == [] and second.heard() == []
    air.unmute(mine.node_id)
    assert first.heard() == [other] and second.heard() == [mine]
