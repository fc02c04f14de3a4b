"""Half-done downloads on the way from one node to another."""

import hashlib

import msgspec

from ariacluster.domain.errors import InvalidInput
from ariacluster.domain.partial import Partial

MAX_PARTIAL = 16 * 1024 * 1024
"""Bytes of a `Partial` on the wire: a torrent of 10,000 files with a hundred holes each is below."""

_encoder = msgspec.msgpack.Encoder()
_partials = msgspec.msgpack.Decoder(Partial)


def encode(partial: Partial) -> bytes:
    return _encoder.encode(partial)


def decode(data: bytes) -> Partial:
    """`InvalidInput` on bytes that are none."""
    try:
        return _partials.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"This cannot be read as a half-done download: {error}.") from None


def block_digest(data: bytes) -> str:
    """16 bytes of BLAKE2b, in hex. Takes some ms for a few MB: not on the event loop."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
