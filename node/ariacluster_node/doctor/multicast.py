"""Listening to mDNS, and asking, without announcing anything: who is heard, and who hears us.

Whoever is asked from another port than 5353 answers the asker alone, by unicast (RFC 6762 section 6.7): that it heard us.
What comes to the group says that we hear it. Each interface also has to hear its own question.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from zeroconf import BadTypeInNameException, ServiceInfo
from zeroconf._dns import DNSAddress, DNSService, DNSText
from zeroconf._protocol.incoming import DNSIncoming

from ariacluster.domain.formation import Heard
from ariacluster_node.adapters.mdns import interfaces
from ariacluster_node.adapters.mdns.announcement import SERVICE, from_txt
from ariacluster_node.adapters.mdns.interfaces import Interface
from ariacluster_node.adapters.mdns.questions import everybody

PORT = 5353
GROUP = {4: "224.0.0.251", 6: "ff02::fb"}

ROUNDS = 2
ROUND_S = 1.5
"""Packets are lost, so everything is asked twice; an answer that was just given is repeated a second later at the soonest
(RFC 6762 section 6)."""

_HOPS = 255
_MAX_PACKET = 9000
_MAX_SIGNS = 2000
"""Packets of a LAN in three seconds are far fewer; those of a flood are not."""


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """An interface with one of its addresses. `echo`: what was sent on it came back. `wrong`: why it could not speak."""

    name: str
    address: str
    echo: bool = False
    wrong: str = ""


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A packet in which a node spoke of itself, in round `round` (from 0). `to_us`: it answers a question of ours that it
    heard; else it came to the group. `addresses`: all that it announced."""

    heard: Heard
    addresses: frozenset[str]
    round: int
    to_us: bool


class Hearing(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard in `ROUNDS * ROUND_S` seconds. `here`: the addresses that count, for `wrong` see `Voice`."""

    voices: list[Voice] = []
    signs: list[Sign] = []
    here: list[Interface] = []
    wrong: str = ""


class _Line(NamedTuple):
    """A voice with its sockets: `asker` has a port of its own, `member` is in the group."""

    interface: Interface
    asker: socket.socket
    member: socket.socket


async def listen(bind: str) -> Hearing:
    """Takes `ROUNDS * ROUND_S` seconds. `bind` is the address that the API listens on; never raises `OSError`."""
    try:
        here = interfaces.usable(bind, await asyncio.to_thread(interfaces.present))
    except (OSError, ValueError) as error:
        return Hearing(wrong=str(error))
    return await _Ear(here).listen()


class _Ear:
    def __init__(self, here: list[Interface]) -> None:
        self._here = here
        self._lines: list[_Line] = []
        self._wrong: dict[Interface, str] = {}
        self._sent: dict[bytes, Interface] = {}
        self._echoes: set[Interface] = set()
        self._signs: list[Sign] = []
        self._round = 0

    async def listen(self) -> Hearing:
        loop = asyncio.get_running_loop()
        speaking = {
            (i.number, i.ip.version) if i.ip.version == 6 else (i.number, str(i.ip)): i for i in self._here[::-1]
        }
        with contextlib.ExitStack() as stack:
            for interface in sorted(speaking.values(), key=self._here.index):
                try:
                    line = _open(interface, stack)
                except OSError as error:
                    self._wrong[interface] = error.strerror or str(error)
                    continue
                self._lines.append(line)
                for sock, to_us in ((line.asker, True), (line.member, False)):
                    loop.add_reader(sock, self._reading(sock, interface, to_us))
                    stack.callback(loop.remove_reader, sock)
            for self._round in range(ROUNDS):
                for line in self._lines:
                    self._say(line, line.asker)
                    self._say(line, line.member)
                await asyncio.sleep(ROUND_S)
        voices = [
            Voice(name=i.name, address=str(i.ip), echo=i in self._echoes, wrong=self._wrong.get(i, ""))
            for i in sorted(speaking.values(), key=self._here.index)
        ]
        return Hearing(voices=voices, signs=self._signs, here=self._here)

    def _say(self, line: _Line, sock: socket.socket) -> None:
        # Each with a number of its own: our echo is known by it, and nobody takes it for a repetition.
        question = random.randbytes(2) + everybody().packets()[0][2:]
        self._sent[question] = line.interface
        group = GROUP[line.interface.ip.version]
        try:
            sock.sendto(
                question, (group, PORT) if sock.family == socket.AF_INET else (group, PORT, 0, line.interface.number)
            )
        except OSError as error:
            self._wrong[line.interface] = error.strerror or str(error)

    def _reading(self, sock: socket.socket, interface: Interface, to_us: bool) -> Callable[[], None]:
        def read() -> None:
            with contextlib.suppress(OSError):
                self._take(*sock.recvfrom(_MAX_PACKET), interface, to_us)

        return read

    def _take(self, data: bytes, source: tuple[str, ...], interface: Interface, to_us: bool) -> None:
        if (spoken := self._sent.get(data)) is not None:
            self._echoes.add(spoken)
        elif len(self._signs) < _MAX_SIGNS:
            scope = interface.number if interface.ip.version == 6 else None
            self._signs += signs(data, str(source[0]), scope, self._here, self._round, to_us)


def signs(data: bytes, source: str, scope: int | None, here: list[Interface], round: int, to_us: bool) -> list[Sign]:
    """The nodes that speak in a packet. `source`: who sent it; `scope`: the number of the link, for IPv6."""
    packet = DNSIncoming(data, (source, PORT), scope)
    if not packet.valid or not packet.is_response():
        return []
    records = [record for record in packet.answers() if record.ttl > 0]  # 0: a goodbye (RFC 6762 section 10.1)
    texts = {record.key: record.text for record in records if isinstance(record, DNSText)}
    found = []
    for record in records:
        if not isinstance(record, DNSService) or not record.key.endswith(SERVICE) or record.key not in texts:
            continue
        addresses = frozenset(_address(a) for a in records if isinstance(a, DNSAddress) and a.key == record.server_key)
        scoped = [f"{a}%{scope}" if scope and a.startswith("fe80:") else a for a in addresses]
        try:
            txt = ServiceInfo(SERVICE, record.name, properties=texts[record.key]).properties
        except BadTypeInNameException:
            continue
        door = interfaces.reachable(
            scoped, here
        )  # none: a node that keeps to its own machine, which another would not see
        heard = from_txt(record.name, dict(txt), record.port, door) if door else None
        if heard is not None:
            found.append(Sign(heard=heard, addresses=addresses, round=round, to_us=to_us))
    return found


def _address(record: DNSAddress) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(record.address) == 16 else socket.AF_INET, record.address)


def _open(interface: Interface, stack: contextlib.ExitStack) -> _Line:
    if interface.ip.version == 4:
        at = socket.inet_aton(str(interface.ip))
        join, membership = socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP[4]) + at
        level, options = socket.IPPROTO_IP, {socket.IP_MULTICAST_IF: at, socket.IP_MULTICAST_TTL: bytes([_HOPS])}
        options[socket.IP_MULTICAST_LOOP] = b"\x01"
        family, own = socket.AF_INET, (str(interface.ip), 0)
        group: tuple[str, int] | tuple[str, int, int, int] = (GROUP[4], PORT)
    else:
        link = struct.pack("@I", interface.number)
        join, membership = socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, GROUP[6]) + link
        level, options = socket.IPPROTO_IPV6, {socket.IPV6_MULTICAST_IF: link}
        options |= {
            socket.IPV6_MULTICAST_HOPS: struct.pack("@i", _HOPS),
            socket.IPV6_MULTICAST_LOOP: struct.pack("@i", 1),
        }
        family, own, group = socket.AF_INET6, ("::", 0), (GROUP[6], PORT, 0, interface.number)
    asker, member = (stack.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2))
    for option in ("SO_REUSEADDR", "SO_REUSEPORT"):  # a node, or avahi, has the port too
        if hasattr(socket, option):
            member.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    for sock in (asker, member):
        sock.setblocking(False)
        for number, value in options.items():
            sock.setsockopt(level, number, value)
    asker.bind(own)
    member.bind(group)  # to the group itself: what is sent to this machine alone stays with whom it is meant for
    member.setsockopt(level, join, membership)
    return _Line(interface, asker, member)
