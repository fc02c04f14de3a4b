"""Five processes of raft, killed and paused at random, one or all of them, while commands flow and voters come and go.

`RAFT_ROUNDS=200 scripts/test tests/integration/test_raft_kills.py` plays 200 rounds, and not the few of every day.
`RAFT_SEED=…` throws the dice of an earlier run again; the processes' own haste is not repeated by that.
"""

import asyncio
import itertools
import os
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from operator import itemgetter
from pathlib import Path
from signal import SIGKILL, SIGTERM

import msgspec
import pytest
import structlog

from tests.support import processes
from tests.support.ports import free_ports
from tests.support.raft_node import Line, Refused, Row, Setup, Unheard, chained

ROUNDS = int(os.environ.get("RAFT_ROUNDS", "40"))
SEED = int(os.environ.get("RAFT_SEED") or random.SystemRandom().randrange(2**32))

NODES = 5
WORKERS = 16
HEAL_EVERY = 5
"""After so many rounds all nodes are well for once, and must get on with it."""

WITHIN_S = 40.0
"""For what takes a second or two on a quiet machine."""

log = structlog.get_logger()

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60 + 10 * ROUNDS)]


class Member:
    """One of the five places: its ports stay; a node that is replaced leaves them to its successor."""

    def __init__(self, number: int, folder: Path) -> None:
        self.ports = free_ports(2)
        self._number = number
        self._base = folder
        self._generation = 0
        self.process: processes.Process | None = None
        self.paused = False

    @property
    def me(self) -> str:
        return f"n{self._number}" + "i" * self._generation

    @property
    def folder(self) -> Path:
        return self._base / self.me

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports}"

    @property
    def control(self) -> int:
        return self.ports + 1

    def replace(self) -> None:
        """Its disk is lost; what comes next is another node."""
        self._generation += 1


class Five:
    """The nodes, and what is done to them."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.members = [Member(number, folder) for number in range(1, NODES + 1)]
        self.folders: list[Path] = []

    @property
    def up(self) -> list[Member]:
        return [member for member in self.members if member.process is not None]

    async def start(self, member: Member, *, found: bool = False) -> None:
        if member.folder not in self.folders:
            self.folders.append(member.folder)
        setup = Setup(
            me=member.me,
            port=member.ports,
            control=member.control,
            folder=str(member.folder),
            addresses={other.me: other.address for other in self.members if other is not member},
            found=found,
            compact_entries=300,
            keep_entries=100,
        )
        process = await processes.start(setup.command(), member.folder, name=member.me)
        self._stack.push_async_callback(process.stop, grace=0.0)
        member.process, member.paused = process, False

    async def end(self, member: Member, *, kill: bool) -> None:
        """`kill` -9, or ask it to stop. It must not have ended by itself before."""
        process, member.process, member.paused = member.process, None, False
        assert process is not None
        await self.check(process)
        if kill:
            process.kill()
        else:
            process.signal(SIGTERM)
            process.resume()
        code = await process.wait(timeout=WITHIN_S)
        expected = (-SIGKILL,) if kill else (0, -SIGTERM)  # the latter if it had not begun yet
        assert code in expected, f"{process.name} left with {code}\n{(await process.text())[-3000:]}"

    def pause(self, member: Member) -> None:
        assert member.process is not None
        member.process.pause()
        member.paused = True

    def resume(self, member: Member) -> None:
        assert member.process is not None
        member.process.resume()
        member.paused = False

    async def check(self, process: processes.Process) -> None:
        assert process.running, f"{process.name} ended by itself\n{(await process.text())[-3000:]}"

    async def heal(self) -> None:
        for member in self.members:
            if member.process is None:
                await self.start(member)
            elif member.paused:
                self.resume(member)
        for member in self.members:
            assert member.process is not None
            await self.check(member.process)


class Lines:
    """One asker's lines to all nodes."""

    def __init__(self, five: Five) -> None:
        self._lines = {member.control: Line(member.control) for member in five.members}

    def to(self, member: Member) -> Line:
        return self._lines[member.control]

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


class Truth:
    """What nobody may fall behind once it was told to somebody: the highest number of each worker."""

    def __init__(self) -> None:
        self.least: dict[str, int] = {}
        self.reads = 0
        self.repeats = 0

    def heard(self, highest: dict[str, int]) -> None:
        for worker, number in highest.items():
            self.least[worker] = max(self.least.get(worker, 0), number)

    @property
    def confirmed(self) -> int:
        return sum(self.least.values())

    def ids(self) -> set[str]:
        return {f"{worker}.{number}" for worker, last in self.least.items() for number in range(1, last + 1)}


class Play:
    """Everybody who plays with the five, each with dice of his own."""

    def __init__(self, five: Five, truth: Truth) -> None:
        self.five = five
        self.truth = truth
        self.is_over = asyncio.Event()
        self._faults = random.Random(f"{SEED} faults")
        self._changing = asyncio.Lock()

    async def work(self, name: str) -> None:
        """Say one command after the other, each to any node, and again to any other until it is confirmed."""
        dice = random.Random(f"{SEED} {name}")
        with ExitStack() as stack:
            lines = Lines(self.five)
            stack.callback(lines.close)
            for number in itertools.count(1):
                if self.is_over.is_set():
                    return
                while not await self._said(lines.to(dice.choice(self.five.members)), f"{name}.{number}"):
                    self.truth.repeats += 1
                    await asyncio.sleep(dice.uniform(0.0, 0.1))
                self.truth.heard({name: number})
                await asyncio.sleep(dice.uniform(0.0, 0.01))

    async def _said(self, line: Line, command: str) -> bool:
        try:
            await line.ask("propose", command, 0.8, within=1.2)
        except (Refused, Unheard):
            return False
        return True

    async def read(self, name: str) -> None:
        """Whatever was confirmed, or read, before a fresh read began must be in it."""
        dice = random.Random(f"{SEED} {name}")
        with ExitStack() as stack:
            lines = Lines(self.five)
            stack.callback(lines.close)
            while not self.is_over.is_set():
                member, least = dice.choice(self.five.members), dict(self.truth.least)
                with suppress(Refused, Unheard):
                    read = await lines.to(member).ask("read", 0.8, within=1.2)
                    stale = {worker: number for worker, number in least.items() if read.get(worker, 0) < number}
                    assert not stale, f"{member.me} told {read}, while {stale} was known"
                    self.truth.heard(read)
                    self.truth.reads += 1
                await asyncio.sleep(dice.uniform(0.0, 0.05))

    async def change_voters(self) -> None:
        """Make voters of learners and the other way round, by whoever says that it leads."""
        dice = random.Random(f"{SEED} voters")
        with ExitStack() as stack:
            lines = Lines(self.five)
            stack.callback(lines.close)
            while not self.is_over.is_set():
                await asyncio.sleep(dice.uniform(0.1, 0.5))
                member, other = dice.sample(self.five.members, 2)
                async with self._changing:
                    with suppress(Refused, Unheard):
                        status = await lines.to(member).ask("status", within=0.5)
                        if not status["is_leader"]:
                            continue
                        many = len(status["voters"]) - dice.randint(1, NODES)  # few voters grow, many shrink
                        call = "remove_voter" if many > 0 else "add_voter"
                        await lines.to(member).ask("change", call, other.me, 1.0, within=1.5)

    async def faults(self) -> None:
        for number in range(1, ROUNDS + 1):
            await self._fault()
            if number % HEAL_EVERY == 0:
                await self.five.heal()
                await self._goes_on()
        await self.five.heal()
        await self._goes_on()

    async def _goes_on(self) -> None:
        """All are well: each worker gets something done."""
        before = dict(self.truth.least)

        def all_did() -> bool:
            return all(self.truth.least.get(worker, 0) > before.get(worker, 0) + 1 for worker in workers())

        await processes.until(all_did, "work goes on after a heal", timeout=WITHIN_S)

    async def _fault(self) -> None:
        """Something happens to some nodes, or all; after a while most of them recover, for a while."""
        dice, five = self._faults, self.five
        awake = [member for member in five.up if not member.paused]
        chosen = dice.sample(awake, dice.randint(1, len(awake))) if awake else []
        what = dice.choices(("kill", "pause", "kill all", "stop", "lose disk", "transfer"), (8, 6, 2, 2, 1, 1))[0]
        match what:
            case "kill":
                await asyncio.gather(*(five.end(member, kill=True) for member in chosen))
            case "pause":
                for member in chosen:
                    five.pause(member)
            case "kill all":
                await asyncio.gather(*(five.end(member, kill=True) for member in five.up))
            case "stop":
                await asyncio.gather(*(five.end(member, kill=False) for member in chosen))
            case "lose disk":
                await self._lose_disk()
            case "transfer":
                with suppress(Refused, Unheard):
                    await self._ask(dice.choice(five.members), "transfer", 1.0)
        await asyncio.sleep(dice.uniform(0.05, 0.7))
        for member in five.members:
            if member.process is None and dice.random() < 0.7:
                await five.start(member)
            elif member.paused and dice.random() < 0.8:
                five.resume(member)
        await asyncio.sleep(dice.uniform(0.0, 0.3))

    async def _lose_disk(self) -> None:
        """Of a node without a vote, made so first if need be: it comes back as another node, with nothing."""
        async with self._changing:
            for leader in self.five.up:
                with suppress(Refused, Unheard):
                    voters = (await self._ask(leader, "status"))["voters"]
                    others = [member for member in self.five.up if member is not leader]
                    lost = next((member for member in others if member.me not in voters), self._faults.choice(others))
                    await self._ask(leader, "change", "remove_voter", lost.me, 1.0)
                    await self.five.end(lost, kill=True)
                    # Only now, as nobody can make it a voter any more, the word of who leads for sure is the last one.
                    await self._ask(leader, "read", 1.0)
                    if lost.me not in (await self._ask(leader, "status"))["voters"]:
                        lost.replace()
                    return

    async def _ask(self, member: Member, what: str, *args: object) -> dict[str, list[str]]:
        line = Line(member.control)
        try:
            return dict(await line.ask(what, *args, within=1.5) or {})
        finally:
            line.close()


def workers() -> list[str]:
    return [f"w{number}" for number in range(WORKERS)]


async def test_five_nodes_survive_whatever_happens_to_them(tmp_path: Path) -> None:
    log.info("the dice of this run", RAFT_SEED=SEED, RAFT_ROUNDS=ROUNDS)
    async with AsyncExitStack() as stack:
        five, truth = Five(tmp_path, stack), Truth()
        play = Play(five, truth)
        first, *others = five.members
        await five.start(first, found=True)
        await table_of(first)
        for member in others:
            await five.start(member)
        async with asyncio.TaskGroup() as group:
            players = [group.create_task(play.work(worker)) for worker in workers()]
            players += [group.create_task(play.read(f"reader {number}")) for number in range(2)]
            players += [group.create_task(play.change_voters())]
            await play.faults()
            play.is_over.set()
            await asyncio.wait_for(asyncio.gather(*players), WITHIN_S)
        tables = [await table_of(member) for member in five.members]
    log.info("confirmed", commands=truth.confirmed, repeats=truth.repeats, reads=truth.reads)
    ids = [said for _, said in tables[0]]
    assert all(table == tables[0] for table in tables), [len(table) for table in tables]
    assert len(ids) == len(set(ids))
    assert set(ids) == truth.ids()
    assert truth.reads > ROUNDS // 4, "hardly anything was read"
    history = [list(lives(folder)) for folder in five.folders]
    check_order([life for node in history for life in node], tables[0])
    check_leases([line for node in history for life in node for line in life if line[0] == "lease"])


async def table_of(member: Member) -> list[Row]:
    """As of a fresh read."""
    line, deadline = Line(member.control), asyncio.get_running_loop().time() + WITHIN_S
    try:
        while True:
            try:
                await line.ask("read", 2.0)
                break
            except (Refused, Unheard):
                assert asyncio.get_running_loop().time() < deadline, f"{member.me} cannot tell what is"
                await asyncio.sleep(0.05)
        return msgspec.convert(await line.ask("table"), list[Row])
    finally:
        line.close()


def lives(folder: Path) -> Iterator[list[list[str]]]:
    """What a node wrote down, from each of its starts to its end."""
    life: list[list[str]] = []
    history = folder / "history"
    if not history.exists():  # killed before it came to anything, and then replaced
        return
    for text in history.read_text().split("\n")[:-1]:
        line = text.split(" ")
        if line[0] == "begun" and life:
            yield life
            life = []
        life.append(line)
    yield life


def check_order(histories: list[list[list[str]]], table: list[Row]) -> None:
    """At each index all applied the same; nobody left out or repeated one, in any of its lives; snapshots are of that."""
    agreed: dict[int, str] = {}
    for life in histories:
        for line in life:
            if line[0] in ("applied", "again"):
                index, said = int(line[1]), line[2]
                assert agreed.setdefault(index, said) == said, f"two commands at {index}: {said}, {agreed[index]}"
    order = sorted(agreed)
    first: dict[str, int] = {}
    for index in order:
        first.setdefault(agreed[index], index)
    assert [(index, agreed[index]) for index in order if first[agreed[index]] == index] == table
    crcs = list(itertools.accumulate(table, chained, initial=0))
    loads = again = 0
    for life in histories:
        assert ["stopped"] not in life[:-1], f"it lived on when it had stopped: {life[0]}"
        at = 0
        for what, *rest in life:
            if what == "loaded":
                last, count, crc = map(int, rest)
                at, loads = bisect_right(order, last), loads + 1
                assert count == bisect_right(table, last, key=itemgetter(0)) and crc == crcs[count], (
                    f"snapshot of {last}"
                )
            elif what in ("applied", "again"):
                index = int(rest[0])
                assert at == bisect_left(order, index), f"{index} was applied where {order[at]} was due: {life[0]}"
                assert (first[agreed[index]] == index) == (what == "applied")
                at, again = at + 1, again + (what == "again")
    log.info("histories agree", entries=len(order), lives=len(histories), snapshots_loaded=loads, said_again=again)
    assert loads or ROUNDS < 20, "snapshots were to be put in place, too"


def check_leases(leases: list[list[str]]) -> None:
    """Nobody held the lease of a term after somebody had held that of a later one."""
    held = sorted((float(end), float(start), int(term)) for _, start, end, term in leases)
    assert held
    latest = list(itertools.accumulate((term for _, _, term in held), max))
    for _, start, term in held:
        before = bisect_left(held, start, key=itemgetter(0))
        assert not before or latest[before - 1] <= term, (
            f"the lease of term {term} was held at {start} after a later one"
        )
