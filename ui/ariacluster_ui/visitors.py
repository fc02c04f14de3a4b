"""Visitors that never open a WebSocket (scanners, probes, link previews) are forgotten soon, and their memory is given back."""

import asyncio
import ctypes
import gc
from collections.abc import Callable

from nicegui import Client

AGE = 10.0
"""Seconds that a page waits for its WebSocket; NiceGUI's own patience is 60."""

PERIOD = 5.0
ROUNDS = 3
"""Every so many rounds the memory is given back, if anybody was forgotten."""


async def forget() -> None:
    """Until cancelled. Three hundred curls cost 150 MB for good without it."""
    trim = _trim()
    forgotten, rounds = 0, 0
    while True:
        await asyncio.sleep(PERIOD)
        before = len(Client.instances)
        Client.prune_instances(client_age_threshold=AGE)
        forgotten += before - len(Client.instances)
        rounds += 1
        if rounds % ROUNDS == 0 and forgotten:
            forgotten = 0
            gc.collect()
            trim()


def _trim() -> Callable[[], object]:
    """glibc's `malloc_trim`, where there is one."""
    try:
        library = ctypes.CDLL(None)
        return lambda: library.malloc_trim(0)
    except (OSError, AttributeError):
        return lambda: None
