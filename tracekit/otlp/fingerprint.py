"""Keyed 64-bit fingerprints of text: SipHash-1-3.

Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), with one compression and
three finalisation rounds, the variant CPython uses for `hash(bytes)`.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63
_BLOCK: Final = 8

_State = tuple[int, int, int, int]


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(state: _State) -> _State:
    v0, v1, v2, v3 = state
    v0 = (v0 + v1) & _MASK
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotate(v1, 17) ^ v2
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


def fingerprint(data: bytes, key: int = 0) -> int:
    """Return the SipHash-1-3 of some bytes.

    Args:
        data: Bytes to hash; UTF-8 where they come from a text.
        key: Unsigned 64-bit key. The two halves of SipHash's key are `key` and `key` rotated left
            by 32 bits.

    Returns:
        The 64 bits as a signed integer, as Arrow and DuckDB hold them.
    """
    k0, k1 = key & _MASK, _rotate(key & _MASK, 32)
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    whole = len(data) - len(data) % _BLOCK
    blocks = [int.from_bytes(data[at : at + _BLOCK], "little") for at in range(0, whole, _BLOCK)]
    blocks.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for block in blocks:
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _round((v0, v1, v2, v3 ^ block))
        state = (v0 ^ block, v1, v2, v3)
    v0, v1, v2, v3 = state
    state = _round(_round(_round((v0, v1, v2 ^ 0xFF, v3))))
    result = state[0] ^ state[1] ^ state[2] ^ state[3]
    return result - (1 << 64) if result & _SIGN else result
