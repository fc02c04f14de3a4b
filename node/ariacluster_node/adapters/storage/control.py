"""aria2's control file: what of a download is on the disk. Source: aria2 manual, "Control File" (technical notes)."""

import struct

from ariacluster.domain.errors import Unavailable

SUFFIX = ".aria2"
"""The control file of X is X.aria2 beside it; X may be the folder of a torrent."""

MAX_BYTES = 64 << 20
"""Enough for half a billion pieces."""

_VERSION = 1
_BLOCK = 16 << 10
"""A piece under way is kept by blocks of this length."""

_HEAD = struct.Struct(">HII")
_LENGTHS = struct.Struct(">IQQI")
_COUNT = struct.Struct(">I")
_PIECE = struct.Struct(">III")


def needed(data: bytes) -> tuple[int, int]:
    """The length of the whole download, and how long its file must be at least to hold what the control file claims.

    Raises `Unavailable` with the reason if it is none, cut short, or does not fit itself.
    """
    try:
        return _parsed(data)
    except (struct.error, ValueError) as error:
        why = "it is cut short" if isinstance(error, struct.error) else str(error)
        raise Unavailable(f"The control file is not usable: {why}. The download starts over.") from None


def _parsed(data: bytes) -> tuple[int, int]:
    version, _extension, hash_length = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"its version is {version}, not {_VERSION}")
    if hash_length not in (0, 20):
        raise ValueError(f"its info hash has {hash_length} bytes")
    at = _HEAD.size + hash_length
    piece_length, total, _uploaded, field_length = _LENGTHS.unpack_from(data, at)
    at += _LENGTHS.size
    if piece_length == 0 or total == 0:
        raise ValueError("it has no length")
    pieces = -(-total // piece_length)
    if field_length != -(-pieces // 8):
        raise ValueError("its bitfield has another length than its pieces")
    field = _bytes(data, at, field_length)
    at += field_length
    reach = min(total, (_last(field, pieces) + 1) * piece_length)
    (under_way,) = _COUNT.unpack_from(data, at)
    at += _COUNT.size
    for _ in range(under_way):
        index, length, field_length = _PIECE.unpack_from(data, at)
        at += _PIECE.size
        blocks = -(-length // _BLOCK)
        if index >= pieces or not 0 < length <= piece_length or field_length != -(-blocks // 8):
            raise ValueError("a piece under way does not fit")
        last = _last(_bytes(data, at, field_length), blocks)
        at += field_length
        if last >= 0:
            reach = max(reach, min(total, index * piece_length + min(length, (last + 1) * _BLOCK)))
    if at != len(data):
        raise ValueError("it is longer than it says")
    return total, reach


def _bytes(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise struct.error
    return data[at : at + length]


def _last(field: bytes, count: int) -> int:
    """The number of the last bit that is set, the highest of a byte first; -1 if none is."""
    for index in range(len(field) - 1, -1, -1):
        if byte := field[index]:
            last = index * 8 + 7 - ((byte & -byte).bit_length() - 1)
            if last >= count:
                raise ValueError("it claims pieces that are none")
            return last
    return -1
