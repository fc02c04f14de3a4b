"""What members say to each other. Several messages travel in one frame; a frame that does not decode closes its link.

The names are those of the Raft paper's figure 2 and of Ongaro's dissertation (§3.10 transfer, §6.4 reads, §9.6 pre-vote).
`sent` is the sender's own monotonic clock: whoever answers gives it back, and nobody else reads it.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from ariacluster.domain.commands import MAX_PROPOSAL_BYTES

MAX_FRAME_BYTES = 1024 * 1024
"""Of one encoded frame. What a leader sends at once stays far below."""

MAX_COMMAND_BYTES = MAX_PROPOSAL_BYTES + 1
"""A command in the log is the proposal's bytes behind one byte that tells its kind."""

BATCH_BYTES = 256 * 1024
"""Commands in one `Append`; at least one travels, whatever its size."""

PIECE_BYTES = 128 * 1024
"""Of a snapshot, in one `Piece`."""

Index = Annotated[int, msgspec.Meta(ge=0)]
Term = Annotated[int, msgspec.Meta(ge=0)]
NodeId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Append(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """AppendEntries and heartbeat: the entries behind `prev` as command, index and term."""

    term: Term
    prev: Index
    prev_term: Term
    commit: Index
    sent: float
    entries: list[tuple[bytes, int, int]]


class Appended(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The answer. `ok`: the log agrees with the leader's up to `index`, on disk; else it may do so at `index`. Without `ok` and
    with `index` 0 it says that the sender's term is over, and nothing of the log or of the present leadership."""

    term: Term
    ok: bool
    index: Index
    sent: float


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """InstallSnapshot: some bytes of the snapshot after entry `index`, which is of `index_term`; `size` is of the whole."""

    term: Term
    index: Index
    index_term: Term
    size: Index
    offset: Index
    data: bytes
    sent: float


class PieceTaken(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The answer: the follower holds the first `offset` bytes of that snapshot."""

    term: Term
    index: Index
    offset: Index
    sent: float


class AskVote(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """RequestVote; `pre`: would you (§9.6)? `transfer`: the leader wants it so, stickiness does not count (§3.10)."""

    term: Term
    last: Index
    last_term: Term
    pre: bool = False
    transfer: bool = False


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The answer: `term` is the one asked for if `granted`, else the voter's own."""

    term: Term
    granted: bool
    pre: bool = False


class LeadNow(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """TimeoutNow: the leader of `term` asks for an election at once (§3.10)."""

    term: Term


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """A command for the leader to take in; `request` is the sender's own number for it."""

    request: int
    command: Annotated[bytes, msgspec.Meta(max_length=MAX_COMMAND_BYTES)]


class Forwarded(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """It stands in the log at `index` of `term`; or, with `index` 0, it was not taken for reason `error`."""

    request: int
    index: Index = 0
    term: Term = 0
    error: int = 0


class AskIndex(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """ReadIndex: what must be applied before a read is fresh (§6.4)?"""

    request: int


class ReadIndex(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """The answer; `index` 0: who was asked cannot tell, for it is not sure to lead."""

    request: int
    index: Index = 0


Message = Append | Appended | Piece | PieceTaken | AskVote | Vote | LeadNow | Forward | Forwarded | AskIndex | ReadIndex

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Message])


def encode(messages: Sequence[Message]) -> bytes:
    return _encoder.encode(messages)


def decode(frame: bytes) -> list[Message]:
    """Raises `msgspec.DecodeError` (a `ValueError`) for what is none: also if a member of another version said it."""
    return _decoder.decode(frame)
