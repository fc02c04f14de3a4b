"""What must hold of a table at any moment: every index equals what a full scan says, and every row makes sense by itself."""

import re
from collections import Counter

from sortedcontainers import SortedDict

from ariacluster.domain.identity import identities
from ariacluster.domain.queue import Demand, demand_of
from ariacluster.domain.table import FORGOTTEN_AT_ONCE, REMEMBERED_PROPOSALS, TaskTable
from ariacluster.domain.task import ASSIGNED, MAX_FAILURES, Task, TaskSpec, TaskState

DAY_MS = 24 * 60 * 60 * 1000

PORT_OF = {"http": 80, "https": 443, "ftp": 21, "sftp": 22}


def check(table: TaskTable) -> None:
    """Every index equals what a full scan says, and every row makes sense by itself."""
    rows = table.tasks
    assert all(rows[task_id].id == task_id for task_id in rows)
    assert len({row.seq for row in rows.values()}) == len(rows), "two rows share a seq"
    assert all(row.seq < table.next_seq for row in rows.values())
    assert dict(table.order) == {row.seq: row.id for row in rows.values()}
    for state in TaskState:
        expected = {row.seq: row.id for row in rows.values() if row.state is state}
        assert table.by_state[state] == SortedDict(expected), f"by_state[{state}]"
    _check_assigned(table)
    _check_connections(table)
    _check_queue(table)
    _check_fetched(table)
    for row in rows.values():
        _check_row(row)
    assert all(member.id == node for node, member in table.members.items())
    assert all(hold.strikes > 0 for hold in table.origins.values())
    assert len(table.recent) < REMEMBERED_PROPOSALS + FORGOTTEN_AT_ONCE


def _check_assigned(table: TaskTable) -> None:
    by_node: dict[str, list[Task]] = {}
    for row in sorted(table.tasks.values(), key=lambda row: row.id):
        if row.state in ASSIGNED:
            assert row.node is not None
            by_node.setdefault(row.node, []).append(row)
    assert table.busy_nodes() == sorted(by_node)
    for node in {*by_node, *table.members, "nobody"}:
        mine = by_node.get(node, [])
        assert list(table.assigned_to(node)) == mine
        assert table.load_of(node) == len(mine)
        idle = sorted((row for row in mine if row.state is TaskState.QUEUED), key=lambda row: -row.seq)
        assert list(table.idle_at(node)) == idle, "the youngest first"
        assert table.idle_count(node) == len(idle)
        assert table.expected_on(node) == sum(row.size for row in mine)
        assert table.unsized_on(node) == sum(row.size == 0 for row in mine)
    assert table._idle.keys() <= by_node.keys(), "nothing is left of a node that has no task"
    assert table._expected.keys() <= by_node.keys()


def _check_connections(table: TaskTable) -> None:
    open_to: Counter[str] = Counter()
    for row in table.tasks.values():
        if row.state in ASSIGNED:
            for origin in servers(row.spec):
                open_to[origin] += row.connections or _by_itself(row.spec)
    assert table._connections == dict(open_to), "and nothing is left of an origin that nobody asks"
    for origin in (*open_to, "nobody:80"):
        assert table.connections_to(origin) == open_to[origin]


def _check_fetched(table: TaskTable) -> None:
    """Who fetches what, and nothing is left of those that do no more."""
    found: dict[int, list[int]] = {}
    for row in sorted(table.tasks.values(), key=lambda row: row.seq):
        if row.state not in (TaskState.FAILED, TaskState.CANCELED):
            for key in identities(row.spec):
                found.setdefault(key, []).append(row.seq)
    assert table._fetched == {key: tuple(seqs) if len(seqs) > 1 else seqs[0] for key, seqs in found.items()}


def fetched(spec: TaskSpec) -> set[str]:
    """What its links lead to, by a plain reading of them: without user and fragment, and small letters where they count."""
    found = set()
    for url in spec.urls:
        parts = re.fullmatch(r"(\w+)://(?:[^/@]*@)?(\[[^]]*\]|[^/:?#]+)(?::(\d+))?([^#]*)(?:#.*)?", url)
        if parts:
            scheme, host, port, rest = parts.groups()
            path = rest if rest.startswith("/") else f"/{rest}"
            found.add(f"{scheme.lower()} {host.lower()} {port or PORT_OF[scheme.lower()]} {path}")
        elif btih := re.search("btih:([0-9a-fA-F]{40})", url):
            found.add(btih[1].lower())
    return found


def derived(table: TaskTable) -> dict[str, object]:
    """Every index as plain values, to compare two copies of a table; `given_to` may differ, and does."""
    queue = table.queue
    return {
        "by_state": {state.value: dict(found) for state, found in table.by_state.items()},
        "order": dict(table.order),
        "assigned": {node: sorted(ids) for node, ids in table._assigned.items()},
        "idle": {node: dict(found) for node, found in table._idle.items()},
        "expected": dict(table._expected),
        "connections": dict(table._connections),
        "waiting": dict(queue._waiting),
        "delayed": list(queue._delayed),
        "lines": {demand: {o: list(line) for o, line in group.lines.items()} for demand, group in queue.groups.items()},
        "heads": {demand: list(group.heads.items()) for demand, group in queue.groups.items()},
    }


def servers(spec: TaskSpec) -> tuple[str, ...]:
    """`host:port` of each link that has one, by a plain reading of it."""
    found = set()
    for url in spec.urls:
        if parts := re.fullmatch(r"(\w+)://(?:[^/@]*@)?(\[[^]]*\]|[^/:?#]+)(?::(\d+))?(?:[/?#].*)?", url):
            scheme, host, port = parts.groups()
            if scheme.lower() in PORT_OF:
                found.add(f"{host.lower()}:{port or PORT_OF[scheme.lower()]}")
    return tuple(sorted(found))


def _by_itself(spec: TaskSpec) -> int:
    """Connections that aria2 opens to one server, if it is told nothing: `split`, bounded per server."""
    return max(1, min(int(spec.options.get("split", 8)), int(spec.options.get("max-connection-per-server", 16)), 16))


def _check_queue(table: TaskTable) -> None:
    queue = table.queue
    pending = {row.id: row for row in table.tasks.values() if row.state is TaskState.PENDING}
    assert len(queue) == len(pending)
    assert queue._waiting == pending
    delayed = list(queue._delayed)
    assert delayed == sorted(delayed)
    assert all(pending[task_id].not_before == due for due, task_id in delayed)
    late = {task_id for _, task_id in delayed}
    assert len(late) == len(delayed)
    assert all(row.not_before for row in pending.values() if row.id in late), "nothing holds it back"
    expected: dict[Demand, dict[tuple[str, ...], list[tuple[int, int, str]]]] = {}
    for row in sorted(pending.values(), key=lambda row: (row.turn, row.seq)):
        if row.id not in late:
            lines = expected.setdefault(demand_of(row), {})
            lines.setdefault(servers(row.spec), []).append((row.turn, row.seq, row.id))
    found = {demand: {key: list(line) for key, line in group.lines.items()} for demand, group in queue.groups.items()}
    assert found == expected
    for demand, group in queue.groups.items():
        heads = sorted((line[0], key) for key, line in expected[demand].items())
        assert list(group.heads.items()) == heads, "the first of each line, in their order"
    assert queue.next_due() == (min(delayed)[0] if delayed else None)


def _check_row(row: Task) -> None:
    assert row.attempt >= 0
    assert (row.node is None) == (row.attempt == 0), "the node is that of the last attempt"
    assert (row.result is not None) == (row.state is TaskState.COMPLETED)
    assert row.not_before == 0 or row.state is TaskState.PENDING
    assert len(row.failures) <= MAX_FAILURES
    assert all(failure.attempt <= row.attempt for failure in row.failures)
    assert row.tries <= row.attempt
    assert row.size >= 0
    assert row.bytes_on is None or row.attempt > 0, "bytes of a task that nobody had"
    if row.state is TaskState.DOWNLOADING:
        assert row.bytes_on == row.node, "who downloads has the bytes"
    if row.state in (TaskState.COMPLETED, TaskState.CANCELED):
        assert row.bytes_on is None, "no bytes are kept for it"
    assert row.holder is None or (row.state in ASSIGNED and row.holder == row.bytes_on != row.node)
