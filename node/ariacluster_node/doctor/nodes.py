"""The other nodes: is each of them reached, does it run the same version, does its clock agree."""

import asyncio
from collections.abc import Iterable, Mapping
from statistics import median

import msgspec

from ariacluster import __version__
from ariacluster.domain.errors import Unavailable
from ariacluster.domain.formation import Heard, Membership
from ariacluster.domain.member import at

from .door import REFUSED, Answer, Doors, MemberSaid, connects
from .finding import Finding, names, ok, problem, warning

CHECK = "nodes"
VERSIONS = "versions"
CLOCKS = "clocks"

MAX_CLOCK_OFFSET = 2.0
"""Seconds. What is measured is good to about half of one."""

MOST = 100
"""Nodes that are asked."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A node that should be there. `id` is empty where only an address was told; `raft`: `host:port` of its consensus, None
    if nobody says; `present`: it was heard just now, or its cluster counts it as online."""

    id: str
    name: str
    door: str
    raft: str | None = None
    present: bool = False


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """`trouble` and `raft_trouble`: why the API and the consensus were not reached, as the end of the sentence "NAME …"."""

    node: Known
    answer: Answer | None = None
    trouble: str = ""
    raft_trouble: str = ""

    @property
    def name(self) -> str:
        return self.answer.status.node.name if self.answer else self.node.name


def known(
    own_id: str,
    heard: Iterable[Heard],
    members: Iterable[MemberSaid],
    membership: Membership | None,
    join: Iterable[str],
) -> list[Known]:
    """Everybody once: as heard, else as the cluster has it, else as this node remembers it, else as it was told."""
    peers, doors = (membership.peers, membership.doors) if membership else ({}, {})
    found: dict[str, Known] = {}
    for h in heard:
        found[h.node_id] = Known(
            id=h.node_id, name=h.node_name, door=h.door, raft=h.raft or peers.get(h.node_id), present=True
        )
    for m in members:
        door, online = at(m.address, m.port), m.status != "offline"
        found.setdefault(m.id, Known(id=m.id, name=m.name, door=door, raft=peers.get(m.id), present=online))
    for node_id, door in doors.items():
        found.setdefault(node_id, Known(id=node_id, name=door, door=door, raft=peers.get(node_id)))
    found.pop(own_id, None)
    taken = {node.door for node in found.values()}
    told = [Known(id="", name=door, door=door, present=True) for door in join if door not in taken]
    return [*sorted(found.values(), key=lambda node: (node.name, node.id)), *told][:MOST]


async def visit(doors: Doors, nodes: Iterable[Known]) -> list[Visit]:
    """All at once: whoever is silent costs the others nothing."""

    async def api(node: Known) -> Answer | str:
        try:
            return await doors.status(node.door)
        except Unavailable as error:
            return error.detail

    async def one(node: Known) -> Visit:
        said, raft = await asyncio.gather(api(node), connects(node.raft) if node.raft else asyncio.sleep(0, ""))
        if isinstance(said, str):
            return Visit(node=node, trouble=said, raft_trouble=raft)
        return Visit(node=node, answer=said, raft_trouble=raft)

    return list(await asyncio.gather(*(one(node) for node in nodes)))


def judge_reach(visits: Iterable[Visit]) -> list[Finding]:
    found, good = [], []
    for v in visits:
        if v.trouble:
            say = problem if v.node.present else warning
            at_door = "" if v.node.name == v.node.door else f" at {v.node.door}"
            found.append(say(CHECK, f"{v.node.name}{at_door} {v.trouble}.", _what_to_do(v)))
        elif v.raft_trouble:
            port = (v.node.raft or "").rpartition(":")[2]
            found.append(
                problem(
                    CHECK,
                    f"The API of {v.name} answers, but its consensus at {v.node.raft} {v.raft_trouble}.",
                    f"Let TCP port {port} in on {v.name}, or they cannot agree on anything.",
                )
            )
        else:
            good.append(v.name)
    if good:
        found.insert(0, ok(CHECK, f"Reached: {names(good)}."))
    return found


def _what_to_do(v: Visit) -> str:
    port = v.node.door.rpartition(":")[2]
    if v.trouble == REFUSED:
        gone = "" if v.node.present else " If it is gone for good: `ariacluster node rm NAME`."
        return f"No node runs there, or not at port {port}: start it, or look into its log.{gone}"
    if v.node.present:
        return f"Let TCP port {port} in through the firewall there: nodes talk to each other by it."
    return f"Is that machine on? Then its firewall has to let TCP port {port} in."


def judge_versions(versions: Mapping[str, str], here: str | None) -> list[Finding]:
    """`versions`: of the others, by name; `here`: of the node that runs here, if one does."""
    found = []
    if here is not None and here != __version__:
        found.append(
            warning(
                VERSIONS,
                f"The node that runs here is version {here}, installed is {__version__}.",
                "Start it again to run what is installed.",
            )
        )
    mine = here or __version__
    others: dict[str, list[str]] = {}
    for name, version in versions.items():
        if version and version != mine:
            others.setdefault(version, []).append(name)
    if others:
        theirs = "; ".join(f"{names(several)} {version}" for version, several in sorted(others.items()))
        found.append(
            warning(
                VERSIONS,
                f"The nodes run different versions: this machine {mine}; {theirs}.",
                "Update the older ones when it suits you, one after another.",
            )
        )
    elif versions:
        found.append(ok(VERSIONS, f"All run version {mine}."))
    return found


def judge_clocks(ahead: Mapping[str, float]) -> list[Finding]:
    """`ahead`: seconds by which the clock of each node is before ours, by name."""
    off = {name: seconds for name, seconds in ahead.items() if abs(seconds) > MAX_CLOCK_OFFSET}
    if not off:
        return [ok(CLOCKS, "The clocks agree to the second.")] if ahead else []
    do = "Switch on time synchronisation: timedatectl set-ntp true."
    middle = median(ahead.values())
    agreeing = [name for name, seconds in ahead.items() if abs(seconds - middle) <= MAX_CLOCK_OFFSET]
    if len(agreeing) > 1 and len(agreeing) * 2 > len(ahead) and abs(middle) > MAX_CLOCK_OFFSET:
        return [
            warning(
                CLOCKS,
                f"The clock of this machine is {_apart(-middle)} those of {names(agreeing)}: times and retries go wrong, and "
                "certificates are refused.",
                f"{do[:-1]}, on this machine.",
            )
        ]
    return [
        warning(
            CLOCKS,
            f"The clock of {name} is {_apart(seconds)} that of this machine: times and retries go wrong, and certificates are "
            "refused.",
            f"{do[:-1]}, on the machine that is wrong.",
        )
        for name, seconds in off.items()
    ]


def _apart(ahead: float) -> str:
    """Seconds, with a digit only where it was measured."""
    return f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'}"
