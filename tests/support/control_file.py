"""aria2's control files, made by hand. Source: aria2 manual, "Control File" (technical notes)."""

import struct

BLOCK = 16 << 10


def control_file(
    total: int, *, piece: int = 1 << 20, have: tuple[int, ...] = (), under_way: dict[int, int] | None = None
) -> bytes:
    """Of a download of `total` bytes that has the pieces `have`, and of those `under_way` so many blocks of 16 KiB."""
    count = -(-total // piece)
    held = struct.pack(">HII", 1, 0, 0) + struct.pack(">IQQI", piece, total, 0, -(-count // 8)) + _bits(have, count)
    held += struct.pack(">I", len(under_way or {}))
    for index, blocks in (under_way or {}).items():
        length = min(piece, total - index * piece)
        bits = _bits(range(blocks), -(-length // BLOCK))
        held += struct.pack(">III", index, length, len(bits)) + bits
    return held


def _bits(numbers: tuple[int, ...] | range, count: int) -> bytes:
    field = bytearray(-(-count // 8))
    for number in numbers:
        field[number // 8] |= 128 >> number % 8
    return bytes(field)
