"""What was asked of a node's core, and what became of it."""

from collections.abc import Callable

from ariacluster.domain.errors import AriaClusterError
from ariacluster_node.adapters.raft.host import Outcome

Done = Callable[[Outcome | None], None]


class Token:
    """`done` hears the outcome; None if the node died before it settled."""

    def __init__(self, what: str, asked_at: float, done: Done) -> None:
        self.what = what
        self.asked_at = asked_at
        self._done = done

    def settled(self, outcome: Outcome, said: AriaClusterError | None) -> None:
        self._done(outcome)

    def abandoned(self) -> None:
        self._done(None)

    def __str__(self) -> str:
        return f"{self.what} of {self.asked_at:.3f}"
