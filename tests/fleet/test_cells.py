"""The table of state and fault: every cell is a test, in calm weather and in storms, and README.md shows what comes of each."""

from pathlib import Path

import pytest

from .cells import cells_of, markdown, play
from .faults import FAULTS, Fault
from .states import STATES, State
from .world import STORMY

README = Path(__file__).with_name("README.md")

STORMS = (11, 12)
"""Seeds. `python -m tests.fleet --cell STATE FAULT --stormy --seed N` plays others."""

KEEPS_ITS_BYTES = {
    ("downloading", "its node drained"),
    ("downloading", "its node's disk full"),
    ("downloading", "its aria2c dies"),
    ("downloading", "its node lost, back before"),
    ("downloading", "leader lost"),
    ("downloading", "paused and resumed"),
    ("downloading", "relinked"),
    ("paused with bytes", "its node drained"),
    ("waiting for a retry", "its node drained"),
    ("moving, the source not stopped", "moved, and the target lost"),
    ("moving, bytes on their way", "moved, and the target lost"),
    ("moving, bytes there, not told", "moved, and the source lost"),
    ("moving, bytes on their way", "leader lost"),
    ("half published", "its node lost, back before"),
    ("published, not told", "its node lost, back before"),
    ("published, not told", "the answer lost"),
}
"""Whatever else README.md comes to say: in these nothing that was fetched may be fetched again."""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_cell(state: State, fault: Fault) -> None:
    ended = play(state, fault)
    assert ended == cells_of(README.read_text(encoding="utf-8"))[state.name, fault.name]
    assert ended == "done" or (state.name, fault.name) not in KEEPS_ITS_BYTES


@pytest.mark.parametrize("seed", STORMS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_every_cell_of_a_state_ends_well_in_a_storm(state: State, seed: int) -> None:
    for fault in FAULTS:
        play(state, fault, seed, weather=STORMY)


def test_readme_has_the_whole_table() -> None:
    """`python -m tests.fleet --table` prints it; that each cell is right is for `test_cell` to say."""
    text = README.read_text(encoding="utf-8")
    cells = cells_of(text)
    assert cells.keys() == {(state.name, fault.name) for state in STATES for fault in FAULTS} >= KEEPS_ITS_BYTES
    assert markdown(cells) in text
