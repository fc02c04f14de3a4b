"""A machine: its disk, its clock, its address; and the process on it, if one runs."""

from typing import TYPE_CHECKING

from ariacluster_node.adapters.raft.wire.messages import Message

from .disk import TimedDisk
from .process import Process

if TYPE_CHECKING:
    from .world import World


class Machine:
    """`name` is the node's id; a machine whose disk is replaced is another one to everybody."""

    def __init__(self, world: "World", name: str, number: int, found: tuple[str, ...]) -> None:
        self.world = world
        self.name = name
        self.found = found
        self.port = 7000 + number
        self.host = f"10.0.{number}.1"
        self.disk = TimedDisk(world.dice, world.spend)
        self.known: dict[str, str] = {}
        """Addresses of others, kept in a file."""
        self.process: Process | None = None
        self.on = True
        self.paused = False
        self.gone = False
        """It never comes back: its disk is lost."""
        self.disk_fails = False
        self.clean_kill = True
        """The last process did not end within an operation of the disk."""
        self.loses_power = False
        """The next kill within an operation of the disk is a power cut."""
        self.hoards = False
        """Answers that reach it now come a second time: when it campaigns or leads again, if it does."""
        self.hoard: list[tuple[str, Message]] = []
        self.lives = 0
        self.configurations: list[tuple[str, ...]] = [found]
        """Who voted, as its log told when it was last seen."""
        self.disturbed_at = 0.0
        """When it was last paused or its disk slow."""
        self._moves = 0
        self._set_clock()

    def clock(self) -> float:
        """Monotonic seconds, as this machine counts them: they begin anywhere when it boots, and are not exact."""
        return self._offset + self._rate * self.world.time()

    def in_world_time(self, clock: float) -> float:
        """When this machine's clock shows that."""
        return (clock - self._offset) / self._rate

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def _set_clock(self) -> None:
        dice, world = self.world.dice, self.world
        self._rate = 1 + world.profile.drift * (2 * dice.random() - 1)
        at_boot = dice.choice((0.05, 1000 * dice.random(), 1e6 * dice.random()))
        self._offset = at_boot - self._rate * world.timeline.now

    # Its lives.

    def start(self) -> None:
        """Boot if it is off, and start the node."""
        if self.process is not None or self.gone:
            return
        if not self.on:
            self.on = True
            self.disk.cut_power()
            self._set_clock()
            self._move_sometimes(0.2)
        else:
            self.disk.restart()
            self._move_sometimes(0.05)
        self.lives += 1
        self.mend_disk()
        self.loses_power = self.paused = False
        self.process = Process(self)
        self.world.note("start", self.name, self.lives)
        self.world.announce(self)
        self.process.start()

    def kill(self) -> None:
        """-9, between two operations of its disk."""
        self.disk.kill()

    def died(self) -> None:
        """The process is gone, killed at its disk: by itself or as `loses_power` says."""
        self.clean_kill = False
        self.world.count("kills in a write" if not self.loses_power else "power cuts in a write")
        self._end(power=self.loses_power)
        self.world.restart_later(self)

    def kill_now(self) -> None:
        if self.process is not None:
            self.world.count("kills")
            self.clean_kill = True
            self.disk.kill()
            self._end(power=False)

    def cut_power(self) -> None:
        if self.on:
            self.world.count("power cuts")
            self.clean_kill = True
            self.disk.kill()
            self._end(power=True)

    def stop(self) -> None:
        """SIGTERM."""
        if self.process is not None and self.process.is_open and not self.paused:
            process = self.process
            process.run(process.stop)
            if self.process is process:  # and not killed while it wrote
                self.clean_kill = True
                self._end(power=False)

    def _end(self, *, power: bool) -> None:
        self.world.note("power cut" if power else "killed", self.name)
        if power:
            self.on = False
        process, self.process = self.process, None
        self.paused = False
        if process is not None:
            if process.is_open:
                self.known |= process.links.addresses
                self.configurations = [known.voters for known in process.core._configurations._known]
            process.ended()
            self.world.checks.ended(process)
            self.world.network.hang_up(process, silently=power)

    def break_disk(self) -> None:
        """It is full, or at its end: what is written is lost, and an error is told."""
        self.disk_fails = True
        self.disk.fail_with(OSError(28, "No space left on device"))

    def mend_disk(self) -> None:
        self.disk_fails = False
        self.disk.fail_with(None)

    def replace_disk(self) -> None:
        """This node is no more."""
        self.cut_power()
        self.gone = True

    # What else happens to it.

    def pause(self) -> None:
        self.paused = self.process is not None

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.disturbed_at = self.world.timeline.now
            if self.process is not None:
                self.process.drain()

    def late(self, peer: str, message: Message) -> None:
        """A message that was on its way for long, maybe since a former life."""
        process = self.process
        if process is not None and process.is_open:
            process.do(lambda: process.core.receive(peer, [message]))

    def release(self, kind: type) -> None:
        """What was hoarded comes now: votes in the first moments of a candidacy, answers in those of a leadership."""
        due = [(peer, message) for peer, message in self.hoard if isinstance(message, kind)]
        self.hoard = [(peer, message) for peer, message in self.hoard if not isinstance(message, kind)]
        for peer, message in due:
            self.world.timeline.after(0.02 * self.world.dice.random() ** 2, self.late, peer, message)

    def _move_sometimes(self, probability: float) -> None:
        if self.world.dice.random() < probability * self.world.profile.moves:
            self.move()

    def move(self) -> None:
        """Another address from now on; nobody has it but those who hear of it."""
        self._moves += 1
        network = self.host.rsplit(".", 1)[0]
        self.host = f"{network}.{self._moves + 1}"
        self.world.network.void(self.name)
        self.world.announce(self)
        self.world.note("moved", self.name, self.address)
