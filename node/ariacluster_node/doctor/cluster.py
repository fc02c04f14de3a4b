"""What the node that runs here says of its cluster."""

from .door import StatusSaid
from .finding import Finding, names, ok, problem, warning

CHECK = "cluster"


def judge(status: StatusSaid) -> list[Finding]:
    """Nodes say in sentences what a person should see to, the worst first."""
    cluster = status.cluster
    if not cluster.id:
        return [
            warning(
                CHECK,
                f"{status.node.name} belongs to no cluster yet.",
                "Ask again in a few seconds; if it stays so, its log says what it waits for.",
            )
        ]
    told = [Finding(CHECK, "warning", sentence) for sentence in status.problems]
    nodes = f"{cluster.members} node{'' if cluster.members == 1 else 's'}"
    missing = names(n.name for n in cluster.missing) if cluster.missing else ""
    if not cluster.has_quorum and told:  # the first is about that, and names them
        return [problem(CHECK, told[0].says, ""), *told[1:]]
    if not cluster.has_quorum:
        first = problem(
            CHECK,
            f"A majority of the {cluster.voters} voters cannot be reached{f'; missing: {missing}' if missing else ''}.",
            "Nothing new is decided until they are back; running downloads go on. If they are gone for good: "
            "`ariacluster cluster recover`.",
        )
    elif cluster.leader is None:
        first = problem(
            CHECK, "The cluster has no leader now.", "Ask again in a few seconds: an election takes no longer."
        )
    elif missing:
        first = warning(
            CHECK,
            f"{cluster.leader.name} leads {nodes}, but of {cluster.voters} voters it lacks {missing}.",
            "Bring them back, or take off what is gone for good: `ariacluster node rm NAME`.",
        )
    else:
        first = ok(CHECK, f"{cluster.name!r}: {cluster.leader.name} leads {nodes}, and every voter is there.")
    return [first, *told]
