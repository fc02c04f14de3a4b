"""Every safeguard that is taken out is missed, within a few rounds."""

import pytest

from .mutations import MUTATIONS, Mutation
from .rounds import Round

ROUNDS = 200
"""At most: most are missed in the first one."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_is_missed(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.apply(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        _play_many()


def _play_many() -> None:
    for seed in range(1, ROUNDS + 1):
        Round(seed, 40, faults_every=0.7, patience_s=400).play()
