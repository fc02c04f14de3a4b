import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from ariacluster.domain.errors import Broken, StartFailed
from ariacluster_node.lifecycle import cancelled_at_exit, listen, until_told


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def port_of(taken: socket.socket) -> int:
    port: int = taken.getsockname()[1]
    return port


def test_a_socket_that_listens_and_does_not_block() -> None:
    with listen("127.0.0.1", 0, "API") as taken, socket.create_connection(("127.0.0.1", port_of(taken))):
        assert not taken.getblocking()


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with listen("127.0.0.1", 0, "API") as taken:
        port = port_of(taken)
        with pytest.raises(StartFailed, match=rf"Port {port} \(consensus\) is in use on 127\.0\.0\.1.*--port"):
            listen("127.0.0.1", port, "consensus")


def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(StartFailed, match=r"Cannot listen on 192\.0\.2\.1 port 0 \(API\): \S"):
        listen("192.0.2.1", 0, "API")


def test_an_address_that_is_none_is_a_sentence_too() -> None:
    with pytest.raises(StartFailed, match="Cannot listen on ::zz port 0"):
        listen("::zz", 0, "API")


def test_ipv6_is_listened_on_where_there_is_some() -> None:
    try:
        taken = listen("::1", 0, "API")
    except StartFailed:
        pytest.skip("no IPv6 here")
    with taken:
        assert taken.family == socket.AF_INET6


@pytest.mark.parametrize("family", ["both", "only IPv4"])
def test_everywhere_is_both_families_as_far_as_there_are_two(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if family == "only IPv4":
        monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    elif not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with listen("::", 0, "API") as taken:
        port = port_of(taken)
        with socket.create_connection(("127.0.0.1", port)):
            pass
        if family == "both":
            with socket.create_connection(("::1", port)):
                pass
        with pytest.raises(StartFailed, match=f"Port {port} .* is in use"):
            listen("0.0.0.0", port, "API")


def test_every_ipv4_address_is_no_ipv6_one() -> None:
    with listen("0.0.0.0", 0, "API") as taken, pytest.raises(OSError):
        socket.create_connection(("::1", port_of(taken)), timeout=5)


async def forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def broken() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_loops(number: signal.Signals) -> None:
    ended: list[str] = []
    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), number)
    await asyncio.wait_for(until_told(forever(ended, "one"), forever(ended, "two")), 5)
    assert sorted(ended) == ["one", "two"]


async def test_whoever_is_told_twice_still_ends_in_order() -> None:
    """Ctrl-C reaches a whole terminal, and a script that started the node passes it on."""
    steps: list[str] = []

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("ending")
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
                await asyncio.sleep(0.01)
            steps.append("ended")

    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(until_told(slow_to_end(), on_stop=lambda: steps.append("told")), 5)
    assert steps == ["told", "ending", "ended"]


async def test_a_loop_that_fails_ends_the_others_and_is_told() -> None:
    ended: list[str] = []
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(until_told(forever(ended, "one"), broken()), 5)
    assert caught.value.subgroup(ZeroDivisionError)
    assert ended == ["one"]


async def test_an_error_of_ours_comes_out_alone() -> None:
    """However deep: a person reads one sentence, not a tree of tasks."""

    async def fails() -> None:
        raise Broken("the disk is full")

    async def holds() -> None:
        async with cancelled_at_exit(fails()):
            await asyncio.Event().wait()

    ended: list[str] = []
    with pytest.raises(Broken, match="the disk is full"):
        await asyncio.wait_for(until_told(forever(ended, "one"), holds()), 5)
    assert ended == ["one"]


async def test_loops_run_while_the_body_does() -> None:
    ended: list[str] = []
    async with cancelled_at_exit(forever(ended, "one")):
        await asyncio.sleep(0)
        assert ended == []
    assert ended == ["one"]


async def test_a_loop_that_fails_ends_the_body() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with cancelled_at_exit(broken()):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
    assert caught.value.subgroup(ZeroDivisionError)
