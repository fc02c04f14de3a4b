"""The cluster on a whole terminal: who leads whom, how fast, what runs, what happened. Drawn from a scene alone."""

from collections.abc import Sequence

from rich.text import Text

from ariacluster.cli import units
from ariacluster.cli.cluster_view import counts, drains, head, troubles
from ariacluster.cli.event_view import event_line
from ariacluster.cli.grid import Cell, Column, hang, lay
from ariacluster.cli.looks import LEADER, NODE, UNKNOWN, slots, spark
from ariacluster.cli.plain import elide, plain
from ariacluster.cli.scene import Scene
from ariacluster.cli.watch_view import rows
from ariacluster.wire.resources import NodeResource

_COLUMNS = [
    Column("NODE", least=18),
    Column("SLOTS", keep=9),
    Column("DOWN", right=True, keep=8),
    Column("", keep=5),
    Column("UP", right=True, keep=3),
    Column("DISK FREE", right=True, keep=4),
    Column("CPU", right=True, keep=2),
    Column("", keep=1),
]

SPARK_NODE = 16
LEAST_EVENTS = 3
"""Rows for what happened, where there is any room."""

HINT = "q ends this; the downloads go on"


def draw(scene: Scene, width: int, height: int) -> list[Text]:
    """At most `height` lines of at most `width` cells. What gives way where there is little room: what happened, then the
    downloads, then the nodes."""
    top = [*head(scene.status, width), _speeds(scene, width)]
    told = [*counts(scene.status, width), *_problems(scene, width)]
    foot = [_foot(scene, width)]
    room = height - len(top) - len(told) - len(foot) - 3  # and an empty line between the parts
    nodes = _nodes(scene, width)
    nodes = _cut(nodes, max(4, room // 2 if scene.top else room - LEAST_EVENTS), "node")
    room -= len(nodes)
    runs = rows(scene.top, scene.pace, width, scene.beat) if scene.top else []
    runs = runs[: max(0, room - (LEAST_EVENTS + 1 if room > 8 else 0))]
    room -= len(runs)
    events = _events(scene, width, room - 1)
    parts = [top, nodes, runs, told, events]
    lines = [line for part in parts if part for line in (*part, Text())][: max(1, height - 1)]
    lines += [Text()] * (height - 1 - len(lines))
    return [*lines, *foot][:height]


def tree(nodes: Sequence[NodeResource]) -> list[tuple[str, NodeResource]]:
    """The nodes as the leader's: each with its branch. A learner hangs by a thinner one; without a leader nobody hangs on
    anybody."""
    leaders = [node for node in nodes if node.role == "leader"]
    others = sorted(
        (node for node in nodes if node.role != "leader"), key=lambda node: (node.role != "voter", node.name)
    )
    found = [(f"{LEADER} ", node) for node in leaders]
    for position, node in enumerate(others):
        if not leaders:
            branch = "  "
        elif position == len(others) - 1:
            branch = "└─" if node.role == "voter" else "└╌"
        else:
            branch = "├─" if node.role == "voter" else "├╌"
        found.append((branch, node))
    return found


def _speeds(scene: Scene, width: int) -> Text:
    """The cluster's speed over the last minutes."""
    peak = max(scene.speeds, default=0.0)
    label = f"  peak {units.size(peak)}/s" if peak >= 1 else ""
    line = spark(scene.speeds, max(0, width - len(label)))
    return line.append(label, style="dim")


def _nodes(scene: Scene, width: int) -> list[Text]:
    table: list[list[Cell | Text]] = []
    for branch, node in tree(list(scene.nodes.values())):
        look = NODE.get(node.status, UNKNOWN)
        heard = node.status != "offline"
        name = Text.assemble(
            (branch, "yellow" if branch.startswith(LEADER) else "bright_black"), (look.symbol, look.style), " "
        )
        name.append(elide(node.name, 24), style="bold" if heard else "dim")
        speeds = scene.node_speeds.get(node.id, ())
        table.append(
            [
                name,
                slots(node.used_slots, node.total_slots) if heard else Text(plain(node.status), style=look.style),
                Cell(units.speed(node.download_speed), "cyan"),
                spark(speeds, SPARK_NODE) if heard else Text(" " * SPARK_NODE),
                Cell(units.speed(node.upload_speed), "cyan"),
                Cell(units.size(node.disk_free) if heard and node.disk_total else ""),
                Cell(units.percent(node.cpu_usage) if heard else ""),
                Cell("witness" if node.witness else "" if node.role in ("leader", "voter") else node.role, "dim"),
            ]
        )
    return lay(_COLUMNS, table, width)


def _cut(lines: list[Text], most: int, noun: str) -> list[Text]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"   … and {units.plural(len(lines) - most + 1, noun)} more", style="dim")]


def _problems(scene: Scene, width: int) -> list[Text]:
    nodes = list(scene.nodes.values())
    lines = drains(nodes, width)
    lines += troubles([n for n in nodes if not any(n.trouble and n.trouble in p for p in scene.status.problems)], width)
    for problem in scene.status.problems:
        lines += hang(Text("! ", style="bold yellow"), Text(plain(problem), style="yellow"), width)
    return lines


def _events(scene: Scene, width: int, most: int) -> list[Text]:
    if most < 1 or not scene.latest:
        return []
    return [event_line(entry, width, short=True) for entry in list(scene.latest)[-most:]]


def _foot(scene: Scene, width: int) -> Text:
    if scene.trouble:
        waiting = f"↻ reconnecting{'.' * (scene.beat % 4):<3}  "
        return Text(waiting, style="bold yellow").append(elide(scene.trouble, width - len(waiting)), style="yellow")
    if scene.stale:
        sentence = f"This may be old: no leader vouches for what {plain(scene.status.node.name)} knows."
        return Text(elide(sentence, width), style="yellow")
    return Text(elide(f"seen by {scene.status.node.name}   {HINT}", width), style="dim")
