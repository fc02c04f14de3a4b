"""The staging folders as the worker knows them: read once, kept up by what it does, and looked at again now and then."""

from collections.abc import Callable, Iterable

import structlog

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Staged
from ariacluster_node.ports import Folders

log = structlog.get_logger()

LOOK_AGAIN = 60.0
"""Seconds between looks: nobody else should touch them, but people do."""


class Staging:
    """`clock` tells seconds and never goes back."""

    def __init__(self, folders: Folders, clock: Callable[[], float]) -> None:
        self._folders = folders
        self._clock = clock
        self._known: dict[str, Staged] | None = None
        self._at = 0.0

    @property
    def known(self) -> dict[str, Staged]:
        """By task id; to be kept up."""
        assert self._known is not None  # a plan is made only from known folders
        return self._known

    @property
    def is_known(self) -> bool:
        return self._known is not None

    @property
    def is_due(self) -> bool:
        """Is it time to look?"""
        return self._known is None or self._clock() - self._at >= LOOK_AGAIN

    def forget(self) -> None:
        """Somebody may have been interrupted in the middle of something."""
        self._known = None

    async def look(self, arriving: Iterable[str]) -> None:
        """Look at all of them. Those that are `arriving` from elsewhere are known before they are there. What was known stays
        if the disk refuses; `Unavailable` if nothing was."""
        self._at = self._clock()
        try:
            found = await self._folders.staged()
        except Unavailable as error:
            if self._known is None:
                raise
            log.warning("staging folders not looked through", reason=error.detail)
            return
        refused = {
            task_id: known for task_id, known in (self._known or {}).items() if known.refused and task_id in found
        }
        self._known = dict.fromkeys(arriving, Staged(None)) | found | refused

    def refuse(self, task_id: str) -> None:
        """What was published of the task is nobody's."""
        self.known[task_id] = self.known[task_id]._replace(refused=True)
