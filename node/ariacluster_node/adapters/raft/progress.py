"""How far a follower is, as its leader knows. Pure; the word and the states are those of etcd's raft."""

from collections.abc import Callable

from .store.snapshots import Outgoing


class Progress:
    """Of one follower, during one leadership.

    It begins by probing: one message at a time, until the follower's log is found to agree somewhere. From then on entries
    are sent as they come, without waiting for answers. What is lost on the way shows when a later message does not fit.
    """

    def __init__(self, following: int, now: float) -> None:
        """`following`: the index of the first entry that it is sent, if it has all before."""
        self.match = 0
        """It agrees up to here, on its disk. Never goes back within a leadership."""
        self.next = following
        self.probing = True
        self.answered = True
        """While probing: the last message was answered, another may go."""
        self.told_commit = 0
        self.probed = 0.0
        """When the last probe was sent: rejections of what was sent before say nothing new."""
        self.responded = now
        """When it last answered."""
        self.acknowledged = 0.0
        """When the latest message was *sent* that it has answered: it follows this leader since at least then."""
        self.outgoing: Outgoing | None = None
        self.offset = 0

    def accepted(self, index: int) -> None:
        """Its log agrees up to `index`."""
        self.match = max(self.match, index)
        self.next = max(self.next, self.match + 1)
        self.probing = False
        if self.outgoing is not None and self.outgoing.meta.index <= self.match:
            self.stop_sending()

    def rejected(self, agrees_at: int, sent: float) -> None:
        """A message sent at `sent` did not fit; the log may agree at `agrees_at`, not behind."""
        if agrees_at < self.match or (self.probing and sent < self.probed):
            return  # late, or of an earlier try
        self.next = max(self.match + 1, min(self.next, agrees_at + 1))
        self.probing = self.answered = True

    def heard(self, sent: float, now: float) -> None:
        """Any answer, to a message sent at `sent`."""
        self.responded = now
        self.acknowledged = max(self.acknowledged, sent)

    def lost(self) -> None:
        """The link is gone, and what was on its way with it."""
        self.next = self.match + 1 if self.match else self.next
        self.probing = self.answered = True
        self.probed = 0.0
        self.stop_sending()

    def begin_sending(self, open_snapshot: Callable[[], Outgoing]) -> Outgoing:
        """The snapshot that it is sent from now on, held open."""
        if self.outgoing is None:
            self.outgoing, self.offset = open_snapshot(), 0
            self.answered = True
        return self.outgoing

    def stop_sending(self) -> None:
        if self.outgoing is not None:
            self.outgoing.close()
            self.outgoing = None
