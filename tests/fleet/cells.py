"""The table of state and fault: what becomes of a task, for each state that it may be in and each thing that may happen."""

import sys
from dataclasses import replace

from ariacluster.domain.commands import Resume
from ariacluster.domain.task import TaskState

from .faults import ASKED, FAULTS, Fault, outcome
from .judge import judge
from .states import SIZE, STATES, TASK, Stage, State
from .world import Weather

SETTLES_S = 300.0
"""Simulated seconds after which a task that has not come to its end is stuck."""

ALLOWANCE = 2 * 1024 * 1024
"""Bytes that may be fetched twice without counting as begun anew, besides those that an engine had not written down when it
died."""


def play(
    state: State, fault: Fault, seed: int = 1, *, weather: Weather | None = None, told: list[str] | None = None
) -> str:
    """Bring a task there, let it happen, wait for the end; how it ended. `Broken` if a promise was. `weather`: from then on.
    `told`: gets the story."""
    stage = Stage(seed)
    fleet = stage.fleet
    state.reach(stage)
    if weather is not None:
        fleet.weather = replace(weather, loses_report=fleet.weather.loses_report)
    fleet.note(f"-- {fault.name}")
    fault.strike(stage)
    stage.hold()
    stage.release()
    if not fleet.settle(SETTLES_S):
        raise fleet.broken("it is stuck", TASK)
    row = fleet.truth.tasks.get(TASK)
    if row is not None and row.state is TaskState.PAUSED:
        fleet.say(Resume(TASK))
        if not fleet.settle(SETTLES_S):
            raise fleet.broken("it is stuck", TASK)
    judge(fleet, ASKED.get(fault.name, {TASK: None}))
    if told is not None:
        told.append(fleet.story(last=sys.maxsize))
    ended = outcome(stage)
    if ended == "done" and fleet.fetched[TASK] - fleet.unsaved.get(TASK, 0) > SIZE + ALLOWANCE:
        return "anew"
    return ended


def table() -> dict[tuple[str, str], str]:
    """Every cell, played in calm weather."""
    return {(state.name, fault.name): play(state, fault) for state in STATES for fault in FAULTS}


def markdown(outcomes: dict[tuple[str, str], str]) -> str:
    """The table for people: a row per fault, a column per state."""
    lines = ["| | " + " | ".join(state.name for state in STATES) + " |", "|---|" + "---|" * len(STATES)]
    for fault in FAULTS:
        cells = (outcomes[state.name, fault.name] for state in STATES)
        lines.append(f"| **{fault.name}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def cells_of(text: str) -> dict[tuple[str, str], str]:
    """What a text that has the table of `markdown` says, by state and fault."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| **")]
    states = [state.name for state in STATES]
    return {
        (state, fault.strip("*")): cell for fault, *cells in rows for state, cell in zip(states, cells, strict=True)
    }
