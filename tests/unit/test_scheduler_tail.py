"""How late the last of many files is, where the nodes' links are what is short: decisions carried out on links that exist only
here, each of which divides what it carries among what runs on it."""

import random
from collections.abc import Sequence
from statistics import mean

import pytest

from ariacluster.domain.commands import Command, Complete, Measure, Move, Proposal, Register, Start, Submit
from ariacluster.domain.member import Member, NodeView, Progress, Report
from ariacluster.domain.scheduler import decide
from ariacluster.domain.table import TaskTable
from ariacluster.domain.task import Result, TaskSpec, TaskState

RATE = 2_500_000
STEP_S = 0.05
REPORT_S = 1.0
SLOTS = 5


class Link:
    """A node and its link. `got`: bytes of each attempt that runs."""

    def __init__(self, number: int, rate: int) -> None:
        address = f"192.0.2.{number}"
        self.member = Member(id=f"n{number}", name=address, address=address, port=1, raft=f"{address}:2", slots=SLOTS)
        self.rate = rate
        self.got: dict[tuple[str, int], float] = {}
        self.report = Report(node=self.member.id, disk_free=10**12)

    def step(self, table: TaskTable) -> list[Command]:
        mine = {(task.id, task.attempt): task for task in table.assigned_to(self.member.id)}
        self.got = {key: got for key, got in self.got.items() if key in mine}
        said: list[Command] = []
        for key in sorted(mine.keys() - self.got.keys(), key=lambda key: mine[key].seq)[: SLOTS - len(self.got)]:
            self.got[key] = 0
            said.append(Start(*key, mine[key].size))
        for key in list(self.got):
            self.got[key] += self.rate * STEP_S / len(self.got)
        for key in [key for key, got in self.got.items() if got >= mine[key].size]:
            del self.got[key]
            said.append(Complete(*key, Result(total_bytes=mine[key].size, file_count=1)))
        return said

    def tell(self) -> None:
        tasks = {task: Progress(attempt=attempt, completed=int(got)) for (task, attempt), got in self.got.items()}
        peak = max(self.report.peak_speed, self.rate if self.got else 0)
        self.report = Report(node=self.member.id, disk_free=10**12, peak_speed=peak, tasks=tasks)


def seconds(sizes: Sequence[int], rates: Sequence[int], *, moving: bool = True) -> float:
    """Until the last is done. Without `moving`, what has been given to a node stays there."""
    table, now, said = TaskTable(), 0.0, 0

    def say(*commands: Command) -> None:
        nonlocal said
        said += 1
        at = int(now * 1000) + 1
        applied = table.apply(Proposal(id=str(said), at=at, by="n0", commands=commands))
        assert set(applied.outcomes) <= {None}

    links = [Link(number, rate) for number, rate in enumerate(rates)]
    say(*(Register(link.member) for link in links))
    for number, size in enumerate(sizes):
        say(Submit(f"{number:04}", TaskSpec(urls=(f"http://origin/{number}",))), Measure(f"{number:04}", size))
    told = -REPORT_S
    while len(table.by_state[TaskState.COMPLETED]) < len(sizes):
        if now - told >= REPORT_S:
            told = now
            for link in links:
                link.tell()
        views = [NodeView(member=link.member, report=link.report, silent_for=0.1, online=True) for link in links]
        while commands := decide(table, views, int(now * 1000) + 1, node_timeout=20):
            if not moving and any(isinstance(command, Move) for command in commands):
                break
            say(*commands)
        for link in links:
            if ended := link.step(table):
                say(*ended)
        now += STEP_S
        assert now < 600, "it does not end"
    return now


def best(sizes: Sequence[int], rates: Sequence[int]) -> float:
    """What a split by hand takes: the largest first, to whoever is done first with it."""
    ends = [0.0] * len(rates)
    for size in sorted(sizes, reverse=True):
        link = min(range(len(rates)), key=lambda link: ends[link] + size / rates[link])
        ends[link] += size / rates[link]
    return max(ends)


def files(count: int, seed: int) -> list[int]:
    dice = random.Random(seed)
    return [int(6_000_000 * dice.uniform(0.4, 1.6)) for _ in range(count)]


@pytest.mark.parametrize(("count", "least"), [(40, 0.94), (100, 0.96)])
def test_the_last_is_done_about_as_soon_as_by_the_best_split(count: int, least: float) -> None:
    rates = [RATE] * 4
    ratios = [best(sizes, rates) / seconds(sizes, rates) for sizes in (files(count, seed) for seed in range(8))]
    assert mean(ratios) > least
    assert min(ratios) > 0.9


def test_moving_what_waits_brings_the_end_nearer() -> None:
    rates = [2 * RATE, RATE, RATE, RATE // 2]
    lists = [files(40, seed) for seed in range(4)]
    assert mean(seconds(one, rates) for one in lists) < 0.95 * mean(seconds(one, rates, moving=False) for one in lists)
