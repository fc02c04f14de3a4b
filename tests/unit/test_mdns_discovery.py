"""Multicast DNS where it is slow, broken, or lied to."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
import pytest
from structlog.testing import capture_logs
from zeroconf import IPVersion, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns import discovery as module
from ariacluster_node.adapters.mdns import sleep, twins
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


class Stranger(NamedTuple):
    """Somebody who announces what it likes, and forgets it without a goodbye."""

    say: Callable[..., Any]
    forget: Callable[[str], None]

    async def __call__(self, node_id: str, txt: dict[str, bytes], **more: Any) -> None:
        await self.say(node_id, txt, **more)


@asynccontextmanager
async def stranger() -> AsyncIterator[Stranger]:
    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)
    said: dict[str, AsyncServiceInfo] = {}

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
        said[node_id] = info
        await (await zeroconf.async_register_service(info, cooperating_responders=True, strict=False))

    try:
        yield Stranger(say, lambda node_id: zeroconf.zeroconf.registry.async_remove(said[node_id]))
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
            await wait_until(lambda: discovery.twins == ("127.0.0.1:9000",))
            assert warnings(logs) == ["another node announces this node's id"]
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

    async def counting(self: ZeroconfDiscovery, *, anew: bool = False) -> None:
        nonlocal looks
        await real(self, anew=anew)
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


async def test_a_twin_that_fell_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_FORGET_AFTER", 0.2)
    monkeypatch.setattr(module, "TEND_PERIOD", 0.1)
    mine = node(8000)
    async with announced(mine) as discovery:
        assert discovery.twins == ()
        async with stranger() as say:
            await say(mine.node_id, to_txt(msgspec.structs.replace(mine, port=9000)), port=9000)
            await wait_until(lambda: discovery.twins != ())
        await wait_until(lambda: discovery.twins == ())


async def test_a_twins_goodbye_is_not_ours() -> None:
    mine, watcher = node(8000), node()
    async with announced(watcher) as other, announced(mine):
        await wait_until(hears(other, mine.node_id))
        async with stranger() as say:
            await say(mine.node_id, to_txt(msgspec.structs.replace(mine, port=9000)), port=9000)
        await wait_until(lambda: [h.port for h in other.heard() if h.node_id == mine.node_id] == [8000])


async def test_who_asks_hears_those_who_keep_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its announcement was lost: nothing but a question brings it out."""
    silent = node()
    async with announced(node()) as discovery:
        discovery.ask()
        async with stranger() as say:
            with monkeypatch.context() as lost:
                lost.setattr(Zeroconf, "async_send", lambda *args, **kwargs: None)
                await say(silent.node_id, to_txt(silent))
            assert not hears(discovery, silent.node_id)()
            discovery.ask()
            await wait_until(hears(discovery, silent.node_id), timeout=3)


async def test_after_a_sleep_nothing_that_was_heard_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this machine slept, one node ended and another came, unheard; and it says again that it is here itself."""
    monkeypatch.setattr(module, "TEND_PERIOD", 0.1)
    monkeypatch.setattr(module, "_ASK_TIMEOUT_MS", 500)
    slept, gone, stays, come, mine = 0.0, node(), node(), node(), node()
    real = sleep.clocks
    monkeypatch.setattr(sleep, "clocks", lambda: tuple(clock + slept for clock in real()))
    with capture_logs() as logs:
        async with announced(mine) as discovery, announced(stays), stranger() as say:
            await say(gone.node_id, to_txt(gone))
            await wait_until(hears(discovery, gone.node_id, stays.node_id))
            with monkeypatch.context() as asleep:
                asleep.setattr(Zeroconf, "async_send", lambda *args, **kwargs: None)
                await say(come.node_id, to_txt(come))
            say.forget(gone.node_id)
            assert hears(discovery, gone.node_id)() and not hears(discovery, come.node_id)()
            announce, said = discovery._announce, 0

            async def saying() -> None:
                nonlocal said
                said += 1
                await announce()

            monkeypatch.setattr(discovery, "_announce", saying)
            slept = 3600.0
            await wait_until(
                lambda: hears(discovery, stays.node_id, come.node_id)() and not hears(discovery, gone.node_id)()
            )
            assert said
    assert [entry["seconds"] for entry in logs if entry["event"].startswith("this machine slept")] == [
        3600,
        3600,
    ]  # both nodes of this machine, once each
