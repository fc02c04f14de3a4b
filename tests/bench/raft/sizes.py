"""How much is measured."""

import msgspec

from .load import Load

SUBJECTS = ("commits", "failover", "learners", "snapshot")


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` of one load; `nodes`: clusters so large, `stock_nodes` of stock; `kills` and `rows` of a state to be saved."""

    name: str
    seconds: float
    nodes: tuple[int, ...]
    unsynced_nodes: tuple[int, ...]
    stock_nodes: tuple[int, ...]
    kills: int
    stock_kills: int
    voters: int = 3
    learners: int
    stock_learners: int
    rows: tuple[int, ...]
    stock_rows: tuple[int, ...]

    def loads(self) -> tuple[Load, ...]:
        """600 bytes are a usual task. 20 of them are a proposal that nearly fills what one may have."""
        return (
            Load(name="one by one", window=1, seconds=self.seconds),
            Load(name="32 in flight", window=32, seconds=self.seconds),
            Load(name="200 in flight", window=200, seconds=self.seconds),
            Load(name="batches of 20, 32 in flight", window=32, batch=20, seconds=self.seconds),
        )


FULL = Sizes(
    name="full",
    seconds=1.2,
    nodes=(1, 3, 5),
    unsynced_nodes=(1, 3, 5),
    stock_nodes=(1, 3, 5),
    kills=50,
    stock_kills=10,
    learners=10,
    stock_learners=10,
    rows=(10_000, 100_000),
    stock_rows=(10_000, 100_000),
)

QUICK = Sizes(
    name="quick",
    seconds=0.2,
    nodes=(1, 3),
    unsynced_nodes=(3,),
    stock_nodes=(3,),
    kills=3,
    stock_kills=1,
    learners=3,
    stock_learners=0,
    rows=(10_000,),
    stock_rows=(),
)
