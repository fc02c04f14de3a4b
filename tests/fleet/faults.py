"""What may go wrong with a task, or be asked of it: each a function of the stage on which the task stands."""

from collections.abc import Callable
from typing import NamedTuple

from ariacluster.domain.commands import Cancel, Drain, Pause, Relink, Remove, Resume
from ariacluster.domain.task import TaskState

from .judge import Asked
from .machine import Machine
from .states import LEADER, TASK, Stage
from .world import MIN_FREE

LONG_MS = 30_000
"""Longer than `node_timeout`."""

SHORT_MS = 5_000

PATIENCE_TICKS = 40
"""Until a move that was asked for begins: a retry may have to wait for its time."""


def leader_lost(stage: Stage) -> None:
    _away(stage, stage.fleet.machines[stage.fleet.leader or LEADER], LONG_MS)


def node_lost(stage: Stage) -> None:
    _gone(stage.node)


def node_back_late(stage: Stage) -> None:
    _away(stage, stage.node, LONG_MS)


def node_back_soon(stage: Stage) -> None:
    _away(stage, stage.node, SHORT_MS)


def aria2c_dies(stage: Stage) -> None:
    stage.node.aria2c_dies()


def disk_full(stage: Stage) -> None:
    fill(stage.node)
    node = stage.node
    stage.fleet.later(60_000, lambda: setattr(node, "junk", 0))


def cut_off(stage: Stage) -> None:
    node = stage.node
    stage.fleet.note(f"{node.id} is cut off")
    node.isolated = True
    stage.fleet.later(LONG_MS, lambda: setattr(node, "isolated", False))


def source_lost(stage: Stage) -> None:
    source = _move(stage)
    _gone(source)


def target_lost(stage: Stage) -> None:
    _move(stage)
    _gone(stage.node)


def answer_lost(stage: Stage) -> None:
    stage.node.deaf_until = stage.fleet.now + 3_000


def cancel(stage: Stage) -> None:
    stage.fleet.say(Cancel(TASK))


def pause_and_resume(stage: Stage) -> None:
    stage.fleet.say(Pause(TASK))
    stage.fleet.later(3_000, lambda: stage.fleet.say(Resume(TASK)))


def remove(stage: Stage) -> None:
    stage.fleet.say(Remove(TASK))


def drain(stage: Stage) -> None:
    stage.fleet.say(Drain(stage.node.id, 0))


def relink(stage: Stage) -> None:
    stage.fleet.say(Relink(TASK, ("http://origin.example/other",)))


def fill(machine: Machine) -> None:
    """Somebody else's files take the room that must stay free."""
    machine.fleet.note(f"{machine.id}: its disk is full")
    machine.junk += machine.disk_free - MIN_FREE // 4


def _gone(machine: Machine) -> None:
    machine.dies()
    machine.gone = True


def _away(stage: Stage, machine: Machine, ms: int) -> None:
    machine.dies()
    stage.fleet.later(ms, machine.comes_back)


def _move(stage: Stage) -> Machine:
    """Begin a move if none is under way, and the task is somewhere; the source."""
    row = stage.fleet.truth.tasks[TASK]
    if row.holder is not None:
        return stage.fleet.machines[row.holder]
    source = stage.node
    stage.fleet.say(Drain(source.id, 0))
    if row.state is TaskState.PAUSED:
        stage.fleet.say(Resume(TASK))
    for _ in range(PATIENCE_TICKS):
        if stage.node is not source:
            break
        stage.fleet.tick()
    return source


class Fault(NamedTuple):
    name: str
    strike: Callable[[Stage], None]


FAULTS = (
    Fault("leader lost", leader_lost),
    Fault("its node lost for good", node_lost),
    Fault("its node lost, back after node_timeout", node_back_late),
    Fault("its node lost, back before", node_back_soon),
    Fault("its aria2c dies", aria2c_dies),
    Fault("its node's disk full", disk_full),
    Fault("its node cut off", cut_off),
    Fault("moved, and the source lost", source_lost),
    Fault("moved, and the target lost", target_lost),
    Fault("the answer lost", answer_lost),
    Fault("canceled", cancel),
    Fault("paused and resumed", pause_and_resume),
    Fault("removed", remove),
    Fault("its node drained", drain),
    Fault("relinked", relink),
)

ASKED: dict[str, Asked] = {"canceled": {TASK: Cancel}, "removed": {TASK: Remove}}


def outcome(stage: Stage) -> str:
    """How it ended, as the table of cells says it."""
    row = stage.fleet.truth.tasks.get(TASK)
    if row is None:
        return "gone"
    return str(row.state) if row.state is not TaskState.COMPLETED else "done"
