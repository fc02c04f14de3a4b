"""The dispatcher's decision: what to assign and what to take back, from what is. Nothing is remembered between calls.

Level-triggered: asked again after its commands were applied it proposes nothing, and after a lost answer it proposes the
same again, which the table refuses or takes once.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from itertools import islice

from .commands import Assign, Command, Release
from .member import NodeView
from .placement import Candidate, choose
from .queue import Demand
from .table import TaskTable

MAX_COMMANDS = 64
"""Commands a decision: some 200 bytes each, so that a proposal stays far below its 32 KB."""


def candidates(table: TaskTable, nodes: Iterable[NodeView]) -> list[Candidate]:
    """The members with what the table has given them."""
    return [Candidate(view, table.load_of(view.member.id)) for view in nodes]


def decide(table: TaskTable, nodes: Iterable[NodeView], now: int, *, node_timeout: float) -> list[Command]:
    """What to propose now (`now` in ms, `node_timeout` in seconds); at most `MAX_COMMANDS`, more on the next call.

    Costs the assignments that it makes times the nodes, plus the distinct demands of what waits; not the table's size.
    """
    views = {view.member.id: view for view in nodes}
    lost = {node for node, view in views.items() if view.silent_for is not None and view.silent_for > node_timeout}
    # First back, then out, in decisions of their own: what is taken back may be more urgent than what waits.
    return list(islice(_release(table, views, lost), MAX_COMMANDS)) or list(
        islice(_assign(table, views, lost, now), MAX_COMMANDS)
    )


def _release(table: TaskTable, views: dict[str, NodeView], lost: set[str]) -> Iterable[Command]:
    """Take back what lost nodes hold. A node that this leader never heard has no `silent_for` yet: it is given time."""
    for node in table.busy_nodes():
        view = views.get(node)
        if view is not None and node not in lost:
            continue
        told = f"{view.member.name} was not heard for {view.silent_for:.0f} s" if view else "its node left the cluster"
        for task in table.assigned_to(node):
            yield Release(task.id, task.attempt, f"Taken back: {told}.")


def _assign(table: TaskTable, views: dict[str, NodeView], lost: set[str], now: int) -> Iterable[Command]:
    crew = {c.id: c for c in candidates(table, views.values()) if c.id not in lost}
    room = sum(c.room for c in crew.values())
    lines = table.queue.lines(now)
    heads: list[tuple[int, int, str, Demand]] = [
        (*head, demand) for demand, line in lines.items() if (head := next(line, None))
    ]
    heapify(heads)
    while heads and room > 0:
        *_, task_id, demand = heappop(heads)
        task = table.tasks[task_id]
        choice = choose(task, crew.values())
        if choice is None:
            continue  # nobody can take the head of this line, so nobody can take the rest
        taken = crew[choice.node]
        crew[choice.node] = taken._replace(load=taken.load + 1)
        room -= 1
        yield Assign(task.id, task.attempt + 1, choice.node, choice.reason)
        if head := next(lines[demand], None):
            heappush(heads, (*head, demand))
