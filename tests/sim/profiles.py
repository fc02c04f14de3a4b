"""Kinds of schedules: how many nodes, how much of what."""

import msgspec

from ariacluster_node.adapters.raft.host import Timing


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities are per occasion; what is a range is rolled anew for each seed."""

    voters: int = 3
    learners: int = 0
    spares: int = 0
    """Machines that come into being later, for those whose disk is lost."""
    founder_alone: bool = False
    """One node begins, and the others are let in one by one; else the first voters know each other."""
    membership_per_s: float = 0.0
    compact_entries: tuple[int, int] = (25, 500)
    keep_entries: tuple[int, int] = (0, 100)
    jumbled: float = 0.0
    """Messages between links and core that are lost, late or doubled."""
    late_s: float = 0.3
    """How late at most."""
    always: tuple[str, ...] = ()
    """Faults of every phase."""
    steady: bool = False
    """Faults hit one follower only: the leader must stay."""
    phases: tuple[int, int] = (2, 4)
    phase_s: tuple[float, float] = (2.0, 5.0)
    faults_per_s: tuple[float, float] = (0.5, 4.0)
    commands_per_s: float = 40.0
    outstanding: int = 60
    large: float = 0.1
    """Commands that are not just a few bytes."""
    reads_per_s: float = 4.0
    restarts_s: tuple[float, ...] = (0.3, 1.0, 4.0)
    """How long a node is down, on average."""
    drift: float = 0.05
    late: float = 0.003
    """Chunks that take 50 to 300 ms."""
    chopped: float = 0.05
    """Chunks that arrive in pieces."""
    refused: float = 0.02
    moves: float = 1.0
    slow_disks: float = 0.4
    """Worlds in which a sync takes time."""
    timing: Timing = Timing()


PROFILES: dict[str, Profile] = {
    "three": Profile(),
    "members": Profile(learners=2, spares=3, founder_alone=True, membership_per_s=1.0, phases=(3, 5)),
    "five": Profile(voters=5, commands_per_s=30.0),
    "compact": Profile(compact_entries=(25, 25), keep_entries=(0, 10), commands_per_s=80.0, learners=1),
    "jumbled": Profile(jumbled=0.05, learners=1, membership_per_s=0.3),
    "shuffled": Profile(
        voters=5,
        jumbled=0.4,
        late_s=4.0,
        always=("hand_over", "hand_over", "see_saw", "see_saw", "see_saw", "kill", "kill"),
        faults_per_s=(4.0, 10.0),
        restarts_s=(0.02, 0.1, 0.5),
        commands_per_s=60.0,
        compact_entries=(25, 100),
        timing=Timing(election_s=(0.3, 0.31)),
    ),
    "disks": Profile(
        always=("kill_within_a_sync", "kill_many_within_a_sync", "kill_within_a_write"),
        slow_disks=0.0,
        large=0.5,
    ),
    "steady": Profile(learners=1, steady=True),
    "one": Profile(voters=1, learners=1),
}
"""`scripts/sim` goes through them in turn."""
