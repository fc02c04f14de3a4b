"""Whether this machine lets us make a lab, and if not, the sentence that says why."""

import functools
import os
import shutil
import subprocess
import sys

import pytest

# Everything that a lab needs of the kernel, tried once in namespaces that end with it.
_PROBE = """
ip link add probe type bridge
ip link add probe1 type veth peer name probe2
tc qdisc add dev probe1 root tbf rate 1mbit burst 64kb latency 100ms
nft 'add table bridge probe; add chain bridge probe f { type filter hook forward priority 0; };
     add rule bridge probe f udp dport 5353 numgen random mod 100 < 30 drop'
"""
_PACKAGES = {"unshare": "util-linux", "ip": "iproute2", "tc": "iproute2", "nft": "nftables"}
_SBIN = ":/usr/sbin:/sbin"


def path() -> str:
    """PATH with the places where the programs of the network are, which is not everybody's."""
    return os.environ.get("PATH", os.defpath) + _SBIN


def namespaces() -> list[str]:
    """The start of a command line: what follows runs as the first process of namespaces that end with it."""
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    kinds = ["--net", "--mount", "--uts", "--ipc", "--pid"]
    return ["unshare", *rootless, *kinds, "--fork", "--kill-child", "--mount-proc"]


@functools.cache
def available() -> str | None:
    """None where a lab can be made, else why not. Takes some 50 ms, once."""
    if sys.platform != "linux":
        return "the lab needs Linux: its hosts are network namespaces"
    if missing := {package for program, package in _PACKAGES.items() if not shutil.which(program, path=path())}:
        return f"the lab needs programs that are not here: apt-get install {' '.join(sorted(missing))}"
    try:
        tried = subprocess.run(
            [*namespaces(), "sh", "-ec", _PROBE],
            env={**os.environ, "PATH": path()},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the lab cannot make network namespaces here: {error}"
    if tried.returncode != 0:
        said = tried.stderr.strip().splitlines()
        hint = "" if os.geteuid() == 0 else " (try as root)"
        return f"the lab cannot make network namespaces here{hint}: {said[0] if said else tried.returncode}"
    return None


needed = pytest.mark.skipif(available() is not None, reason=available() or "")
"""The mark of tests that need a lab."""
