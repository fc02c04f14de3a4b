"""The list of tasks: filtered, searched, sorted, and leafed through in pages.

A walk through the pages shows nothing twice and skips nothing that was there throughout. In the order of submission a cursor
says all by itself, on every node. Another order changes under the reader, so that this node keeps it as it was when the walk
began; the rows on a page are as they are now.
"""

import asyncio
import secrets
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ariacluster.domain.errors import Conflict, InvalidInput
from ariacluster.domain.task import Task, TaskState
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import TaskResource
from ariacluster.wire.routes import SORTS
from ariacluster_node.ports import Clock

from .catalogue import PART, Catalogue, parts
from .members import Members
from .replica import Replica
from .tasks import Tasks

MAX_WALKS = 32
"""Walks in other orders that are remembered: 0.8 MB each with 100,000 tasks."""

WALK_S = 600.0
"""Seconds that a reader may take from one page to the next."""

REMEMBERED = 4
"""Answers to the last questions: who leafs by number asks the same again and again."""

REMEMBERED_S = 1.0
"""Seconds for which an order by speed or progress is good enough, which changes with every report."""


class Wanted(NamedTuple):
    """Which tasks: all that is named holds of them. `node` is an id, `q` in one case, a tag without a value None."""

    ids: tuple[str, ...] = ()
    states: frozenset[TaskState] = frozenset()
    node: str | None = None
    tags: tuple[tuple[str, str | None], ...] = ()
    q: str = ""

    @property
    def plain(self) -> bool:
        """The indexes of the table tell all by themselves."""
        return not (self.ids or self.node or self.tags or self.q)

    def fits(self, task: Task) -> bool:
        """As far as the row itself tells: all but `q`."""
        return (
            (not self.states or task.state in self.states)
            and (self.node is None or task.node == self.node)
            and all(key in task.spec.tags and value in (None, task.spec.tags[key]) for key, value in self.tags)
            and (not self.ids or task.id in self.ids)
        )


class Page(NamedTuple):
    """`total` counts all that fit, `cursor` is where it goes on; None: that is all."""

    tasks: list[TaskResource]
    total: int
    cursor: str | None


class Walk(NamedTuple):
    """A list as it was when somebody began to walk through it."""

    wanted: Wanted
    sort: str
    seqs: "array[int]"
    total: int


class Answer(NamedTuple):
    """What fits a question, in order, as of a version of the table and a moment (s)."""

    version: int
    at: float
    seqs: "array[int]"


class Listing:
    """Answers `GET /tasks`, and finds what a filter fits."""

    def __init__(self, replica: Replica, tasks: Tasks, members: Members, catalogue: Catalogue, clock: Clock) -> None:
        self._replica = replica
        self._tasks = tasks
        self._members = members
        self._catalogue = catalogue
        self._clock = clock
        self._walks: dict[str, tuple[Walk, float]] = {}
        self._answers: dict[tuple[Wanted, str], Answer] = {}

    def wanted(self, asked: TaskFilter) -> Wanted:
        """`InvalidInput` names what there is not."""
        return Wanted(
            ids=tuple(one.lower() for one in asked.ids),
            states=frozenset(map(_state, asked.state)),
            node=self._members.find(asked.node).id if asked.node is not None else None,
            tags=tuple(map(_tag, asked.tag)),
            q=asked.q.casefold(),
        )

    async def matching(self, wanted: Wanted) -> list[str]:
        """Ids of all that fit, in the order of submission."""
        order = self._replica.table.order
        return [task_id for seq in await self._seqs(wanted, "created") if (task_id := order.get(seq))]

    async def page(self, wanted: Wanted, *, sort: str, cursor: str | None, offset: int, limit: int) -> Page:
        """A page of `limit` rows, from `cursor` (a former page's) or after the first `offset`; `sort` as `routes.SORTS` with a
        leading `-` backwards. `InvalidInput` if there is no such order or cursor, `Conflict` for a cursor that is forgotten."""
        name = sort.removeprefix("-")
        if name not in SORTS:
            raise InvalidInput(
                f"There is no order {sort!r}; there are {', '.join(SORTS)}, or one with a - in front.", field="sort"
            )
        if cursor is not None and offset:
            raise InvalidInput("Say either cursor or offset.", field="offset")
        if name == "created":
            return await self._page_by_seq(wanted, sort, _number(cursor), offset, limit)
        if cursor is not None:
            token, _, at = cursor.partition(".")
            return self._go_on(wanted, sort, token, _number(at) or 0, limit)
        seqs = await self._seqs(wanted, sort)
        if len(seqs) <= offset + limit:
            return Page(self._rows(wanted, seqs[offset:]), len(seqs), None)
        walk = Walk(wanted, sort, seqs, len(seqs))
        return self._step(self._begin(walk), walk, offset, limit)

    # -- in the order of submission -----------------------------------------------------------------------------

    async def _page_by_seq(self, wanted: Wanted, sort: str, cursor: int | None, offset: int, limit: int) -> Page:
        backwards = sort.startswith("-")
        table = self._replica.table
        line = next((table.by_state[s] for s in wanted.states), None) if len(wanted.states) == 1 else table.order
        seqs: Sequence[int]
        if wanted.plain and line is not None and len(wanted.states) < 2:
            seqs = line.keys()
        else:
            seqs = await self._seqs(wanted, "created")
        total = len(seqs)
        if backwards:
            end = total if cursor is None else bisect_left(seqs, cursor)
            end = max(0, end - offset)
            chosen = list(seqs[max(0, end - limit) : end])[::-1]
            more = end > limit
        else:
            start = offset if cursor is None else bisect_right(seqs, cursor)
            chosen = list(seqs[start : start + limit])
            more = total > start + limit
        return Page(self._rows(wanted, chosen), total, str(chosen[-1]) if more and chosen else None)

    # -- in any other -------------------------------------------------------------------------------------------

    def _begin(self, walk: Walk) -> str:
        """Remember how the list is now; the token to go on by."""
        now = self._clock.monotonic()
        for old in [token for token, (_, used) in self._walks.items() if now - used > WALK_S]:
            del self._walks[old]
        while len(self._walks) >= MAX_WALKS:
            del self._walks[min(self._walks, key=lambda token: self._walks[token][1])]
        token = secrets.token_hex(6)
        self._walks[token] = (walk, now)
        return token

    def _go_on(self, wanted: Wanted, sort: str, token: str, at: int, limit: int) -> Page:
        walk, used = self._walks.get(token, (None, 0.0))
        now = self._clock.monotonic()
        if walk is None or now - used > WALK_S:
            raise Conflict(
                "This node does not know that cursor any more; in this order it is good for ten minutes, and at the node that "
                "gave it. Ask again without it.",
                field="cursor",
            )
        if (walk.wanted, walk.sort) != (wanted, sort):
            raise InvalidInput("That cursor belongs to another list; ask without it.", field="cursor")
        self._walks[token] = (walk, now)
        return self._step(token, walk, at, limit)

    def _step(self, token: str, walk: Walk, at: int, limit: int) -> Page:
        """The page is filled up in place of rows that are gone, or fit no more."""
        rows: list[TaskResource] = []
        while at < len(walk.seqs) and len(rows) < limit:
            part = walk.seqs[at : at + limit - len(rows)]
            rows += self._rows(walk.wanted, part)
            at += len(part)
        return Page(rows, walk.total, f"{token}.{at}" if at < len(walk.seqs) else None)

    def _rows(self, wanted: Wanted, seqs: Iterable[int]) -> list[TaskResource]:
        table = self._replica.table
        tasks = [table.tasks[task_id] for seq in seqs if (task_id := table.order.get(seq))]
        return self._tasks.resources(task for task in tasks if wanted.fits(task))

    # -- finding ------------------------------------------------------------------------------------------------

    async def _seqs(self, wanted: Wanted, sort: str) -> "array[int]":
        """All that fit, in that order. Walks that begin at the same list share it: nobody changes it."""
        if wanted.ids:
            tasks = self._replica.table.tasks
            chosen = {task.seq for i in wanted.ids if (task := tasks.get(i)) is not None}
            if sort == "created":
                return array("Q", await self._sieved(wanted, sorted(chosen)))
        question, now = (wanted, sort), self._clock.monotonic()
        known = self._answers.get(question)
        lively = sort.removeprefix("-") in ("speed", "progress")
        if known and known.version == self._catalogue.version and not (lively and now - known.at > REMEMBERED_S):
            return known.seqs
        version = self._catalogue.version
        if sort == "created" and wanted.states:
            lines = self._replica.table.by_state
            seqs = sorted(seq for state in wanted.states for seq in lines[state])
        else:
            seqs = await self._catalogue.sorted_by(sort.removeprefix("-"))
        if sort.startswith("-"):
            seqs.reverse()
        found = array("Q", await self._sieved(wanted, seqs))
        self._answers.pop(question, None)
        while len(self._answers) >= REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._answers[question] = Answer(version, now, found)
        return found

    async def _sieved(self, wanted: Wanted, seqs: list[int]) -> list[int]:
        """Those that fit. One condition after the other, each over a part of the rows at a time: a hundred thousand rows cost
        some 10 ms for each, and nobody waits for longer than for one part."""
        if wanted.plain and not wanted.states:
            return seqs
        words = await self._catalogue.words() if wanted.q else {}
        found: list[int] = []
        for part in parts(seqs, PART):
            found += self._sieve(wanted, part, words)
            await asyncio.sleep(0)
        return found

    def _sieve(self, wanted: Wanted, part: Sequence[int], words: dict[int, str]) -> Sequence[int]:
        table = self._replica.table
        order, tasks = table.order, table.tasks
        if wanted.q:
            q = wanted.q
            part = [seq for seq in part if q in words.get(seq, "")]
        if not (wanted.states or wanted.node or wanted.tags or wanted.ids):
            return part
        rows = [tasks[task_id] for seq in part if (task_id := order.get(seq))]
        if wanted.states:
            rows = [task for task in rows if task.state in wanted.states]
        if wanted.node:
            rows = [task for task in rows if task.node == wanted.node]
        return [task.seq for task in rows if not (wanted.tags or wanted.ids) or wanted.fits(task)]


def _state(word: str) -> TaskState:
    try:
        return TaskState(word)
    except ValueError:
        known = ", ".join(state.value for state in TaskState)
        raise InvalidInput(f"A task is never {word!r}; states are {known}.", field="state") from None


def _tag(text: str) -> tuple[str, str | None]:
    key, separator, value = text.partition("=")
    return key, value if separator else None


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidInput("Give the cursor that a page came with, in its Link.", field="cursor")
    return int(cursor)
