"""A network in memory for the links of several nodes: nothing happens in it until a test takes the next step."""

import random
import struct
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ariacluster_node.adapters.raft.wire.link import Stream, StreamHandler
from ariacluster_node.adapters.raft.wire.links import Links
from ariacluster_node.adapters.raft.wire.messages import LeadNow, Message, Piece

SECRET = b"the key of the cluster: 32 bytes"
PORT = 8001
A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


class End:
    """One end of a connection; fills `Stream`. What the other end wrote waits in `incoming` until a step delivers it."""

    def __init__(self, network: "Network", host: str, serial: int) -> None:
        self.network = network
        self.host = host
        self.serial = serial
        self.other: End
        self.handler: StreamHandler | None = None
        self.incoming: deque[bytes | None] = deque()  # None: the connection is lost
        self.written: list[bytes] = []
        self.is_closed = False
        self.is_stuck = False  # the other side does not read

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self.written.append(data)
            self.other.incoming.append(data)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.incoming.clear()
            self.incoming.append(None)
            self.other.incoming.append(None)

    @property
    def unsent(self) -> int:
        return sum(len(data or b"") for data in self.other.incoming) if self.is_stuck else 0

    @property
    def is_live(self) -> bool:
        return not (self.is_closed or self.other.is_closed)

    def deliver(self) -> None:
        assert self.handler is not None
        data = self.incoming.popleft()
        if data is None:
            self.is_closed = True
            self.incoming.clear()
            self.handler.lost()
        elif not self.is_closed:
            self.handler.received(data)


@dataclass
class _Dial:
    host: str
    address: str
    handler: StreamHandler


class Network:
    """Hosts with listeners. `cut` stalls what is between two hosts, as TCP does: nothing is lost, nothing arrives."""

    def __init__(self) -> None:
        self.listeners: dict[str, Callable[[Stream, str], StreamHandler]] = {}
        self.dials: list[_Dial] = []
        self.ends: list[End] = []
        self.dialed = 0
        self._cut: set[frozenset[str]] = set()

    def wire(self, host: str) -> "HostWire":
        return HostWire(self, host)

    def cut(self, one: str, other: str) -> None:
        self._cut.add(frozenset((one, other)))

    def heal(self) -> None:
        self._cut.clear()

    def connect(self, host: str, address: str, handler: StreamHandler) -> End | None:
        """Both ends, and whoever listens is told; None if nobody does."""
        accept = self.listeners.get(address)
        if accept is None:
            return None
        near, far = End(self, host, len(self.ends)), End(self, address.rpartition(":")[0], len(self.ends) + 1)
        near.other, far.other = far, near
        near.handler = handler
        self.ends += [near, far]
        far.handler = accept(far, host)
        return near

    def steps(self) -> list[Callable[[], None]]:
        """What can happen next, always in the same order."""
        found: list[Callable[[], None]] = [
            lambda dial=dial: self._open(dial)  # type: ignore[misc]
            for dial in self.dials
            if not self._is_cut(dial.host, dial.address.rpartition(":")[0])
        ]
        found += [
            end.deliver
            for end in self.ends
            if end.incoming and not end.other.is_stuck and (end.is_closed or not self._is_cut(end.host, end.other.host))
        ]
        return found

    def run(self) -> None:
        """Until nothing more happens by itself."""
        for _ in range(10_000):
            steps = self.steps()
            if not steps:
                return
            steps[0]()
        raise AssertionError("the network does not come to rest")

    def _is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cut

    def _open(self, dial: _Dial) -> None:
        self.dials.remove(dial)
        end = self.connect(dial.host, dial.address, dial.handler)
        if end is None:
            dial.handler.failed()
        else:
            dial.handler.opened(end)


class HostWire:
    """Fills `Wire`."""

    def __init__(self, network: Network, host: str) -> None:
        self._network = network
        self._host = host

    def dial(self, address: str, handler: StreamHandler) -> None:
        self._network.dialed += 1
        self._network.dials.append(_Dial(self._host, address, handler))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Node:
    """A node with nothing but links. `events` has ("+", peer), ("-", peer) and (peer, messages), as they were called back."""

    def __init__(self, lan: "Lan", name: str, host: str, *, secret: bytes, port: int, seed: int) -> None:
        self.lan = lan
        self.name = name
        self.host = host
        self.events: list[tuple[str, object]] = []
        self.react: Callable[[str, object], None] = lambda what, about: None
        lan.network.listeners[f"{host}:{PORT}"] = lambda stream, host: self.links.accepted(stream, host)
        self.links = Links(
            name,
            secret=secret,
            port=port,
            wire=lan.network.wire(host),
            clock=lan.clock,
            entropy=random.Random(seed).randbytes,
            on_connected=lambda peer: self._note("+", peer),
            on_disconnected=lambda peer: self._note("-", peer),
            on_messages=self._note,
        )

    @property
    def address(self) -> str:
        return f"{self.host}:{PORT}"

    def _note(self, what: str, about: object) -> None:
        self.events.append((what, about))
        self.react(what, about)

    def got(self, peer: str) -> list[Message]:
        return [message for what, about in self.events if what == peer and isinstance(about, list) for message in about]

    def check(self) -> None:
        """`on_connected` and `on_disconnected` alternate, messages come between them, `connected` agrees."""
        up: set[str] = set()
        for what, about in self.events:
            if what == "+":
                assert about not in up
                up.add(str(about))
            elif what == "-":
                assert about in up
                up.remove(str(about))
            else:
                assert what in up
        assert self.links.connected == up

    def ends(self) -> list[End]:
        return [end for end in self.lan.network.ends if end.host == self.host and not end.is_closed]

    def die(self, *, silently: bool = False) -> None:
        """Its connections are reset, or (the power went) nobody hears of it."""
        self.lan.network.listeners.pop(self.address, None)
        for end in self.ends():
            if silently:
                end.is_closed = True
                end.incoming.clear()
            else:
                end.close()
            end.handler = Deaf()
        self.lan.network.dials = [dial for dial in self.lan.network.dials if dial.host != self.host]
        self.lan.nodes.remove(self)


class Deaf:
    """Fills `StreamHandler`, keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.is_lost = False

    def opened(self, stream: Stream) -> None: ...

    def failed(self) -> None: ...

    def received(self, data: bytes) -> None:
        self.heard += data

    def lost(self) -> None:
        self.is_lost = True


@dataclass
class Lan:
    """Several nodes, their network and their one clock."""

    network: Network = field(default_factory=Network)
    clock: Clock = field(default_factory=Clock)
    nodes: list[Node] = field(default_factory=list)
    born: int = 0

    def node(self, name: str, host: str, *, secret: bytes = SECRET, port: int = PORT) -> Node:
        self.born += 1
        node = Node(self, name, host, secret=secret, port=port, seed=self.born)
        self.nodes.append(node)
        return node

    def introduce(self) -> None:
        """Everybody knows everybody, and wants a link."""
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.links.learn(other.name, other.address)
            node.links.want({other.name for other in self.nodes})

    def tick(self) -> None:
        for node in list(self.nodes):
            node.links.tick()

    def settle(self) -> None:
        """All that happens at this moment."""
        self.tick()
        self.network.run()
        self.tick()

    def pass_time(self, seconds: float, step: float = 0.05) -> None:
        for _ in self.moments(seconds, step):
            pass

    def moments(self, seconds: float, step: float = 0.05) -> Iterator[float]:
        """Time passes in steps; everything that happens at each moment has happened when it is yielded."""
        for _ in range(round(seconds / step)):
            self.clock.now += step
            self.settle()
            yield self.clock.now


def two(lan: Lan) -> tuple[Node, Node]:
    """Linked."""
    a, b = lan.node("a", A), lan.node("b", B)
    lan.introduce()
    lan.settle()
    assert a.links.connected == {"b"} and b.links.connected == {"a"}
    return a, b


def piece(size: int, offset: int = 0) -> Piece:
    return Piece(term=1, index=1, index_term=1, size=size, offset=offset, data=bytes(size), sent=0.0)


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def live(lan: Lan, one: Node, other: Node) -> list[End]:
    """The dialing ends of whole connections between two."""
    return [
        end for end in lan.network.ends[::2] if end.is_live and {end.host, end.other.host} == {one.host, other.host}
    ]


def check_one_link(lan: Lan, a: Node, b: Node) -> None:
    a.check()
    b.check()
    assert a.links.connected == {"b"} and b.links.connected == {"a"}
    (end,) = live(lan, a, b)
    a.links.send("b", LeadNow(7))
    b.links.send("a", LeadNow(8))
    a.links.flush()
    b.links.flush()
    lan.network.run()
    assert b.got("a")[-1:] == [LeadNow(7)] and a.got("b")[-1:] == [LeadNow(8)]
    assert live(lan, a, b) == [end]
