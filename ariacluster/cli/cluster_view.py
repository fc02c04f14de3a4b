"""The cluster and its nodes for people: at a glance, as a list, and one node in full."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.text import Text

from ariacluster.cli import units
from ariacluster.cli.grid import Cell, Column, flow, hang, lay
from ariacluster.cli.looks import LEADER, TASK, UNKNOWN, bar, node_state, pairs, slots
from ariacluster.cli.plain import plain
from ariacluster.domain.task import TaskState
from ariacluster.wire.resources import ClusterResource, NodeResource, StatusResource

_GLANCE = [
    Column(),
    Column("NODE", least=16),
    Column("STATE"),
    Column("SLOTS"),
    Column("DOWN", right=True, keep=5),
    Column("UP", right=True, keep=2),
    Column("DISK FREE", right=True, keep=4),
    Column("CPU", right=True, keep=3),
]

_LIST = [
    Column(),
    Column("NODE", least=16),
    Column("STATE"),
    Column("ROLE", keep=9),
    Column("SLOTS"),
    Column("LIMITS", keep=3),
    Column("DOWN", right=True, keep=10),
    Column("UP", right=True, keep=4),
    Column("DISK FREE", right=True, keep=8),
    Column("CPU", right=True, keep=3),
    Column("ADDRESS", least=16, keep=7),
    Column("TAGS", least=12, keep=2),
    Column("VERSION", keep=1),
    Column("HEARD", right=True, keep=6),
]


def glance(status: StatusResource, nodes: Sequence[NodeResource], width: int) -> list[Text]:
    """The cluster, its nodes, its tasks."""
    lines = [*head(status, width), *mode(status, width), Text()]
    rows = [[_crown(n), Cell(n.name, "bold"), node_state(n.status), _slots(n), *_load(n)] for n in nodes]
    lines.extend(lay(_GLANCE, rows, width))
    lines.extend(drains(nodes, width))
    # A node of this version tells troubles among its problems.
    untold = [node for node in nodes if not any(node.trouble and node.trouble in told for told in status.problems)]
    lines.extend(troubles(untold, width))
    for problem in status.problems:
        lines.extend(hang(Text("! ", style="bold yellow"), Text(plain(problem), style="yellow"), width))
    lines.extend([Text(), *counts(status, width)])
    return lines


def node_table(nodes: Sequence[NodeResource], width: int, now: datetime) -> list[Text]:
    rows = [
        [
            _crown(node),
            Cell(node.name, "bold"),
            node_state(node.status),
            Cell(node.role),
            _slots(node),
            Cell(_limits(node), "dim"),
            *_load(node),
            Cell(_address(node)),
            Cell(pairs(node.tags)),
            Cell(node.version, "dim"),
            Cell(units.ago(node.last_seen, now) if node.last_seen else "never", "dim"),
        ]
        for node in nodes
    ]
    shown = [i for i, column in enumerate(_LIST) if column.title != "LIMITS" or any(map(_limits, nodes))]
    lines = lay([_LIST[i] for i in shown], [[row[i] for i in shown] for row in rows], width)
    return [*lines, *drains(nodes, width), *troubles(nodes, width)]


def node_story(node: NodeResource, width: int, now: datetime) -> list[Text]:
    """Everything about one node."""
    state = node_state(node.status)
    facts = [
        ("id", Text(plain(node.id))),
        ("state", Text.assemble((state.text, state.style), ("  takes tasks" if _takes(node) else "", "dim"))),
        ("draining", Text(plain(drain_sentence(node)), style="yellow")),
        ("trouble", Text(plain(node.trouble), style="red")),
        ("role", Text((f"{LEADER} leader" if node.role == "leader" else plain(node.role)) + _witness(node))),
        ("address", Text(plain(_address(node)))),
        ("slots", _slots(node)),
        ("speed", Text(f"↓ {units.size(node.download_speed)}/s   ↑ {units.size(node.upload_speed)}/s")),
        ("limits", Text(_limits(node))),
        ("lately", Text(f"up to {units.size(node.peak_speed)}/s" if node.peak_speed else "")),
        ("disk", _disk(node)),
        ("cpu", Text(units.percent(node.cpu_usage))),
        ("memory", Text(units.percent(node.memory_usage))),
        ("tags", Text(plain(pairs(node.tags)))),
        ("version", Text(plain(node.version))),
        ("aria2", Text(plain(node.engine))),
        ("running for", Text(units.duration(node.uptime) if node.uptime else "")),
        ("last heard", Text(units.ago(node.last_seen, now) if node.last_seen else "never")),
    ]
    lines = [Text(plain(node.name), style="bold")]
    for label, value in facts:
        if value.plain:
            lines.extend(hang(Text(f"  {label:<11}  ", style="dim"), value, width))
    return lines


def cluster_story(cluster: ClusterResource, width: int) -> list[Text]:
    """The cluster as a whole, who is missing, and who else is there."""
    missing = ", ".join(plain(node.name) for node in cluster.missing)
    others = [
        f"{plain(other.id)}: {units.plural(other.members, 'member')}, heard {', '.join(map(plain, other.nodes))}"
        for other in cluster.others
    ]
    facts = [
        ("id", Text(plain(cluster.id))),
        ("mode", Text(plain(cluster.mode))),
        ("members", Text(str(cluster.members))),
        ("voters", Text(str(cluster.voters))),
        ("leader", Text(f"{LEADER} {plain(cluster.leader.name)}" if cluster.leader else "none right now")),
        ("term", Text(str(cluster.term))),
        ("majority", Text("there", style="green") if cluster.has_quorum else Text("lost", style="bold red")),
        ("missing", Text(missing, style="red")),
        *(("also here", Text(other, style="yellow")) for other in others),
    ]
    lines = [Text(plain(cluster.name), style="bold")]
    for label, value in facts:
        if value.plain:
            lines.extend(hang(Text(f"  {label:<11}  ", style="dim"), value, width))
    return lines


def head(status: StatusResource, width: int) -> list[Text]:
    """Name, size and speed of the cluster, and who leads it."""
    cluster = status.cluster
    who = Text.assemble((plain(cluster.name), "bold"), "  ", units.plural(cluster.members, "node"))
    down = Text(f"↓ {units.size(status.download_speed)}/s", style="cyan")
    up = Text(f"↑ {units.size(status.upload_speed)}/s", style="cyan")
    slots_used = Text(f"{units.percent(status.system_load)} of the slots in use")
    if cluster.leader:
        leader = Text.assemble((f"{LEADER} ", "yellow"), plain(cluster.leader.name), " leads")
    else:
        leader = Text("no leader right now", style="red")
    term = Text(f"term {cluster.term}, {units.plural(cluster.voters, 'voter')},", style="dim")
    if cluster.has_quorum:
        quorum = Text("quorum ✓", style="green")
    else:
        quorum = Text("no quorum: nothing new is decided, what runs goes on", style="bold red")
    standing = flow([leader, term.append(" ").append_text(quorum)], width, indent=2, gap="  ")
    return [*flow([who, down, up, slots_used], width, indent=2), *standing]


def mode(status: StatusResource, width: int) -> list[Text]:
    """Who may come in."""
    is_open = status.cluster.mode == "open"
    said = "open: whoever is on this network may use it and join it" if is_open else plain(status.cluster.mode)
    return flow([Text(said, style="dim")], width, indent=2)


def headline(status: StatusResource) -> Text:
    """All of it on one line, for a log."""
    cluster = status.cluster
    line = Text.assemble((plain(cluster.name), "bold"), "  ", units.plural(cluster.members, "node"))
    line.append(f"  {LEADER} {plain(cluster.leader.name)}" if cluster.leader else "  no leader", style="yellow")
    line.append(f"  ↓ {units.size(status.download_speed)}/s", style="cyan")
    for state, number in status.tasks_by_status.items():
        if number:
            line.append(f"  {units.count(number)} {plain(state)}")
    return line


def counts(status: StatusResource, width: int) -> list[Text]:
    """How many tasks are in each state, the busy ones first."""
    order = ["downloading", "queued", "pending", "paused", "completed", "failed", "canceled"]
    order += [state.value for state in TaskState if state.value not in order]
    order += [state for state in status.tasks_by_status if state not in order]
    pieces = [Text(units.plural(status.total_tasks, "task"), style="bold")]
    for state in order:
        if number := status.tasks_by_status.get(state, 0):
            look = TASK.get(state, UNKNOWN)
            count = Text.assemble((f"{look.symbol} ", look.style), (units.count(number), "bold"), f" {plain(state)}")
            pieces.append(count)
    return flow(pieces, width, indent=pieces[0].cell_len + 3)


def troubles(nodes: Sequence[NodeResource], width: int) -> list[Text]:
    """A line for each node that takes no tasks: why."""
    lines = []
    for node in nodes:
        if node.trouble:
            head = Text.assemble(("! ", "bold yellow"), (f"{plain(node.name)}  ", "bold"))
            lines.extend(hang(head, Text(plain(node.trouble), style="yellow"), width))
    return lines


def drain_sentence(node: NodeResource) -> str:
    """How far a node is emptied; empty if it is not being emptied."""
    if node.drain_until is None:
        return ""
    away = node.status == "offline"
    if not node.tasks_left:
        return "empty, and offline" if away else "empty: it can be stopped now"
    left = f"{units.plural(node.tasks_left, 'task')} left"
    if away:
        return f"{left}; it is offline, and what it has begins anew elsewhere unless it is back soon"
    if node.drain_until > datetime.now(UTC):
        return f"{left}; what it has begun may be finished by {node.drain_until.astimezone():%H:%M:%S}"
    return f"{left}; each goes on here until another node has a slot for it"


def drains(nodes: Sequence[NodeResource], width: int) -> list[Text]:
    """A line for each node that is being emptied: how far."""
    lines = []
    for node in nodes:
        if sentence := drain_sentence(node):
            head = Text.assemble(("◐ ", "yellow"), (f"{plain(node.name)}  ", "bold"))
            lines.extend(hang(head, Text(plain(sentence)), width))
    return lines


def _limits(node: NodeResource) -> str:
    """Speed limits: `↓ 5.00 MB/s ↑ 500 kB/s`."""
    limits = (("↓", node.download_limit), ("↑", node.upload_limit))
    return " ".join(f"{arrow} {units.speed(limit)}" for arrow, limit in limits if limit)


def _crown(node: NodeResource) -> Cell:
    return Cell(LEADER if node.role == "leader" else "", "yellow")


def _load(node: NodeResource) -> list[Cell | Text]:
    heard = node.status != "offline"
    return [
        Cell(units.speed(node.download_speed), "cyan"),
        Cell(units.speed(node.upload_speed), "cyan"),
        Cell(units.size(node.disk_free) if heard and node.disk_total else ""),
        Cell(units.percent(node.cpu_usage) if heard else ""),
    ]


def _slots(node: NodeResource) -> Text:
    return slots(node.used_slots, node.total_slots)


def _disk(node: NodeResource) -> Text:
    if not node.disk_total:
        return Text()
    used = 1 - node.disk_free / node.disk_total
    line = bar(used, 20, style="red" if used > 0.95 else "green")
    return line.append(f"  {units.size(node.disk_free)} free of {units.size(node.disk_total)}")


def _witness(node: NodeResource) -> str:
    return ", a witness: it votes and downloads nothing" if node.witness else ""


def _takes(node: NodeResource) -> bool:
    return node.status == "online" and not node.trouble


def _address(node: NodeResource) -> str:
    return f"[{node.address}]:{node.port}" if ":" in node.address else f"{node.address}:{node.port}"
