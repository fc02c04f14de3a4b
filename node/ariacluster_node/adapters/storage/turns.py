"""Whose turn it is: what is done with a task's folder is done by one thread at a time."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager


class Turns:
    """One thread may have the turns of many tasks; it gets all of them at once, so that nobody waits for each other."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._free = threading.Condition()

    @contextmanager
    def of(self, task_ids: Collection[str]) -> Iterator[None]:
        """Waits until nobody else has the turn of any of these tasks."""
        wanted = set(task_ids)
        with self._free:
            self._free.wait_for(lambda: self._taken.isdisjoint(wanted))
            self._taken |= wanted
        try:
            yield
        finally:
            with self._free:
                self._taken -= wanted
                self._free.notify_all()
