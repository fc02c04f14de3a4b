"""`scripts/sim`: runs schedules on all cores; exit code 1 if one was violated."""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from . import schedule
from .mutations import MUTATIONS
from .profiles import PROFILES
from .world import Result

SHOWN = 20
"""Violations that are shown in full."""


def main() -> int:
    options = _options()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of names are gone through in an order that hangs on it
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    if options.verbose:
        _prepare(options.mutate)
        result = schedule.run(
            options.seed, options.profile or _profile_of(options.seed), tell=_say, verbose=options.verbose
        )
        _say(
            f"trace {result.trace:08x}, {result.events} events, {result.world_s:.1f} s: {result.violation or 'all well'}"
        )
        return 1 if result.violation else 0
    return _run_many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/sim", description="Schedules of faults on a virtual cluster.")
    parser.add_argument("schedules", nargs="?", type=int, default=500, help="how many (default 500)")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="only this kind of schedule (default: all in turn)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--mutate", choices=sorted(MUTATIONS), help="take this safeguard out")
    parser.add_argument("--first", action="store_true", help="stop at the first violation")
    parser.add_argument("--traces", action="store_true", help="tell the trace of each schedule")
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="one schedule, event by event; -vv: messages too"
    )
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _prepare(mutate: str | None) -> None:
    schedule.be_quiet()
    if mutate:
        MUTATIONS[mutate].apply()


def _profile_of(seed: int) -> str:
    return list(PROFILES)[seed % len(PROFILES)]


def _run(job: tuple[int, str]) -> Result:
    return schedule.run(*job)


def _results(options: argparse.Namespace) -> Iterator[Result]:
    seeds = range(options.seed, options.seed + options.schedules)
    jobs = [(seed, options.profile or _profile_of(seed)) for seed in seeds]
    if options.jobs == 1:
        _prepare(options.mutate)
        yield from map(_run, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.jobs, _prepare, (options.mutate,)) as pool:
        yield from pool.imap_unordered(_run, jobs, chunksize=4)


def _run_many(options: argparse.Namespace) -> int:
    began, told = time.monotonic(), time.monotonic()
    counts: Counter[str] = Counter()
    bad: list[Result] = []
    done = 0
    for result in _results(options):
        done += 1
        counts.update(result.counts)
        if options.traces:
            _say(f"seed {result.seed} {result.profile} trace {result.trace:08x}")
        if result.violation:
            bad.append(result)
            if len(bad) <= SHOWN:
                mutated = f" --mutate {options.mutate}" if options.mutate else ""
                _say(f"seed {result.seed}: {result.violation}")
                _say(f"  replay: scripts/sim --profile {result.profile} --seed {result.seed}{mutated} -v")
            if options.first:
                break
        if time.monotonic() - told > 10:
            told = time.monotonic()
            _say(_progress(done, began, len(bad)))
    _say(_progress(done, began, len(bad)))
    _say(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())))
    if bad:
        _say(f"violated by seeds {' '.join(str(result.seed) for result in bad)}")
    return 1 if bad else 0


def _progress(done: int, began: float, bad: int) -> str:
    minutes = (time.monotonic() - began) / 60
    return f"{done} schedules, {done / minutes:.0f} a minute, {bad} violated"
