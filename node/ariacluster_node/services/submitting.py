"""Taking tasks in, one or thousands, and changing what was asked of them. What comes in is checked here, and decided in the
table: what is there already, who fetches the same.
"""

import asyncio
import hashlib
import secrets as dice
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from ariacluster.domain import intake, selection
from ariacluster.domain.commands import Edit, Refusal, Relink, Submit
from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    InvalidInput,
    NoSuchTask,
    TaskExists,
    TaskRemoved,
    by_code,
)
from ariacluster.domain.task import FINAL, Task, TaskSpec, mark_of
from ariacluster.wire import link_list
from ariacluster.wire.problems import problem_of
from ariacluster.wire.requests import ImportRequest, RelinkRequest, TaskCreate, TaskPatch
from ariacluster.wire.resources import BatchItem, BatchResult
from ariacluster.wire.routes import MAX_BATCH
from ariacluster_node.ports import Clock

from .cluster import Cluster
from .documents import Documents
from .probing import Probing
from .replica import ON_THEIR_WAY, Replica
from .secrets import Secrets

CHECKED_AT_ONCE = 200
"""Tasks that are checked until others have their turn: about 2 ms."""

EDIT_TRIES = 3
"""Somebody else may change the same task at the same time; then the change is made of what that one left."""


PLACEHOLDER = "magnet:?xt=urn:btih:"
"""Stands for the link of a document while the rest is checked: the same holds for both."""


class Submitting:
    """What the API and its like bring in."""

    def __init__(
        self,
        replica: Replica,
        cluster: Cluster,
        clock: Clock,
        probing: Probing,
        secrets: Secrets,
        documents: Documents,
    ) -> None:
        self._replica = replica
        self._cluster = cluster
        self._clock = clock
        self._probing = probing
        self._secrets = secrets
        self._documents = documents

    async def one(self, create: TaskCreate, key: str | None) -> str:
        """Take a task in; its id. Committed when this returns. The same `key` again answers the same task. `Duplicate` names
        the task that fetches the same."""
        spec = await self._with_document(create) or self._spec(create)
        task_id = dice.token_hex(8) if key is None else self._id_of(key)
        submit = self._submit(task_id, spec, create)
        [outcome] = await self._replica.propose([submit])
        if isinstance(outcome, Refusal):
            raise _refused(outcome)
        if submit.asking:
            self._probing.begin(task_id, spec)
        return task_id

    async def all(self, creates: Sequence[TaskCreate], key: str | None) -> BatchResult:
        """Take in as many as there are, each for itself. Committed when this returns; of two that fetch the same, the later is
        refused."""
        return await self._take([(0, create) for create in creates], key, field="tasks")

    async def listed(self, asked: ImportRequest, key: str | None) -> BatchResult:
        """Take in what a list says; what its lines do not say is as in `defaults`."""
        defaults = asked.defaults
        if any(value is not None for value in (defaults.url, defaults.urls, defaults.torrent, defaults.metalink)):
            raise InvalidInput("The links stand in the text; leave those of the defaults empty.", field="defaults")
        entries, troubles = await asyncio.to_thread(link_list.read, asked.text)
        broken = {trouble.entry or -trouble.line: trouble for trouble in reversed(troubles)}
        wanted: list[tuple[int, TaskCreate | InvalidInput]] = []
        for entry in entries:
            if (trouble := broken.pop(entry.line, None)) is not None:
                wanted.append((entry.line, InvalidInput(trouble.sentence, field="text")))
            else:
                wanted.append((entry.line, _as_listed(entry, defaults)))
        wanted += [(trouble.line, InvalidInput(trouble.sentence, field="text")) for trouble in broken.values()]
        wanted.sort(key=lambda item: item[0])
        if not wanted:
            raise InvalidInput("The list names no download: write one link a line.", field="text")
        return await self._take(wanted, key, field="text")

    async def edit(self, task_id: str, patch: TaskPatch) -> None:
        """Change what was asked of a task. `IllegalMove` for one that is over, `InvalidInput` names the field."""
        for left in reversed(range(EDIT_TRIES)):
            task = self._replica.table.tasks.get(task_id)
            if task is None:
                raise NoSuchTask(f"There is no task {task_id}.")
            spec = self._patched(task, patch)
            size = await self._size_of(spec, task.spec)
            try:
                await self._replica.change(Edit(task.id, spec, mark_of(task.spec), size))
                return
            except Conflict:
                row = self._replica.table.tasks.get(task.id)
                if not left or row is None or row.state in FINAL or row.spec == task.spec:
                    raise

    # -- inside -------------------------------------------------------------------------------------------------

    async def _take(
        self, wanted: Sequence[tuple[int, TaskCreate | InvalidInput]], key: str | None, *, field: str
    ) -> BatchResult:
        if len(wanted) > MAX_BATCH:
            raise InvalidInput(f"At most {MAX_BATCH:,} tasks fit one request; these are {len(wanted):,}.", field=field)
        results: list[BatchItem] = []
        submits: list[Submit] = []
        places: list[int] = []
        for position, (line, create) in enumerate(wanted):
            if position % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
                ids = _ids(CHECKED_AT_ONCE)
            task_id = ids[position % CHECKED_AT_ONCE] if key is None else self._id_of(f"{key}\n{position}")
            try:
                if isinstance(create, InvalidInput):
                    raise create
                spec = await self._with_document(create) or self._spec(create)
                submits.append(self._submit(task_id, spec, create))
            except AriaClusterError as error:
                results.append(BatchItem(problem=problem_of(error), line=line))
                continue
            places.append(position)
            results.append(BatchItem(id=task_id, line=line))
        refused = 0
        outcomes = await self._replica.propose_many(submits, at_once=ON_THEIR_WAY)
        for place, submit, outcome in zip(places, submits, outcomes, strict=True):
            if isinstance(outcome, Refusal):
                results[place] = BatchItem(problem=problem_of(_refused(outcome)), line=wanted[place][0])
                refused += 1
            elif submit.asking:
                self._probing.begin(submit.task, submit.spec)
        accepted = len(submits) - refused
        return BatchResult(accepted=accepted, refused=len(wanted) - accepted, results=results)

    def _submit(self, task_id: str, spec: TaskSpec, create: TaskCreate) -> Submit:
        asking = self._probing.asking(spec)
        return Submit(task_id, spec, asking=asking, paused=create.paused, unique=not create.force)

    async def relink(self, task: Task, asked: RelinkRequest) -> None:
        """Give a task another link to the same file."""
        urls, headers = intake.check_links(urls_of(asked), asked.headers, task.spec)
        sealed = self._secrets.sealed(TaskSpec(urls=urls, headers=headers or ()))
        await self._replica.change(Relink(task.id, sealed.urls, None if headers is None else sealed.headers))
        row = self._replica.table.tasks.get(task.id)
        if row is not None and self._probing.asking(row.spec):
            self._probing.begin(row.id, row.spec)

    async def _with_document(self, create: TaskCreate) -> TaskSpec | None:
        """Of an upload, once a majority has it; None if it is none."""
        given = {"torrent": create.torrent, "metalink": create.metalink}
        uploads = {kind: text for kind, text in given.items() if text is not None}
        if not uploads:
            return None
        if len(uploads) + (create.url is not None) + (create.urls is not None) > 1:
            raise InvalidInput("Give one of url, urls, torrent and metalink.", field=next(iter(uploads)))
        if create.out is not None or "out" in create.options:
            raise InvalidInput("A document names its files by itself; leave this out.", field="out")
        # Looked at before the document goes round: what is wrong with the rest is told at once.
        spec = self._spec(msgspec.structs.replace(create, urls=[PLACEHOLDER]))
        [(kind, text)] = uploads.items()
        document = await self._documents.take(kind, text, spec.options)
        return msgspec.structs.replace(spec, urls=(document.link,), document=document)

    def _spec(self, create: TaskCreate) -> TaskSpec:
        return self._secrets.sealed(self._checked(create))

    def _checked(self, create: TaskCreate) -> TaskSpec:
        return intake.check(
            urls=urls_of(create),
            out=create.out,
            dir=create.dir,
            options=create.options,
            headers=create.headers,
            checksum=create.checksum,
            priority=create.priority,
            tags=create.tags,
            prefer_tags=create.prefer_tags,
            node=create.node,
            max_attempts=create.max_attempts,
            not_before=self._moment(create.not_before),
            now=self._clock.now(),
        )

    def _patched(self, task: Task, patch: TaskPatch) -> TaskSpec:
        old = self._secrets.opened(task.spec)
        spec = intake.check(
            urls=[PLACEHOLDER] if old.document else old.urls,
            out=old.out if patch.out is UNSET else patch.out,
            dir=old.dir if patch.dir is UNSET else patch.dir,
            options=_merged(old.options, patch.options),
            headers=old.headers if patch.headers is UNSET else patch.headers,
            checksum=old.checksum if patch.checksum is UNSET else patch.checksum,
            priority=old.priority.name if patch.priority is UNSET else patch.priority,
            tags=_merged(old.tags, patch.tags),
            prefer_tags=_merged(old.prefer_tags, patch.prefer_tags),
            node=old.node if patch.node is UNSET else patch.node,
            max_attempts=(old.max_attempts or None) if patch.max_attempts is UNSET else patch.max_attempts,
            not_before=old.not_before if patch.not_before is UNSET else self._moment(patch.not_before),
        )
        if old.document is not None and spec.out is not None:
            raise InvalidInput("A document names its files by itself; leave this out.", field="out")
        return self._secrets.sealed(msgspec.structs.replace(spec, urls=old.urls, document=old.document))

    async def _size_of(self, new: TaskSpec, old: TaskSpec) -> int | None:
        """Bytes that the task has from now on, if other files of it are wanted; 0: nobody knows before aria2 does."""
        if selection.alike(new.options, old.options):
            return None
        if new.document is not None:
            return await self._documents.size_of(new.document, new.options)
        return 0 if any(map(intake.is_document, new.urls)) else None

    def _moment(self, when: datetime | None) -> int:
        """Milliseconds. What is past already waits for nothing."""
        ms = round(when.timestamp() * 1000) if when is not None else 0
        if ms > self._clock.now() + intake.MAX_AHEAD_MS:
            raise InvalidInput("Give a time within the next ten years.", field="not_before")
        return max(0, ms)

    def _id_of(self, key: str) -> str:
        """The id that a caller's key always leads to: the key needs no table of its own."""
        cluster_id = self._cluster.membership.cluster_id if self._cluster.membership else ""
        return hashlib.sha256(f"{cluster_id}\n{key}".encode()).hexdigest()[:16]


def _ids(count: int) -> list[str]:
    """Ids of new tasks. To ask for each one's dice alone takes as long as to check the task."""
    drawn = dice.token_hex(8 * count)
    return [drawn[start : start + 16] for start in range(0, len(drawn), 16)]


def urls_of(asked: TaskCreate | RelinkRequest) -> list[str]:
    """The links of one file, from either field."""
    if asked.urls is not None and asked.url is None:
        return asked.urls
    if asked.url is not None and asked.urls is None:
        return [asked.url]
    raise InvalidInput("Give either url or urls (mirrors of one file).", field="url")


def _merged(old: Mapping[str, Any], patch: Mapping[str, Any] | msgspec.UnsetType) -> dict[str, Any]:
    """As RFC 7396 merges objects: null takes away."""
    if patch is UNSET:
        return dict(old)
    merged = {**old, **patch}
    return {name: value for name, value in merged.items() if value is not None}


def _as_listed(entry: link_list.Entry, defaults: TaskCreate) -> TaskCreate:
    """What the lines say, and of the rest the defaults."""
    return msgspec.structs.replace(
        defaults,
        urls=entry.urls,
        out=entry.out or defaults.out,
        dir=entry.folder or defaults.dir,
        checksum=entry.checksum or defaults.checksum,
        headers=[*defaults.headers, *entry.headers],
        options={**defaults.options, **entry.options},
    )


def _refused(refusal: Refusal) -> AriaClusterError:
    """Why the table did not take a task in, for whoever submitted it."""
    error = by_code(refusal.code)
    if error is TaskExists:
        return Conflict("This Idempotency-Key was used for another task; use a new one.")
    if error is TaskRemoved:
        return Conflict("The task of this Idempotency-Key was removed; use a new one.")
    if refusal.task:
        return error(f"{refusal.detail} Say force to fetch it all the same.", task=refusal.task)
    return error(refusal.detail)
