"""Random rounds: many downloads, five machines, anything at any time. README.md says how to play more, or one again."""

import hashlib
import os
import subprocess
import sys

import pytest

from ariacluster.domain.task import TaskState

from .rounds import Round

BLOCKS = 6
ROUNDS = 6
"""In each block; together some five seconds."""


@pytest.mark.parametrize("block", range(BLOCKS))
def test_everything_ends_as_it_should(block: int) -> None:
    for seed in range(1 + block * ROUNDS, 1 + (block + 1) * ROUNDS):
        Round(seed, 40, faults_every=1.0).play()


def test_without_faults_everything_is_fetched_once() -> None:
    round = Round(1, 60, faults_every=float("inf"))
    fleet = round.play()
    assert round.struck == 0
    # One origin bears few downloads at a time: who comes too many is told to come again, which must not count.
    assert {row.state for row in fleet.truth.tasks.values()} == {TaskState.COMPLETED}
    slack = 10_000_000
    assert all(fleet.fetched[task_id] <= size + slack for task_id, size in fleet.sizes.items())


def test_one_seed_is_one_story() -> None:
    """Whatever the order of Python's sets is."""
    code = "from tests.fleet.test_rounds import story; print(story())"
    stories = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(stories) == 1 and stories != {""}


def story() -> str:
    round = Round(7, 40)
    round.play()
    return hashlib.sha256(round.fleet.story(last=sys.maxsize).encode()).hexdigest()
