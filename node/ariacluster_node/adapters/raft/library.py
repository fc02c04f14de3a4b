"""What of pysyncobj is replaced, all in one place, and the one version of it that this was written for.

The library looks these names up in its own modules each time, so replacing them there needs no fork:

- time, so that a simulation can be the clock;
- the journal: what is handed to it as the file's name is the log itself (`Wal`);
- the poller: waiting for sockets is not its business here, a tick is a mere function call;
- pickle: whatever still reached for it would fail instead of executing what somebody sent or wrote.
"""

import _socket
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import pysyncobj.pickle
import pysyncobj.serializer
import pysyncobj.syncobj
import pysyncobj.utility
import pysyncobj.win_inet_pton
from pysyncobj.version import VERSION

from ariacluster.domain.errors import StartFailed

NEEDED_VERSION = "0.3.17"

# The library puts its stand-ins for old Windows into the `socket` module, on every system; they work on none but that.
socket.inet_pton, socket.inet_ntop = _socket.inet_pton, _socket.inet_ntop


class Unpicklable(Exception):
    """Something tried to pickle or to unpickle."""


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise Unpicklable("nothing is pickled here, and nothing unpickled")


class _NoPoller:
    def poll(self, timeout: float) -> None:
        """No sockets are waited for."""


CLOCK: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""Counts on while the machine sleeps, where the system can: a leader that wakes up must not take its lease for valid."""


def install(clock: Callable[[], float] = CLOCK) -> None:
    """Replace them in this process. `clock` in seconds; it is the library's only one. Safe to repeat."""
    pysyncobj.syncobj.monotonicTime = clock
    pysyncobj.syncobj.createPoller = lambda kind: _NoPoller()
    pysyncobj.syncobj.createJournal = lambda wal: wal
    executing = [getattr(pysyncobj.pickle, name) for name in ("load", "loads", "dump", "dumps")]
    for name, module in list(sys.modules.items()):
        if name.startswith("pysyncobj"):
            for attribute, value in list(vars(module).items()):
                if any(value is function for function in executing):
                    setattr(module, attribute, _refuse)


def now() -> float:
    """Seconds on the library's clock."""
    return float(pysyncobj.syncobj.monotonicTime())


def check_version() -> None:
    """`StartFailed` for another one: what is overridden and read here are its private parts."""
    if VERSION != NEEDED_VERSION:
        raise StartFailed(
            f"PySyncObj {NEEDED_VERSION} is needed, and {VERSION} is installed. "
            f"Install it with: pip install pysyncobj=={NEEDED_VERSION}"
        )


install()
