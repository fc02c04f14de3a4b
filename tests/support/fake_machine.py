"""A machine whose state a test sets."""

from ariacluster_node.ports import Vitals


class FakeMachine:
    """Fills `Machine`."""

    def __init__(self, *, disk_free: int = 10**12, disk_total: int = 2 * 10**12) -> None:
        self.now = Vitals(disk_free=disk_free, disk_total=disk_total, cpu=5.0, memory=30.0)

    async def vitals(self) -> Vitals:
        return self.now
