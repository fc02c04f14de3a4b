"""Faults at random while downloads run; `LAB_ROUNDS=300 LAB_DOWNLOADS=1000` for long."""

import os
import sys

import pytest

from . import available, chaos

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600), available.needed]

ROUNDS = int(os.environ.get("LAB_ROUNDS", "8"))
DOWNLOADS = int(os.environ.get("LAB_DOWNLOADS", "60"))
SEED = int(os.environ.get("LAB_SEED", "1"))


async def test_whatever_dies_every_file_is_there_once_and_right() -> None:
    summary = await chaos.run(ROUNDS, DOWNLOADS, SEED, lambda what: print(what, file=sys.stderr))  # noqa: T201
    assert summary.wrong == [], summary
