"""Secrets of tasks: sealed before anything is proposed, opened only for this node's engine and for asking an origin.

They are sealed with a key that is derived from the cluster's, so that every member can open them, and whoever reads a log, a
snapshot or a backup cannot. The same secret is sealed the same way, so that a repeated submit is a repeated submit.
"""

from collections.abc import Callable

import msgspec
import structlog

from ariacluster.domain import intake
from ariacluster.domain import secrets as domain
from ariacluster.domain.errors import AriaClusterError, InvalidInput, NotReady, Unavailable
from ariacluster.domain.snapshot import Snapshot
from ariacluster.domain.task import Task, TaskSpec
from ariacluster_node.ports import Origins, Probe, Vault

log = structlog.get_logger()

MARK = "~"
"""What a sealed secret begins with. Everything is sealed, so that what begins so by itself does not count."""


class Secrets:
    """`key`: the cluster's, None while this node has none."""

    def __init__(self, vault: Vault, key: Callable[[], bytes | None]) -> None:
        self._vault = vault
        self._key = key

    def sealed(self, spec: TaskSpec) -> TaskSpec:
        """The spec as it may be proposed. `InvalidInput` if it is too large then."""
        sealed = domain.changed(spec, lambda secret: self._seal(self._mine(), secret))
        if sealed is not spec:
            intake.bounded(sealed)
        return sealed

    def opened(self, spec: TaskSpec) -> TaskSpec:
        """The spec as it was submitted. `InvalidInput` if a secret cannot be opened."""
        return domain.changed(spec, lambda secret: self._open(self._mine(), secret))

    def resealed(self, taken: Snapshot, old: bytes, new: bytes) -> Snapshot:
        """A table's rows for another cluster. What cannot be opened stays as it is, and the task will ask for it."""

        def again(secret: str) -> str:
            try:
                return self._seal(new, self._open(old, secret))
            except InvalidInput:
                return secret

        def row(task: Task) -> Task:
            spec = domain.changed(task.spec, again)
            return task if spec is task.spec else msgspec.structs.replace(task, spec=spec)

        return msgspec.structs.replace(taken, tasks={task_id: row(task) for task_id, task in taken.tasks.items()})

    def _mine(self) -> bytes:
        key = self._key()
        if key is None:
            raise NotReady("This node belongs to no cluster yet; try again in a few seconds.")
        return key

    def _seal(self, key: bytes, secret: str) -> str:
        return MARK + self._vault.seal(key, secret)

    def _open(self, key: bytes, secret: str) -> str:
        if not secret.startswith(MARK):
            return secret  # of a time when they were not sealed
        try:
            return self._vault.open(key, secret.removeprefix(MARK))
        except Unavailable:
            raise InvalidInput(
                "A header or password of this task was sealed for another cluster; give it anew (relink, or change the task)."
            ) from None


class OpeningOrigins:
    """Fills `Origins`: asks with what it takes to be let in."""

    def __init__(self, origins: Origins, secrets: Secrets) -> None:
        self._origins = origins
        self._secrets = secrets

    def asks(self, spec: TaskSpec) -> bool:
        return self._origins.asks(spec)

    async def probe(self, spec: TaskSpec) -> Probe | None:
        try:
            return await self._origins.probe(self._secrets.opened(spec))
        except AriaClusterError as error:
            log.info("an origin is not asked", reason=error.detail)
            return None
