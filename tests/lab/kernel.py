"""The system calls that Python 3.11 does not offer: into and out of namespaces (namespaces(7)), and mount(2)."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWPID = 0x20000000
NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(kinds: int) -> None:
    """New namespaces for this process; a new pid namespace is for the children that it forks from now on. OSError."""
    _checked(_libc.unshare(kinds), "unshare")


def setns(namespace: int, kind: int) -> None:
    """Into the namespace behind the file descriptor; into a pid namespace go only later children. OSError."""
    _checked(_libc.setns(namespace, kind), "setns")


def mount(what: str, where: str) -> None:
    """A file system that needs no device, such as `proc`. OSError."""
    _checked(_libc.mount(what.encode(), where.encode(), what.encode(), 0, None), f"mount {what}")


@contextmanager
def inside(namespace: int, kind: int) -> Iterator[None]:
    """The block runs there, then this process is back. For a process of one thread: others would stay behind."""
    own = os.open({NEWNET: "/proc/self/ns/net", NEWPID: "/proc/self/ns/pid"}[kind], os.O_RDONLY)
    try:
        setns(namespace, kind)
        try:
            yield
        finally:
            setns(own, kind)
    finally:
        os.close(own)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
