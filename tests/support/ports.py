"""Free loopback ports for real servers, handed out so that test runs on one machine do not meet."""

import asyncio
import contextlib
import errno
import fcntl
import os
import random
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

# Below the ephemeral ranges of Linux (32768 up) and IANA (49152 up): no outgoing connection can take one meanwhile.
_FIRST = 20_000
_STRIPE = 500  # ports a run owns: the same port comes round again only after that many
_STRIPES = 24


@dataclass
class _Claim:
    pid: int
    first: int
    used: int = 0


_claim: _Claim | None = None


def free_port() -> int:
    """A port that nothing on this machine listens on, TCP or UDP."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of `count` free ports in a row: an API on p and its consensus port on p+1.

    Raises RuntimeError when this run's ports are all taken.
    """
    if not 1 <= count <= _STRIPE:
        raise ValueError(f"a block has 1 to {_STRIPE} ports, not {count}")
    claim = _claimed()
    for _ in range(_STRIPE):
        if claim.used + count > _STRIPE:
            claim.used = 0
        first = claim.first + claim.used
        taken = next((port for port in range(first, first + count) if not _is_free(port)), None)
        claim.used = (first + count if taken is None else taken + 1) - claim.first
        if taken is None:
            return first
    raise RuntimeError(f"no {count} free ports in a row from {claim.first} on: end some of the servers of this run")


async def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a server takes TCP connections there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _claimed() -> _Claim:
    """This process's stripe; the lock on its file is held until the process ends, and a fork takes its own."""
    global _claim
    if _claim is None or _claim.pid != os.getpid():
        _claim = _Claim(os.getpid(), _lock_a_stripe())
    return _claim


def _lock_a_stripe() -> int:
    folder = Path(tempfile.gettempdir(), f"ariacluster-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    for stripe in random.sample(range(_STRIPES), _STRIPES):
        held = os.open(folder / f"{stripe}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
        else:
            return _FIRST + stripe * _STRIPE
    raise RuntimeError(f"{_STRIPES} test runs hold all port stripes: wait until one of them ends")


def _is_free(port: int) -> bool:
    """Bound on every address, because a server on one address leaves the others bindable."""
    with contextlib.ExitStack() as bound:
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    probe = bound.enter_context(socket.socket(family, kind))
                    if family == socket.AF_INET6:
                        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    if kind == socket.SOCK_STREAM:
                        # As servers do it: connections of the last owner in TIME_WAIT do not count, a listener does.
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
                except OSError as error:
                    if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # a machine without IPv6
                        return False
    return True
