"""A few hundred schedules of each kind: none is violated. `scripts/sim 20000` runs many more."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENVIRON = {**os.environ, "PYTHONHASHSEED": "0"}  # else the program starts itself anew with it

TIMEOUT_S = 270
"""On a quiet core no test takes a quarter of it."""

pytestmark = pytest.mark.timeout(TIMEOUT_S + 20)


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for the hash seed and the virtual clock concern all of it."""
    command = [sys.executable, "-m", "tests.sim", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.mark.parametrize(
    ("profile", "schedules"),
    [
        ("three", 60),
        ("members", 50),
        ("five", 30),
        ("compact", 40),
        ("jumbled", 40),
        ("shuffled", 20),
        ("disks", 40),
        ("steady", 20),
        ("one", 20),
    ],
)
def test_no_schedule_is_violated(profile: str, schedules: int) -> None:
    ran = simulate(str(schedules), "--profile", profile)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_schedules_do_something() -> None:
    """A cluster that never works would violate nothing."""
    ran = simulate("12", "--profile", "members")
    told = {what: int(count.replace(",", "")) for count, what in re.findall(r"([\d,]+) ([a-z ]+)", ran.stdout)}
    wanted = (
        "acknowledged",
        "elections",
        "fresh reads",
        "kills",
        "membership changes",
        "partitions",
        "snapshots written",
    )
    assert all(told.get(what, 0) > 10 for what in wanted), ran.stdout


@pytest.mark.parametrize("profile", ["members", "shuffled"])
def test_a_seed_tells_the_same_story_again(profile: str) -> None:
    first, again = (simulate("3", "--profile", profile, "--jobs", "1", "--traces") for _ in range(2))
    traces = re.findall(r"seed \d+ \w+ trace \w+", first.stdout)
    assert len(set(traces)) == 3
    assert traces == re.findall(r"seed \d+ \w+ trace \w+", again.stdout)


def test_telling_more_changes_nothing() -> None:
    silent = simulate("1", "--profile", "three", "--seed", "5", "--jobs", "1", "--traces")
    told = simulate("--profile", "three", "--seed", "5", "-vv")
    trace = re.search(r"trace (\w+)", silent.stdout)
    assert trace
    assert f"trace {trace[1]}," in told.stdout
