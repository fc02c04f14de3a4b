"""Values to bytes and back: msgpack for the log, the snapshots and the links between nodes. Nothing executable."""

from collections.abc import Iterable, Iterator

import msgspec

from ariacluster.domain import snapshot
from ariacluster.domain.commands import LANGUAGE, Command, Proposal
from ariacluster.domain.errors import InvalidInput, NotSpoken
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
    """One byte with the version of the commands in it, so that it can be read without the rest; then the rest."""
    return bytes([proposal.v]) + _encoder.encode(proposal)


def size_of(command: Command) -> int:
    """Bytes that it takes of an encoded proposal."""
    return len(_encoder.encode(command))


def language_of(data: bytes) -> int:
    """The version of the commands in an encoded proposal."""
    return data[0] if data else 0


def decode_proposal(data: bytes) -> Proposal:
    """`NotSpoken` if a newer version wrote it, `InvalidInput` on bytes that are none."""
    if language_of(data) > LANGUAGE:
        raise NotSpoken(
            f"The cluster speaks version {language_of(data)} of the commands, and this node understands {LANGUAGE}. Update "
            "Aria Cluster on this machine, and start it again."
        )
    try:
        return _proposals.decode(memoryview(data)[1:])
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
