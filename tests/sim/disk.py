"""The disk of a machine: `PowerDisk`, and its syncs take time."""

import random
from collections.abc import Callable

from tests.support.power import PowerDisk, _Inode

SLOW = frozenset({"sync", "sync_folder", "truncate"})


class TimedDisk(PowerDisk):
    """`spend` is called with the seconds that an operation takes, before it has its effect."""

    def __init__(self, dice: random.Random, spend: Callable[[float], None]) -> None:
        super().__init__(dice)
        self.sync_s = 0.0
        """How long a sync takes, on average."""
        self.seconds = dice
        self._spend = spend
        self._dies_at_sync = 0

    def kill_at_sync(self, n: int) -> None:
        """As `kill_at`, counting only what makes promises. 0: none does."""
        self._dies_at_sync = n

    def restart(self) -> None:
        super().restart()
        self._dies_at_sync = 0

    def _begin(self, what: str, name: str) -> bool:
        if self.sync_s and what in SLOW:
            self._spend(self.sync_s * 2 * self.seconds.random())
        if self._dies_at_sync and what in SLOW:
            self._dies_at_sync -= 1
            if not self._dies_at_sync:
                self.kill_at(1)
        return super()._begin(what, name)

    def _settle(self, inode: _Inode, dice: random.Random) -> None:
        """Sometimes a file has got its new length, and not all of the blocks that this promises."""
        if inode.synced < len(inode.data) and dice.random() < 0.4:
            self._tear(inode.data, inode.synced, len(inode.data), dice)
            inode.synced = len(inode.data)
        super()._settle(inode, dice)
