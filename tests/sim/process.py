"""One life of a node: the real core, log, snapshots and links, put together as the raft thread does it, without the thread.

`run` is the only way in. While the process is paused, or busy with a slow sync, what comes waits, and is handled all at
once afterwards.
"""

import collections
import traceback
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pysyncobj.syncobj

from ariacluster.domain.errors import AriaClusterError
from ariacluster_node.adapters.raft.core import Core
from ariacluster_node.adapters.raft.host import Outcome, Status
from ariacluster_node.adapters.raft.store.disk import DiskFailed
from ariacluster_node.adapters.raft.store.snapshots import SnapshotMeta, Snapshots
from ariacluster_node.adapters.raft.store.wal import Wal
from ariacluster_node.adapters.raft.store.write import Write
from ariacluster_node.adapters.raft.wire.links import Links
from ariacluster_node.adapters.raft.wire.messages import Appended, Forward, Message, Vote
from tests.support.power import Killed

from .checks import Violation
from .ledger import Ledger
from .network import Wire
from .timeline import Call

if TYPE_CHECKING:
    from .machine import Machine
    from .tokens import Token

SECRET = bytes(range(32))
LINKS_TICK_S = 0.1
BUSY_S = 0.1
"""Who waits for its disk for longer is late with everything."""

HANDED_S = 0.005
"""Until the thread that writes has begun, at the most."""

SOON_S = 0.00005
"""After an input, until the turn that handles it: what arrives meanwhile is handled by the same one."""


class _Watched:
    """The links as the core has them: it may say nothing that is not so on disk.

    But to a leader of a former term: what was so once, before a later leader cut it off, is late news and no lie.
    """

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._links = process.links
        self._vouched = 0

    def send(self, node: str, message: Message) -> bool:
        if (
            isinstance(message, Appended)
            and message.ok
            and message.term == self._process.core._SyncObj__raftCurrentTerm
        ):
            self._vouched = max(self._vouched, message.index)
        return self._links.send(node, message)

    def flush(self) -> None:
        if self._vouched:
            self._process.world.checks.vouched(self._process, self._vouched)
            self._vouched = 0
        self._links.flush()

    def congested(self, node: str) -> bool:
        return self._links.congested(node)

    def want(self, nodes: Collection[str] | None) -> None:
        self._links.want(nodes)


class Process:
    """Fills `host.Host`."""

    core: Core
    links: Links
    wal: Wal
    snapshots: Snapshots

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.world = machine.world
        self.alive = True
        self.is_open = False
        """It has read its disk, and takes part."""
        self.ledger = Ledger()
        self.status = Status()
        self.busy_until = 0.0
        self._disk_failed = False
        """A write has failed, and it was not told yet."""
        self.tokens: dict[Token, None] = {}
        """What was asked of it and is not settled."""
        self._backlog: collections.deque[tuple[Call, tuple[Any, ...]]] = collections.deque()
        self._armed = False
        self._links_due = 0.0
        self._pause_s = self.world.profile.timing.tick_s

    # Running.

    def run(self, call: Call, *arguments: Any) -> None:
        """Now if it can; else as soon as it can. Never, if it is dead by then."""
        if not self.alive:
            return
        if self._backlog or self.machine.paused or self.world.timeline.now < self.busy_until:
            self._backlog.append((call, arguments))
        else:
            self._enter(call, arguments)

    def do(self, call: Call, *arguments: Any) -> None:
        """As `run`, and a turn follows: what another thread asks of it."""
        self.run(self._and_arm, call, *arguments)

    def drain(self) -> None:
        """Handle what has come meanwhile."""
        backlog = self._backlog
        while backlog and self.alive and not self.machine.paused and self.world.timeline.now >= self.busy_until:
            self._enter(*backlog.popleft())

    def _enter(self, call: Call, arguments: tuple[Any, ...]) -> None:
        world = self.world
        pysyncobj.syncobj.monotonicTime = self.machine.clock
        try:
            call(*arguments)
            if self.is_open:
                world.checks.after(self)
        except Killed:
            self.machine.died()
        except Violation:
            raise
        except DiskFailed as error:
            if not self.machine.disk_fails and not self._disk_failed:
                world.checks.broken(f"{self.machine.name}: {error}")
            world.note("disk failed", self.machine.name)
            self.machine.kill()
            self.machine.died()
        except Exception as error:
            if isinstance(error, OSError) and self.machine.disk_fails:
                self.machine.kill()
                self.machine.died()
            else:
                world.checks.broken(f"{self.machine.name} raised {error!r}\n{traceback.format_exc()}")
        if world.spent:
            self.busy_until = world.timeline.now + world.spent
            if world.spent > BUSY_S:
                self.machine.disturbed_at = self.busy_until
            world.spent = 0.0
            world.timeline.at(self.busy_until, self.drain)

    def _and_arm(self, call: Call, *arguments: Any) -> None:
        call(*arguments)
        self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self.world.timeline.at(self.world.time() + SOON_S, self.run, self._turn)

    def _turn(self) -> None:
        self._armed = False
        now = self.machine.clock()
        if now >= self._links_due:
            self._links_due = now + LINKS_TICK_S
            self.links.tick()
        if self.core.tick():
            self._arm()
        self._pause_s = self.core.pause()

    def _timer(self) -> None:
        """As the raft thread wakes by itself."""
        if self.alive:
            if not self._armed and not self._backlog:
                self._armed = True
                self.run(self._turn)
            self.world.timeline.after(self._pause_s * (1 + 0.2 * self.world.dice.random()), self._timer)

    # Its life.

    def start(self) -> None:
        self.run(self._open)
        self._timer()

    def _open(self) -> None:
        machine, world = self.machine, self.world
        self.snapshots = Snapshots(machine.disk)
        latest = self.snapshots.latest
        self.wal = Wal(machine.disk, base=(latest.index, latest.term) if latest else None, entropy=world.dice.randbytes)
        self.links = Links(
            machine.name,
            secret=SECRET,
            port=machine.port,
            wire=Wire(world.network, self),
            clock=machine.clock,
            entropy=world.dice.randbytes,
            on_connected=lambda peer: self._on_connected(peer),
            on_disconnected=lambda peer: self._on_disconnected(peer),
            on_messages=self._on_messages,
        )
        for node, address in machine.known.items():
            self.links.learn(node, address)
        self.core = Core(
            machine.name,
            found=machine.found,
            wal=self.wal,
            snapshots=self.snapshots,
            links=_Watched(self),
            host=self,
            dice=world.dice.random,
            timing=world.profile.timing,
            compact_entries=world.compact_entries,
            keep_entries=world.keep_entries,
        )
        self.is_open = True
        world.checks.opened(self)
        self._arm()

    def stop(self) -> None:
        """In order: what is open stays unsettled."""
        self.links.close()
        self.core.close()

    def ended(self) -> None:
        """Nothing runs any more, nobody is answered."""
        self.alive = False
        self._backlog.clear()
        for token in list(self.tokens):
            token.abandoned()

    # Between links and core.

    def _on_connected(self, peer: str) -> None:
        self.world.note("linked", self.machine.name, peer)
        self.core.connected(peer)
        self._arm()

    def _on_disconnected(self, peer: str) -> None:
        self.world.note("unlinked", self.machine.name, peer)
        self.core.disconnected(peer)
        self._arm()

    def _on_messages(self, peer: str, messages: list[Message]) -> None:
        if self.world.verbose > 1:
            for message in messages:
                self.world.tell("heard", self.machine.name, peer, message)
        if self.world.jumbling:
            messages = self._jumbled(peer, messages)
        self.core.receive(peer, messages)
        self._arm()

    def _jumbled(self, peer: str, messages: list[Message]) -> list[Message]:
        """Some are lost, some come late, or twice: the protocol needs no order of its messages, nor that they come.

        What is late may come to the next process on that machine. A `Forward` comes at most once: what is forwarded is not
        the core's to deduplicate.
        """
        dice, now = self.world.dice, []
        for message in messages:
            fate, rate = dice.random(), self.world.jumbling
            if self.machine.hoards and isinstance(message, Appended):
                self.machine.hoard.append((peer, message))
            if isinstance(message, Vote) and message.granted and self.world.profile.late_s > 1:
                self.machine.hoard.append((peer, message))
            if isinstance(message, Vote | Appended):
                rate = min(2 * rate, 1)
            if fate > rate:
                now.append(message)
            elif fate < rate / 3:
                continue
            else:
                if fate < 2 * rate / 3 and not isinstance(message, Forward):
                    now.append(message)
                delay_s = self.world.profile.late_s * dice.random() ** 3
                self.world.timeline.at(self.world.time() + delay_s, self.machine.late, peer, message)
        return now

    # Asked from outside.

    def submit(self, payload: bytes, token: "Token") -> None:
        self.tokens[token] = None
        self.do(lambda: self.core.submit(payload, token))

    def read(self, token: "Token") -> None:
        self.tokens[token] = None
        self.do(lambda: self.core.read(token))

    def change(self, voters: Collection[str], token: "Token") -> None:
        self.tokens[token] = None
        self.do(lambda: self.core.change(tuple(voters), token))

    def transfer(self) -> None:
        self.do(lambda: self.core.transfer())

    def learn(self, node: str, address: str) -> None:
        self.do(lambda: self.links.learn(node, address))

    # What the core tells.

    def apply(self, entries: Sequence[tuple[int, bytes]]) -> None:
        for index, payload in entries:
            had_effect = self.ledger.apply(index, payload)
            self.world.checks.applied(self, index, payload, had_effect)

    def settle(self, token: "Token", outcome: Outcome, said: AriaClusterError | None) -> None:
        if token not in self.tokens:
            self.world.checks.broken(f"{self.machine.name} settled {token} twice: {outcome}")
        else:
            del self.tokens[token]
            token.settled(outcome, said)

    def restore(self, meta: SnapshotMeta) -> None:
        if self.is_open:
            self.world.count("snapshots sent")
        self.ledger = Ledger.thawed(self.snapshots.chunks())
        self.world.checks.restored(self, meta.index)

    def write(self, write: Write) -> None:
        """The writer's thread begins at once, or almost, and takes as long as the disk does."""
        dice = self.world.dice
        self.world.timeline.at(self.world.time() + HANDED_S * dice.random() ** 6, self._write, write)

    def _write(self, write: Write) -> None:
        world = self.world
        if not self.alive:
            return
        if self.machine.paused:
            world.timeline.after(0.05, self._write, write)
            return
        spent, world.spent = world.spent, 0.0
        try:
            write.run()
        except Killed:
            self.machine.died()
        else:
            self._disk_failed = write.error is not None
            world.timeline.at(world.time(), self.do, lambda: None)
        world.spent = spent

    def admits(self, payload: bytes) -> bool:
        return True

    def freeze(self, meta: SnapshotMeta) -> None:
        self._write_on(meta, self.snapshots.write(meta, self.ledger.frozen()))

    def changed(self, status: Status) -> None:
        if status.leads and not self.status.leads:
            self.machine.release(Appended)
        elif status.term > self.status.term and status.leader is None:
            self.machine.release(Vote)
        self.status = status

    def _write_on(self, meta: SnapshotMeta, writing: Any) -> None:
        """The thread that writes a snapshot: a step each while."""
        world = self.world
        if not self.alive:
            return
        if self.machine.paused:
            world.timeline.after(0.05, self._write_on, meta, writing)
            return
        spent, world.spent = world.spent, 0.0
        try:
            next(writing)
        except StopIteration:
            world.snapshots_written += 1
            world.timeline.at(world.time(), self.do, lambda: self.core.snapshot_written(meta))
        except Killed:
            self.machine.died()
        except OSError:
            self.do(lambda: self.core.snapshot_failed(meta))
        else:
            world.timeline.at(world.time() + 0.03 * world.dice.random() ** 2, partial(self._write_on, meta, writing))
        world.spent = spent
