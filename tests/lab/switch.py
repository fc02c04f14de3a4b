"""The network between the hosts: switches and wires, and which packets get through. Runs in the holder's namespace.

Rules go by the sender's hardware address and the port that leads to the receiver: they hold whatever addresses the hosts
have by then, for IPv4, IPv6 and ARP alike, and over the wire between two switches.
"""

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import kernel
from .available import path
from .door import LabError

LANS = ("lan1", "lan2")
PORT_OF_HOST = "eth0"
MDNS = 5353
_BURST = "64kb"  # a segment as large as the kernel makes them
_QUEUE = "100ms"

_RULES = """table bridge lab
delete table bridge lab
table bridge lab {{
    chain forward {{
        type filter hook forward priority 0; policy accept;
        {rules}
    }}
}}
"""


def run(*command: str, stdin: str = "", pass_fds: Sequence[int] = ()) -> None:
    """A program of the network; LabError with what it complains of."""
    environment = {**os.environ, "PATH": path()}
    done = subprocess.run(
        command, input=stdin, env=environment, capture_output=True, text=True, check=False, pass_fds=pass_fds
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


class Switch:
    """Two switches, of which hosts use the first unless they are split. Names of hosts are names of ports."""

    def __init__(self) -> None:
        self._hardware: dict[str, str] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._isolated: set[str] = set()
        self._lost: dict[str, int] = {}  # percent of the multicast from and to a host
        self._lost_by_default = 0
        for setting in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            setting.write_text("0")  # frames only: whatever the machine's firewall has loaded
        commands = [f"link add {lan} type bridge mcast_snooping 0 forward_delay 0" for lan in LANS]
        commands += [f"link set {name} up" for name in ("lo", *LANS)]
        run("ip", "-batch", "-", stdin="\n".join(commands))

    def plug_in(self, host: str, hardware: str, network: int) -> None:
        """A wire from the first switch to `eth0` in the namespace behind the file descriptor `network`."""
        run(
            *f"ip link add {host} type veth peer name {PORT_OF_HOST}".split(),
            *f"address {hardware} netns /proc/self/fd/{network}".split(),
            pass_fds=[network],
        )
        run(*f"ip link set {host} master {LANS[0]} up".split())
        self._hardware[host] = hardware
        self._lost[host] = self._lost_by_default
        self._apply()

    def cut(self, a: str, b: str | None, *, one_way: bool = False) -> None:
        """Nothing gets from `a` to `b`, nor back unless `one_way`; without `b` nothing from and to `a` at all."""
        if b is None:
            self._isolated.add(a)
        else:
            self._cuts |= {(a, b)} if one_way else {(a, b), (b, a)}
        self._apply()

    def heal(self, a: str | None, b: str | None) -> None:
        """Undoes the cuts between the two, those of `a` with anybody, or all."""
        if a is None:
            self._cuts.clear()
            self._isolated.clear()
        elif b is None:
            self._cuts = {pair for pair in self._cuts if a not in pair}
            self._isolated.discard(a)
        else:
            self._cuts -= {(a, b), (b, a)}
        self._apply()

    def lose_multicast(self, host: str | None, percent: int) -> None:
        """Of the mDNS packets between a host and another, the larger percentage of the two gets lost. None: on all hosts,
        also on those to come."""
        if not 0 <= percent <= 100:
            raise LabError(f"{percent} is no percentage")
        if host is None:
            self._lost_by_default = percent
        for name in self._lost if host is None else [host]:
            self._lost[name] = percent
        self._apply()

    def split(self, away: Iterable[str]) -> None:
        """These hosts are on the second switch, the others on the first, and no wire leads across."""
        away = set(away)
        self._unlink()
        moves = [f"link set {host} master {LANS[host in away]}" for host in self._hardware]
        run("ip", "-batch", "-", stdin="\n".join(moves))

    def bridge(self) -> None:
        """A wire between the switches: from now on they are one LAN."""
        self._unlink()
        commands = ["link add wire1 type veth peer name wire2"]
        commands += [f"link set wire{number} master {lan} up" for number, lan in enumerate(LANS, 1)]
        run("ip", "-batch", "-", stdin="\n".join(commands))

    def shape(self, host: str, network: int, rate: str) -> None:
        """At most `rate` (as tc says it: `20mbit`) from the host and as much to it; `0` for no limit."""
        _limit(host, rate)
        with kernel.inside(network, kernel.NEWNET):
            _limit(PORT_OF_HOST, rate)

    def _unlink(self) -> None:
        if Path("/proc/sys/net/ipv4/conf/wire1").exists():
            run("ip", "link", "del", "wire1")

    def _apply(self) -> None:
        run("nft", "-f", "-", stdin=_RULES.format(rules="\n        ".join(self._rules())))

    def _rules(self) -> list[str]:
        pairs = [(a, b) for a in self._hardware for b in self._hardware if a != b]
        dead = [pair for pair in pairs if pair in self._cuts or self._isolated & set(pair)]
        lossy: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        for a, b in pairs:
            lossy[max(self._lost[a], self._lost[b])].append((a, b))
        rules = [f"{self._way(dead)} drop"] if dead else []
        for percent, ways in lossy.items():
            if percent:
                dice = f"numgen random mod 100 < {percent}" if percent < 100 else ""
                rules.append(f"{self._way(ways)} udp dport {MDNS} {dice} drop")
        return rules

    def _way(self, pairs: list[tuple[str, str]]) -> str:
        # Over the wire between the switches a frame leaves by the wire first: it is judged at the receiver's own port.
        return "ether saddr . oifname { " + ", ".join(f'{self._hardware[a]} . "{b}"' for a, b in pairs) + " }"


def _limit(port: str, rate: str) -> None:
    if rate == "0":
        # Something to delete, for tc complains of nothing.
        run(*f"tc qdisc replace dev {port} root pfifo_fast".split())
        run(*f"tc qdisc del dev {port} root".split())
    else:
        run(*f"tc qdisc replace dev {port} root tbf rate {rate} burst {_BURST} latency {_QUEUE}".split())
