"""Living and ending: sockets taken before anything starts, signals that ask for the end, loops that end together."""

import asyncio
import contextlib
import errno
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from ariacluster.domain.errors import AriaClusterError, StartFailed

OPEN_FILES = 16_384
"""What a process of ours may have open, if the system lets it: connections, downloads and files of the log."""


def open_more() -> None:
    """As many files and sockets as the system lets this process have, up to `OPEN_FILES`: many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(bind: str, port: int, what: str) -> socket.socket:
    """A listening socket; `StartFailed` says which port is taken and how to choose another.

    `::` listens on every address, IPv6 and IPv4, and on every IPv4 one where the system has no IPv6. An IPv4 peer is
    named `::ffff:192.0.2.1` there.
    """
    everywhere = bind == "::"
    try:
        if everywhere and not socket.has_dualstack_ipv6():
            taken = socket.create_server(("0.0.0.0", port), backlog=512)
        else:
            family = socket.AF_INET6 if ":" in bind else socket.AF_INET
            taken = socket.create_server((bind, port), family=family, backlog=512, dualstack_ipv6=everywhere)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartFailed(
                f"Port {port} ({what}) is in use on {bind}; stop the program that has it or choose another with --port "
                "or --peer-port."
            ) from None
        raise StartFailed(f"Cannot listen on {bind} port {port} ({what}): {error.strerror or error}.") from None
    taken.setblocking(False)
    return taken


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Any:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            if stop.is_set():
                signal.signal(number, signal.SIG_IGN)


async def until_told(*loops: Coroutine[Any, Any, None], on_stop: Callable[[], None] = lambda: None) -> None:
    """Run the loops until SIGINT or SIGTERM, then call `on_stop` and cancel them. A loop that fails ends the others and raises;
    an error of ours among what was raised is raised alone. Who was told once is deaf to it from then on, to end in order."""
    stop = asyncio.Event()
    try:
        with _signals(stop):
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(loop) for loop in loops]
                await stop.wait()
                on_stop()
                for task in running:
                    task.cancel()
    except BaseExceptionGroup as group_of_errors:
        ours = _first(group_of_errors)
        if ours is None:
            raise
        raise ours from group_of_errors


def _first(error: BaseException) -> AriaClusterError | None:
    """The first error of ours in a group of groups."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _first(inner))), None)
    return error if isinstance(error, AriaClusterError) else None


@contextlib.asynccontextmanager
async def cancelled_at_exit(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """The loops run while the body does. A loop that fails cancels the body and raises."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
