"""Uploaded torrents and Metalinks: read, kept, and on a majority of the voters before anybody is told that a task is taken in.

Every node fetches what the table's rows refer to and it lacks, and lets go of what no row has referred to for a while. Then any
of them may be given the task.
"""

import asyncio
import base64
import binascii
from collections.abc import Iterable, Mapping

import msgspec
import structlog

from ariacluster.domain import selection
from ariacluster.domain.document import MAX_DOCUMENT, MAX_NAME_CHARS, MAX_TEXT, Document, digest_of
from ariacluster.domain.errors import AriaClusterError, InvalidInput, NoQuorum, NotFound, PayloadTooLarge, Unavailable
from ariacluster.domain.metalink import read_metalink
from ariacluster.domain.table import Applied
from ariacluster.domain.task import Task, TaskSpec
from ariacluster.domain.torrent import read_torrent
from ariacluster_node.ports import Clock, DocumentPeers, DocumentStore

from .replica import Replica
from .wakeup import Wakeup

log = structlog.get_logger()

SPREAD_S = 8.0
"""Seconds until a submit is told that no majority has taken its document."""

LOOK_PERIOD = 30.0
"""Seconds between looks at all rows: for what another node has failed to send, and for what nobody needs."""

READY_PERIOD = 1.0
"""Seconds between looks until this node has caught up: an old table tells nothing."""

GRACE_S = 3_600.0
"""Seconds for which a document is kept that no row refers to: its submit may be under way, or its table."""

ROWS_AT_ONCE = 5_000
"""Rows that are looked at until others have their turn: about a millisecond."""


class Documents:
    """What was uploaded, here and at the others."""

    def __init__(
        self, replica: Replica, store: DocumentStore, peers: DocumentPeers, clock: Clock, *, served_at: str = ""
    ) -> None:
        """`served_at`: the URL below which the engine of this node finds them."""
        self._replica = replica
        self._store = store
        self._peers = peers
        self._clock = clock
        self._served_at = served_at
        self._here: set[str] | None = None
        self._unneeded_since: dict[str, float] = {}
        self._wake = Wakeup()
        replica.watch(self._on_applied)

    # -- taking in ----------------------------------------------------------------------------------------------

    async def take(self, kind: str, text: str, options: Mapping[str, str]) -> Document:
        """An upload in base64: read, kept here and by a majority of the voters. `InvalidInput` names the field, one of the
        `options` perhaps; `NoQuorum` if there is no majority that takes it."""
        data = await asyncio.to_thread(_decoded, kind, text)
        document = await asyncio.to_thread(_read, kind, data, options)
        await self._keep(document.digest, data)
        await self._spread(document.digest, data)
        return document

    async def size_of(self, document: Document, options: Mapping[str, str]) -> int:
        """Bytes of what is wanted of it with these options, 0 if it does not say. `InvalidInput` names the option,
        `Unavailable` if the document cannot be had now."""
        await self.at_hand(document.digest)
        try:
            data = await self.give(document.digest)
        except NotFound as error:  # damaged since; it is being fetched
            raise Unavailable(f"{error.detail} Try again soon.") from None
        return (await asyncio.to_thread(_read, document.kind, data, options)).size

    async def _keep(self, digest: str, data: bytes) -> None:
        await self._store.put(digest, data)
        (await self._known()).add(digest)
        self._unneeded_since[digest] = self._clock.monotonic()

    async def _spread(self, digest: str, data: bytes) -> None:
        status, me = self._replica.consensus.status(), self._replica.node_id
        doors = {
            member.id: member.door for member in self._replica.table.members.values() if member.id in status.voters
        }
        lacking = len(status.voters) // 2 + 1 - (me in status.voters)
        if lacking <= 0:
            return
        async with asyncio.TaskGroup() as group:
            left = {group.create_task(self._push(door, digest, data)) for node, door in doors.items() if node != me}
            deadline = self._clock.monotonic() + SPREAD_S
            while lacking > 0 and left and (patience := deadline - self._clock.monotonic()) > 0:
                done, left = await asyncio.wait(left, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                lacking -= sum(push.result() for push in done)
            for push in left:
                push.cancel()
        if lacking > 0:
            raise NoQuorum(
                "No majority of the cluster's voters has taken the document; nothing was submitted. Try again."
            )

    async def _push(self, door: str, digest: str, data: bytes) -> bool:
        try:
            await self._peers.push(door, digest, data)
        except AriaClusterError as error:
            log.info("a document was not taken", node=door, reason=error.detail)
            return False
        return True

    # -- for the others -----------------------------------------------------------------------------------------

    async def accept(self, digest: str, data: bytes) -> None:
        """Another node sends it."""
        await self._keep(digest, data)

    async def give(self, digest: str) -> bytes:
        """To another node, or to the engine of this one. `NotFound` if it is not here."""
        data = await self._store.get(digest)
        if data is None:
            (await self._known()).discard(digest)  # or it was damaged, and is lacking now
            self._wake()
            raise NotFound("This document is not here.")
        return data

    async def at_hand(self, digest: str) -> None:
        """Return if it is here, fetched if need be; `Unavailable` if it cannot be had now."""
        if digest in await self._known() or await self._fetch(digest):
            return
        raise Unavailable("The document of the task is not here yet, and no other node answers with it.")

    def for_engine(self, spec: TaskSpec, document: Document) -> TaskSpec:
        """The link under which aria2 finds the document on this machine, whatever proxies the task has."""
        ending = "torrent" if document.kind == "torrent" else "metalink"
        spared = ",".join(
            filter(None, (spec.options.get("no-proxy", ""), self._served_at.partition("://")[2].rpartition(":")[0]))
        )
        return msgspec.structs.replace(
            spec, urls=(f"{self._served_at}/{document.digest}.{ending}",), options={**spec.options, "no-proxy": spared}
        )

    # -- the loop -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        self._wake()
        while True:
            may = self._replica.ready and self._replica.settled
            await self._wake.wait(LOOK_PERIOD if may else READY_PERIOD)
            try:
                if self._replica.ready and self._replica.settled:
                    await self._round()
            except AriaClusterError as error:
                log.warning("documents are looked at later", reason=error.detail)

    async def _round(self) -> None:
        needed = await self._needed()
        known = await self._known()
        for digest in sorted(needed - known):
            await self._fetch(digest)
        now = self._clock.monotonic()
        for digest in list(known):
            if digest in needed:
                self._unneeded_since.pop(digest, None)
            elif now - self._unneeded_since.setdefault(digest, now) > GRACE_S:
                await self._store.remove(digest)
                known.discard(digest)
                del self._unneeded_since[digest]

    async def _needed(self) -> set[str]:
        """What rows refer to. The rows may change meanwhile: who comes then wakes the loop again."""
        needed: set[str] = set()
        for number, task_id in enumerate(list(self._replica.table.order.values()), 1):
            task = self._replica.table.tasks.get(task_id)
            if task is not None and task.spec.document is not None:
                needed.add(task.spec.document.digest)
            if number % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return needed

    async def _fetch(self, digest: str) -> bool:
        me = self._replica.node_id
        for member in list(self._replica.table.members.values()):
            if member.id == me:
                continue
            try:
                await self._keep(digest, await self._peers.fetch(member.door, digest))
            except AriaClusterError:
                continue
            log.info("document fetched", node=member.name, digest=digest)
            return True
        return False

    async def _known(self) -> set[str]:
        if self._here is None:
            self._here = await self._store.known()
        return self._here

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is None or any(self._lacks(change.after) for change in applied.changes):
            self._wake()

    def _lacks(self, row: Task | None) -> bool:
        document = row.spec.document if row else None
        return document is not None and self._here is not None and document.digest not in self._here


def _decoded(kind: str, text: str) -> bytes:
    if len(text) > MAX_TEXT:
        raise PayloadTooLarge(f"A document may have {MAX_DOCUMENT:,} bytes.", field=kind)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("Give the document in base64 (RFC 4648, section 4), on one line.", field=kind) from None


def _read(kind: str, data: bytes, options: Mapping[str, str]) -> Document:
    if kind == "torrent":
        torrent = read_torrent(data)
        name, lengths, info_hash = torrent.name, [file.length for file in torrent.files], torrent.info_hash
    else:
        files = read_metalink(data).files
        name, lengths, info_hash = _called(file.name for file in files), [file.size for file in files], ""
    size = selection.size_of(lengths, options)
    return Document(
        kind=kind, digest=digest_of(data), name=name[:MAX_NAME_CHARS], size=min(size, 2**62), info_hash=info_hash
    )


def _called(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others):,} more" if others else first
