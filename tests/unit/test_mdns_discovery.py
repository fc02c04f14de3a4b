"""Multicast DNS where it is slow, broken, or lied to."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs
from zeroconf import IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns import discovery as module
from ariacluster_node.adapters.mdns.announcement import SERVICE, entry_name, host, to_txt
from ariacluster_node.adapters.mdns.discovery import ZeroconfDiscovery
from tests.support.fake_discovery import wait_until

LOOPBACK = "127.0.0.1"


def node(port: int = 8000, **more: Any) -> Heard:
    return Heard(
        node_id=secrets.token_hex(8),
        node_name="Büro",
        cluster_name="lab",
        address=LOOPBACK,
        port=port,
        version="1",
        **more,
    )


@asynccontextmanager
async def announced(mine: Heard, bind: str = LOOPBACK) -> AsyncIterator[ZeroconfDiscovery]:
    discovery = ZeroconfDiscovery(bind)
    await discovery.start(mine)
    try:
        yield discovery
    finally:
        await discovery.stop()


@asynccontextmanager
async def stranger() -> AsyncIterator[Callable[..., Any]]:
    """Somebody who announces what it likes; answers a function that does it."""
    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)

    async def say(node_id: str, txt: dict[str, bytes], port: int = 8000, entry: str = "", ttl: int = 60) -> None:
        info = AsyncServiceInfo(
            SERVICE,
            entry or entry_name(node_id),
            port=port,
            properties=txt,
            server=host(node_id),
            parsed_addresses=[LOOPBACK],
            host_ttl=ttl,
        )
        await (await zeroconf.async_register_service(info, cooperating_responders=True, strict=False))

    try:
        yield say
    finally:
        await zeroconf.async_close()


def hears(discovery: ZeroconfDiscovery, *ids: str) -> Callable[[], bool]:
    return lambda: set(ids) <= {heard.node_id for heard in discovery.heard()}


def warnings(logs: list[MutableMapping[str, Any]]) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] not in ("debug", "info")]


async def test_lies_are_ignored_and_the_honest_are_heard() -> None:
    honest, liars = node(), [node() for _ in range(5)]
    with capture_logs() as logs:
        async with announced(node()) as discovery, stranger() as say:
            txts = [to_txt(liar) for liar in liars]
            await asyncio.gather(
                say(liars[0].node_id, {}),
                say(liars[1].node_id, txts[1] | {"name": b"\xff\xfe"}),
                say(liars[2].node_id, txts[2], port=0),
                say(liars[3].node_id, txts[3] | {"x" * 9: b"y" * 245}, port=1),
                say(liars[4].node_id, txts[4], entry=f"some thing else.{SERVICE}"),
            )
            await say(honest.node_id, to_txt(honest))
            await wait_until(hears(discovery, honest.node_id))
            ours = {liar.node_id for liar in liars} | {honest.node_id}
            assert {heard.node_id for heard in discovery.heard()} & ours == {honest.node_id}
    assert warnings(logs) == []


async def test_packets_of_garbage_do_no_harm() -> None:
    async with announced(node()) as discovery:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
            for size in (0, 1, 12, 13, 500, 1400):
                out.sendto(secrets.token_bytes(size), ("224.0.0.251", 5353))
                out.sendto(b"\0\0\x84\0\0\0\xff\xff\0\0\0\0" + secrets.token_bytes(size), ("224.0.0.251", 5353))
        other = node()
        async with announced(other):
            await wait_until(hears(discovery, other.node_id))


async def test_a_node_that_was_killed_is_forgotten_and_may_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEND_PERIOD", 0.1)
    monkeypatch.setattr(module, "_ASK_TIMEOUT_MS", 300)
    killed = node()
    async with announced(node()) as discovery:
        silence = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)
        info = AsyncServiceInfo(
            SERVICE,
            entry_name(killed.node_id),
            port=killed.port,
            properties=to_txt(killed),
            server=host(killed.node_id),
            parsed_addresses=[LOOPBACK],
            host_ttl=2,
        )
        await (await silence.async_register_service(info, cooperating_responders=True))
        await wait_until(hears(discovery, killed.node_id))
        silence.zeroconf.registry.async_remove(info)  # no goodbye
        await silence.async_close()
        await wait_until(lambda: not hears(discovery, killed.node_id)())
        async with announced(killed):
            await wait_until(hears(discovery, killed.node_id))


async def test_a_silent_moment_does_not_make_a_living_node_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records run out again and again; being asked, it answers, and is present all the while."""
    monkeypatch.setattr(module, "TEND_PERIOD", 0.1)
    monkeypatch.setattr(module, "_HOST_TTL", 1)
    other = node()
    asked = 0
    real = module.ZeroconfDiscovery._ask

    async def counting(self: ZeroconfDiscovery, zeroconf: Any, info: AsyncServiceInfo) -> None:
        nonlocal asked
        asked += info.name == entry_name(other.node_id)
        await real(self, zeroconf, info)

    monkeypatch.setattr(module.ZeroconfDiscovery, "_ask", counting)
    async with announced(node()) as discovery, announced(other):
        await wait_until(hears(discovery, other.node_id))

        def present() -> bool:
            assert hears(discovery, other.node_id)()
            return asked >= 3

        await wait_until(present)


async def test_two_nodes_with_one_id_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = node(8000)
    with capture_logs() as logs:
        async with announced(mine) as discovery, stranger() as say:
            twin = Heard(node_id=mine.node_id, node_name="copy", cluster_name="lab", address=LOOPBACK, port=9000)
            await say(mine.node_id, to_txt(twin), port=9000)
            await wait_until(lambda: "another node announces this node's id" in warnings(logs))
            assert mine.node_id not in {heard.node_id for heard in discovery.heard()}


async def test_an_update_is_no_twin() -> None:
    mine, watcher = node(8000), node()
    with capture_logs() as logs:
        async with announced(watcher) as other, announced(mine) as discovery:
            for port in range(8001, 8006):
                await discovery.update(
                    Heard(node_id=mine.node_id, node_name="n", cluster_name="lab", address="", port=port)
                )
            await wait_until(lambda: any(h.port == 8005 for h in other.heard() if h.node_id == mine.node_id))
    assert warnings(logs) == []


@pytest.mark.parametrize("bind", ["203.0.113.77", "fd00::77", "nas.example"])
async def test_where_multicast_cannot_work_one_warning_is_given(bind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TEND_PERIOD", 0.01)
    looks = 0
    real = ZeroconfDiscovery._look_after

    async def counting(self: ZeroconfDiscovery) -> None:
        nonlocal looks
        await real(self)
        looks += 1

    monkeypatch.setattr(ZeroconfDiscovery, "_look_after", counting)
    with capture_logs() as logs:
        async with announced(node(), bind) as discovery:
            await discovery.update(node())
            await wait_until(lambda: looks > 3)
            assert discovery.heard() == []
    assert warnings(logs) == ["multicast does not work here; no node is heard"]


@pytest.mark.parametrize("what", ["AsyncZeroconf", "AsyncServiceBrowser"])
async def test_what_fails_at_first_is_tried_again(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(module, "TEND_PERIOD", 0.05)
    real, tries = getattr(module, what), 0

    def later(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise OSError(19, "No such device")
        return real(*args, **kwargs)

    monkeypatch.setattr(module, what, later)
    other = node()
    async with announced(node()) as discovery, announced(other):
        await wait_until(hears(discovery, other.node_id))


async def test_stop_is_quick_idempotent_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    discovery = ZeroconfDiscovery(LOOPBACK)
    await discovery.stop()
    await discovery.start(node())
    await discovery.stop()
    await discovery.stop()
    assert discovery.heard() == []
    await wait_until(lambda: asyncio.all_tasks() == before)
    mine, other = node(), node()
    await discovery.start(mine)  # and may begin anew
    async with announced(other):
        await wait_until(hears(discovery, other.node_id))
    await discovery.stop()
