"""Values to bytes and back: msgpack for the log, the snapshots and the links between nodes. Nothing executable."""

from collections.abc import Iterable, Iterator

import msgspec

from ariacluster.domain import snapshot
from ariacluster.domain.commands import Proposal
from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.snapshot import Part, Snapshot
from ariacluster.domain.table import TaskTable

_encoder = msgspec.msgpack.Encoder()
_proposals = msgspec.msgpack.Decoder(Proposal)
_parts = msgspec.msgpack.Decoder(Part)


class _Version(msgspec.Struct, tag="head"):
    """The beginning of a saved table, as far as every version of it must be understood."""

    schema: int


_versions = msgspec.msgpack.Decoder(_Version)


def encode_proposal(proposal: Proposal) -> bytes:
    return _encoder.encode(proposal)


def decode_proposal(data: bytes) -> Proposal:
    """`InvalidInput` on anything else: another version's command, or bytes that are none."""
    try:
        return _proposals.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"This log entry cannot be read: {error}.") from None


def encode_snapshot(taken: Snapshot) -> Iterator[bytes]:
    """In chunks of at most `ROWS` rows; may run in a thread, for all that is in it is frozen."""
    return map(_encoder.encode, snapshot.parts(taken))


def decode_snapshot(chunks: Iterable[bytes]) -> TaskTable:
    """The table, made a chunk at a time. `UnknownSchema` or `ValueError`, with a sentence for a person."""
    return snapshot.restore(_read(chunks))


def _read(chunks: Iterable[bytes]) -> Iterator[Part]:
    for number, chunk in enumerate(chunks):
        if number == 0:
            _check_version(chunk)
        try:
            yield _parts.decode(chunk)
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"The saved table is damaged: chunk {number} cannot be read: {error}.") from None


def _check_version(chunk: bytes) -> None:
    try:
        schema: object = _versions.decode(chunk).schema
    except (msgspec.MsgspecError, ValueError):
        schema = None
    if schema != snapshot.SCHEMA:
        raise snapshot.unknown(schema)
