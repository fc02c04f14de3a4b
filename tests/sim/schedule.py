"""Runs one schedule, from a seed to a result."""

from collections.abc import Callable

import structlog

from ariacluster_node.adapters.raft import library

from .checks import Violation
from .profiles import PROFILES
from .world import Result, World


def be_quiet() -> None:
    """Nothing is logged in this process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=False)


def run(seed: int, profile: str, *, tell: Callable[[str], None] | None = None, verbose: int = 0) -> Result:
    """Never raises for what the system under test does wrong: that is the result's `violation`."""
    library.install()
    world = World(seed, PROFILES[profile], tell=tell, verbose=verbose)
    violation = None
    try:
        world.run()
    except Violation as error:
        violation = str(error)
    world.counts["snapshots written"] = world.snapshots_written
    return Result(
        seed=seed,
        profile=profile,
        trace=world.trace,
        events=world.timeline.events,
        world_s=world.timeline.now,
        counts=dict(world.counts),
        violation=violation,
    )
