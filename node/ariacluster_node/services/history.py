"""What happened in the cluster: asked for, and told as it happens. The table remembers it (`domain.history`)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.history import Entry, Kind
from ariacluster.domain.table import Applied
from ariacluster.wire.history import entry_of
from ariacluster.wire.resources import HistoryEntry

from .replica import Replica

Watcher = Callable[[Sequence[Entry]], None]


class Histories:
    """Reads the history; `watch` tells what is new in it."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._watchers: list[Watcher] = []
        self._told = 0
        replica.watch(self._on_applied)

    @property
    def newest(self) -> int:
        """The number of the last entry; 0 while there is none."""
        return self._replica.table.history.seq

    def query(
        self,
        *,
        task: str | None = None,
        node: str | None = None,
        kinds: Sequence[str] = (),
        before: int | None = None,
        limit: int = 100,
    ) -> list[HistoryEntry]:
        """The newest entries first, older than number `before`: of one task (by the beginning of its id), of one node (by id or
        name), of some kinds. `InvalidInput` if there is no such kind."""
        wanted = frozenset(map(_kind, kinds))
        found: list[HistoryEntry] = []
        for entry in self._before(before):
            if len(found) == limit:
                break
            if (
                (task is None or (entry.task and entry.task.startswith(task)))
                and (node is None or node in (entry.node, entry.place))
                and (not wanted or entry.kind in wanted)
            ):
                found.append(entry_of(entry))
        return found

    def since(self, seq: int) -> list[Entry] | None:
        """Everything after number `seq`, in order; None if some of that is forgotten, or never was."""
        history = self._replica.table.history
        missing, known = history.seq - seq, len(history.entries)
        return None if not 0 <= missing <= known else list(islice(history.entries, known - missing, None))

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call back with what is new, in order, each entry once; what is returned ends that. Nothing that it does may take
        long. After this node got another table by a snapshot, what it missed is told as far as it is remembered."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _before(self, before: int | None) -> Iterator[Entry]:
        entries = self._replica.table.history.entries
        newer = 0 if before is None or not entries else max(0, entries[-1].seq - before + 1)
        return islice(reversed(entries), newer, None)

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is not None and not applied.happened:
            return
        seq = self._replica.table.history.seq
        if applied is not None:
            news: Sequence[Entry] = applied.happened
        elif seq < self._told:
            news = ()  # another cluster's: who reads on must begin anew
        elif (missed := self.since(self._told)) is not None:
            news = missed
        else:
            news = tuple(self._replica.table.history.entries)
        self._told = seq
        for watcher in list(self._watchers) if news else ():
            watcher(news)


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise InvalidInput(f"There is no kind {name!r}; there are {', '.join(Kind)}.", field="kind") from None
