"""Values to bytes and back: msgpack for the log, the snapshots and the links between nodes. Nothing executable."""

import msgspec

from ariacluster.domain import snapshot
from ariacluster.domain.commands import Proposal
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.snapshot import Snapshot

_encoder = msgspec.msgpack.Encoder()
_proposals = msgspec.msgpack.Decoder(Proposal)


def encode_proposal(proposal: Proposal) -> bytes:
    return _encoder.encode(proposal)


def decode_proposal(data: bytes) -> Proposal:
    """`InvalidInput` on anything else: another version's command, or bytes that are none."""
    try:
        return _proposals.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"This log entry cannot be read: {error}.") from None


def encode_snapshot(taken: Snapshot) -> bytes:
    """Slow for a large table; may run in a thread, for everything in it is frozen."""
    return _encoder.encode(snapshot.to_plain(taken))


def decode_snapshot(data: bytes) -> Snapshot:
    return snapshot.from_plain(msgspec.msgpack.decode(data))
