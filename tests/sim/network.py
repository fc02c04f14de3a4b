"""The network in memory: streams of bytes in order, as TCP gives them, over paths that can be cut, slow or gone.

Bytes are never lost, doubled or changed on a stream that lives: a cut path holds them back until it is healed, which to the
two ends looks like silence. A stream ends when one end closes it or its process is killed, when it is reset, or when an
address is gone; the other end may never hear of that.
"""

import collections
from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.wire.link import StreamHandler

if TYPE_CHECKING:
    from .process import Process
    from .world import World

DIAL_TIMEOUT_S = 3.0
"""As the real wire's."""

KERNEL_BYTES = 64 * 1024
"""So much of what was written and has not arrived counts as taken by the kernel."""


class End:
    """One end of a connection; fills `Stream`. What it sends waits in `queue` until it arrives; None is the end of it."""

    __slots__ = (
        "closed",
        "handler",
        "in_flight",
        "last",
        "network",
        "number",
        "other",
        "process",
        "queue",
        "scheduled",
        "void",
    )

    other: "End"

    def __init__(self, network: "Network", number: int, process: "Process") -> None:
        self.network = network
        self.number = number
        self.process = process
        self.handler: StreamHandler | None = None
        self.queue: collections.deque[tuple[float, bytes | None]] = collections.deque()
        self.scheduled = False
        self.in_flight = 0
        self.last = 0.0
        """When what was written last arrives: nothing overtakes it."""
        self.closed = False
        self.void = False
        """The addresses are not those of these two any more: what is sent goes nowhere."""

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.in_flight += len(data)
            self.network.put(self, data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self.network.world.dice.random() < 0.5:
                self.clear()
            self.network.put(self, None)

    @property
    def unsent(self) -> int:
        return max(0, self.in_flight - KERNEL_BYTES)

    def clear(self) -> None:
        """What is on its way does not arrive."""
        self.queue.clear()
        self.in_flight = 0


class Wire:
    """What one process dials with; fills `link.Wire`."""

    def __init__(self, network: "Network", process: "Process") -> None:
        self._network = network
        self._process = process

    def dial(self, address: str, handler: StreamHandler) -> None:
        self._network.dial(self._process, address, handler)


class Network:
    """All paths between machines, and all connections on them."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self._cuts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._slow: dict[tuple[str, str], float] = {}
        self._ends: dict[int, End] = {}
        self._number = 0

    # The paths.

    def cut(self, *paths: tuple[str, str]) -> None:
        """Nothing gets from the first to the second of each; several cuts of one path need as many `heal`."""
        self._cuts.update(paths)

    def heal(self, *paths: tuple[str, str]) -> None:
        for path in paths:
            self._cuts[path] -= 1
            if self._cuts[path] <= 0:
                del self._cuts[path]
        self._resume()

    def slow(self, path: tuple[str, str], by_s: float) -> None:
        """Everything on that path takes so much longer from now on."""
        self._slow[path] = by_s

    def heal_all(self) -> None:
        self._cuts.clear()
        self._slow.clear()
        for end in self._ends.values():
            if end.void:  # else it would take its links 3 s to find out
                end.void = False
                self._break(end)
        self._resume()

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts

    def _resume(self) -> None:
        """Held bytes go on their way with the next retransmission."""
        for end in self._ends.values():
            if end.queue and not end.scheduled:
                self._schedule(end, self.world.timeline.now + 0.2 * self.world.dice.random())

    def _latency(self, source: str, target: str) -> float:
        profile, dice = self.world.profile, self.world.dice.random()
        latency = self.world.latency_s * (0.3 + dice)
        if dice > 1 - profile.late and not self.world.is_healed:
            latency += 0.05 + 0.25 * self.world.dice.random()
        if self._slow:
            latency += self._slow.get((source, target), 0.0)
        return latency

    # The connections.

    def dial(self, process: "Process", address: str, handler: StreamHandler) -> None:
        world = self.world
        start = world.time()
        world.timeline.at(start + world.latency_s, self._knock, process, address, handler, start + DIAL_TIMEOUT_S)

    def _knock(self, process: "Process", address: str, handler: StreamHandler, until: float) -> None:
        """A connection request arrives, or does not, and then comes again."""
        world = self.world
        target = world.at_address(address)
        here = process.machine.name
        if not process.alive:
            return
        if target is None or not target.on or self.is_cut(here, target.name) or self.is_cut(target.name, here):
            if world.timeline.now + 1.0 < until:
                world.timeline.after(1.0, self._knock, process, address, handler, until)
            else:
                world.timeline.at(until, process.run, handler.failed)
            return
        listening = target.process
        if listening is None or world.dice.random() < world.profile.refused:
            world.timeline.after(world.latency_s, process.run, handler.failed)
            return
        self._number += 2
        end, other = End(self, self._number, process), End(self, self._number + 1, listening)
        end.other, other.other = other, end
        self._ends[end.number], self._ends[other.number] = end, other
        end.handler = handler
        other.last = world.timeline.now + world.latency_s
        listening.run(self._accept, listening, other, process.machine.host)
        world.timeline.at(other.last, process.run, handler.opened, end)

    def _accept(self, process: "Process", end: End, host: str) -> None:
        end.handler = process.links.accepted(end, host)

    def put(self, end: End, data: bytes | None) -> None:
        """It is on its way from now on."""
        source, target = end.process.machine.name, end.other.process.machine.name
        end.last = max(end.last, self.world.time() + self._latency(source, target))
        end.queue.append((end.last, data))
        if not end.scheduled:
            self._schedule(end, end.last)

    def _schedule(self, end: End, when: float) -> None:
        end.scheduled = True
        self.world.timeline.at(when, self._arrive, end)

    def _arrive(self, end: End) -> None:
        end.scheduled = False
        queue = end.queue
        there = end.other.process
        if not queue or self.is_cut(end.process.machine.name, there.machine.name):
            return  # `_resume` comes back to it
        if end.void or not there.machine.on:
            end.clear()
            if end.closed:
                self._ends.pop(end.number, None)
            return
        data, ended = self._due(end)
        if data:
            end.in_flight -= len(data)
            if there.alive:
                there.run(self._received, end.other, data)
            elif not end.closed:
                self._refuse(end)
        if ended:
            if there.alive:
                there.run(self._lost, end.other)
            self._ends.pop(end.number, None)
        elif queue:
            self._schedule(end, queue[0][0])

    def _due(self, end: End) -> tuple[bytes, bool]:
        """What has come by now, in one piece or cut anywhere; and whether that was all of the stream."""
        world, queue = self.world, end.queue
        chunks: list[bytes] = []
        while queue and queue[0][0] <= world.timeline.now:
            _, chunk = queue.popleft()
            if chunk is None:
                queue.clear()
                return b"".join(chunks), True
            chunks.append(chunk)
        data = b"".join(chunks) if len(chunks) > 1 else chunks[0] if chunks else b""
        if len(data) > 1 and world.dice.random() < world.profile.chopped:
            place = world.dice.randrange(1, len(data))
            queue.appendleft((world.timeline.now + 0.0002, data[place:]))
            data = data[:place]
        return data, False

    def _refuse(self, end: End) -> None:
        """There is no such connection over there any more."""
        end.clear()
        end.other.closed = True
        self.put(end.other, None)

    def _received(self, end: End, data: bytes) -> None:
        if not end.closed and end.handler is not None:
            end.handler.received(data)

    def _lost(self, end: End) -> None:
        if end.handler is not None:
            end.handler.lost()
        end.closed = True
        self._ends.pop(end.number, None)

    # What happens to connections.

    def hang_up(self, process: "Process", *, silently: bool) -> None:
        """A process is gone. Its kernel says so to the others, unless that is gone as well."""
        for end in [end for end in self._ends.values() if end.process is process]:
            if silently:
                end.clear()
                end.closed = True
                self._ends.pop(end.number)
            else:
                end.close()

    def void(self, machine: str) -> None:
        """Its address is another one now: what goes over its connections arrives nowhere."""
        for end in self._ends.values():
            if machine in (end.process.machine.name, end.other.process.machine.name):
                end.void = True

    def reset_one(self) -> None:
        """Some connection is cut by something in between, for both ends."""
        ends = [end for end in self._ends.values() if not end.closed]
        if ends:
            end = self.world.dice.choice(ends)
            for each in (end, end.other):
                self._break(each)

    def _break(self, end: End) -> None:
        """What is on its way that way is lost, and the other end hears that it is over."""
        end.clear()
        end.closed = True
        self.put(end, None)

    def babble(self, process: "Process") -> None:
        """A stranger connects and says what is no handshake, or just keeps silent."""
        world = self.world
        self._number += 2
        mouth, ear = End(self, self._number, process), End(self, self._number + 1, process)
        mouth.other, ear.other = ear, mouth
        self._ends[mouth.number] = mouth
        self._ends[ear.number] = ear
        process.run(self._accept, process, ear, "10.9.9.9")
        if world.dice.random() < 0.8:
            mouth.write(world.dice.randbytes(world.dice.randrange(1, 300)))
        if world.dice.random() < 0.5:
            mouth.close()
