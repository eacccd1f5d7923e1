"""Protobuf's integers of variable length."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 10
"""Bytes of the longest valid one."""

_MORE: Final = 0x80
_THREE: Final = 1 << 14
"""From here on a varint has three bytes or more."""


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a protobuf varint."""
    if value < _MORE:
        return bytes((value,))
    if value < _THREE:  # most lengths and counts; the loop takes three times as long
        return bytes((value & 0x7F | _MORE, value >> 7))
    out = bytearray()
    while value >= _MORE:
        out.append(value % _MORE | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at `at` and the position after it.

    Raises:
        IndexError: The bytes end within it.
        ValueError: It is longer than ten bytes.
    """
    value = 0
    for shift in range(0, 7 * LONGEST, 7):
        byte = data[at]
        at += 1
        value |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return value, at
    raise ValueError
