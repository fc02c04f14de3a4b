"""A machine without a node asks one that it hears; where several clusters are heard, a person says which."""

import asyncio
import secrets

import pytest

from ariacluster.cli import invocation, nearby
from ariacluster.cli.main import main
from ariacluster.cli.nearby import Nearby, choose, listen
from ariacluster.client.locate import is_open
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns.discovery import ZeroconfDiscovery
from tests.support.fake_node import FakeNode

NAS = Nearby("nas", "home", "c1", "http://192.0.2.7:8000")
PI = Nearby("pi", "home", "c1", "http://192.0.2.8:8000")
FRESH = Nearby("fresh", "home", "", "http://192.0.2.9:8000")
LAB = Nearby("lab1", "lab", "c2", "http://192.0.2.10:8000")


def test_any_node_of_the_one_cluster_will_do() -> None:
    assert choose([PI, NAS, FRESH]) == [NAS, PI]
    assert choose([FRESH]) == [FRESH], "it will say that it is still starting"
    assert choose([]) == []


def test_of_several_clusters_none_is_guessed() -> None:
    with pytest.raises(InvalidInput, match=r"home \(nas, http://192.0.2.7:8000\), lab \(lab1, ") as caught:
        choose([NAS, LAB])
    assert caught.value.field == "--url"


async def test_a_node_is_really_heard() -> None:
    name = f"heard-{secrets.token_hex(4)}"
    mine = Heard(
        node_id=secrets.token_hex(8), node_name=name, cluster_name="n", cluster_id="c", address="127.0.0.1", port=4242
    )
    discovery = ZeroconfDiscovery("127.0.0.1")
    await discovery.start(mine)
    try:
        heard = await listen()
    finally:
        await discovery.stop()
    assert Nearby(name, "n", "c", "http://127.0.0.1:4242") in heard


async def test_without_the_node_installed_nobody_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearby, "part_of_node", lambda module: ["/nowhere/python", module])
    assert await listen() == []
    monkeypatch.setattr(nearby, "part_of_node", lambda module: ["/bin/sh", "-c", "echo noise; exit 1"])
    assert await listen() == []


async def test_a_door_is_open_or_not() -> None:
    async with FakeNode() as fake:
        assert await is_open(fake.url)
    assert not await is_open(fake.url)
    assert not await is_open("http://no-such-host.invalid")


async def test_the_one_that_is_heard_is_asked_and_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.delenv("ARIACLUSTER_URL", raising=False)
    heard: list[Nearby] = []

    async def hear() -> list[Nearby]:
        return heard

    async def only_fake(url: str) -> bool:
        return url == fake.url

    monkeypatch.setattr(invocation, "listen", hear)
    monkeypatch.setattr(invocation, "is_open", only_fake)
    monkeypatch.setattr(invocation, "LOCAL", "http://127.0.0.1:1")

    async def run(*arguments: str) -> int:
        return await asyncio.to_thread(main, arguments)

    async with FakeNode() as fake:
        heard[:] = [Nearby("alpha", "home", "c1", "http://127.0.0.1:2"), Nearby("beta", "home", "c1", fake.url)]
        assert await run("cluster", "status") == 0
        out, err = capsys.readouterr()
        assert "alpha" in out and err == f"No node on this machine; asking beta at {fake.url}.\n"
        assert await run("cluster", "status", "-o", "json") == 0
        assert capsys.readouterr().err == "", "a script hears of it only what it asked for"
        heard.append(LAB)
        assert await run("cluster", "status") == 2
        assert "Several clusters" in capsys.readouterr().err
        heard.clear()
        assert await run("cluster", "status") == 3
        assert "ariacluster up" in capsys.readouterr().err
