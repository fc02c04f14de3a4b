"""The simulation sees: with a safeguard taken out, it finds a violation."""

import pytest

from .mutations import MUTATIONS
from .test_simulation import TIMEOUT_S, simulate

pytestmark = pytest.mark.timeout(TIMEOUT_S + 20)


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_it_is_missed(name: str) -> None:
    mutation = MUTATIONS[name]
    kind = ("--profile", mutation.profile, "--seed", str(mutation.first), "--jobs", "1")
    ran = simulate(str(mutation.seeds), *kind, "--mutate", name, "--first")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "replay: scripts/sim" in ran.stdout, ran.stdout + ran.stderr
