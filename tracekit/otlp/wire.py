"""Protobuf wire format primitives, compiled, for the scanner in `kernel.py`.

All positions are int64 offsets into one read-only ``uint8`` buffer. A function that can fail
returns a next position of -1 (`FAIL`); it never raises and never reads at or beyond `end`. The
64-bit loads go around numba's bounds check, so every caller makes sure that eight bytes are there.

`_nrt=False` and `forceinline` keep atomic reference counting of array arguments out of the inner
loops: docs/adr/0003.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from tracekit.otlp import stale  # noqa: F401 - before anything compiled is loaded

KERNEL = {
    "nogil": True,
    "boundscheck": True,
    "_nrt": False,
    "error_model": "numpy",
    "cache": True,
}
"""Options of the outermost compiled functions."""

inline = njit(
    nogil=True, boundscheck=True, _nrt=False, error_model="numpy", forceinline=True, cache=True
)
"""Decorator of the helpers that are inlined into them."""

FAIL = -1

VARINT, FIXED64, LEN, FIXED32 = 0, 1, 2, 5
"""Wire types. Groups (3, 4) are refused."""

_at = np.uintp
"""Type of an index into the buffer: unsigned, so that numba emits no code for negative ones."""

_U0 = np.uint64(0)
_U1 = np.uint64(1)
_U7 = np.uint64(7)
_U127 = np.uint64(127)
_U128 = np.uint64(128)
_HIGH_BITS = np.uint64(0x8080808080808080)
_MAX_FIELD = np.uint64(0x1FFFFFFF)


@intrinsic
def load64(_context: Any, array: Any, index: Any) -> Any:
    """Load eight bytes, little-endian, from any alignment. The caller checks the bounds."""
    signature = types.uint64(array, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        struct = context.make_array(sig.args[0])(context, builder, args[0])
        pointer = cgutils.gep_inbounds(builder, struct.data, args[1])
        word = builder.bitcast(pointer, ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    del index
    return signature, codegen


@intrinsic
def store64(_context: Any, array: Any, index: Any, word: Any) -> Any:
    """Store eight bytes, little-endian, at any alignment. The caller checks the bounds."""
    signature = types.void(array, types.int64, types.uint64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        struct = context.make_array(sig.args[0])(context, builder, args[0])
        pointer = cgutils.gep_inbounds(builder, struct.data, args[1])
        target = builder.bitcast(pointer, ir.IntType(64).as_pointer())
        builder.store(args[2], target, align=1)

    del index, word
    return signature, codegen


@intrinsic
def as_bits(_context: Any, number: Any) -> Any:
    """Return the 64 bits of a float64."""
    signature = types.uint64(types.float64)

    def codegen(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    del number
    return signature, codegen


@intrinsic
def as_double(_context: Any, bits: Any) -> Any:
    """Return the float64 of 64 bits."""
    signature = types.float64(types.uint64)

    def codegen(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    del bits
    return signature, codegen


@inline
def varint(buf: Any, p: int, end: int) -> tuple[Any, int]:
    """Read a varint of at most ten bytes and 64 bits."""
    value = _U0
    shift = _U0
    while p < end:
        byte = np.uint64(buf[_at(p)])
        p += 1
        if shift == np.uint64(63) and byte > _U1:
            return _U0, FAIL
        value |= (byte & _U127) << shift
        if byte < _U128:
            return value, p
        shift += _U7
        if shift > np.uint64(63):
            return _U0, FAIL
    return _U0, FAIL


@inline
def read_tag(buf: Any, p: int, end: int) -> tuple[int, int]:
    """Read a tag: field number * 8 + wire type. Field 0 and too large ones fail."""
    if p < end and buf[_at(p)] < 128 and buf[_at(p)] >= 8:
        return np.int64(buf[_at(p)]), p + 1
    tag, p = varint(buf, p, end)
    field = tag >> np.uint64(3)
    if p == FAIL or field == _U0 or field > _MAX_FIELD:
        return 0, FAIL
    return np.int64(tag), p


@inline
def read_length(buf: Any, p: int, end: int) -> tuple[int, int]:
    """Read the length of a field and return where the field ends and where it begins."""
    if p < end and buf[_at(p)] < 128:
        length = np.uint64(buf[_at(p)])
        p += 1
    else:
        length, p = varint(buf, p, end)
    if p == FAIL or length > np.uint64(end - p):
        return FAIL, FAIL
    return p + np.int64(length), p


@inline
def skip_value(buf: Any, p: int, end: int, wire_type: int) -> int:
    """Return the position after a value, or `FAIL`."""
    if wire_type == LEN:
        stop, _ = read_length(buf, p, end)
        return stop
    if wire_type == VARINT:
        _, p = varint(buf, p, end)
        return p
    size = 0
    if wire_type == FIXED64:
        size = 8
    elif wire_type == FIXED32:
        size = 4
    if size == 0 or end - p < size:
        return FAIL
    return p + size


@inline
def read_fixed64(buf: Any, p: int, end: int) -> tuple[Any, int]:
    """Read eight bytes, little-endian."""
    if end - p < 8:
        return _U0, FAIL
    return load64(buf, p), p + 8


@njit(nogil=True, boundscheck=True, _nrt=False, error_model="numpy", cache=True)
def _is_utf8_slow(buf: Any, p: int, end: int) -> bool:
    """Check UTF-8 byte by byte: no overlong forms, surrogates, or values above U+10FFFF."""
    while p < end:
        lead = buf[p]
        if lead < 0x80:
            p += 1
            continue
        if lead < 0xC2 or lead > 0xF4:
            return False
        size = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
        if end - p < size:
            return False
        second = buf[p + 1]
        low, high = 0x80, 0xBF
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
        elif lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
        if second < low or second > high:
            return False
        for i in range(2, size):
            if buf[p + i] & 0xC0 != 0x80:
                return False
        p += size
    return True


@inline
def is_utf8(buf: Any, p: int, end: int) -> bool:
    """Check that bytes are UTF-8; ASCII goes eight bytes at a time."""
    start = p
    while end - p >= 8:
        if load64(buf, p) & _HIGH_BITS != _U0:
            return bool(_is_utf8_slow(buf, p, end))
        p += 8
    if p < end and end - start >= 8:
        if load64(buf, end - 8) & _HIGH_BITS != _U0:
            return bool(_is_utf8_slow(buf, p, end))
        return True
    while p < end:
        if buf[_at(p)] >= 0x80:
            return bool(_is_utf8_slow(buf, p, end))
        p += 1
    return True


@inline
def tail_word(buf: Any, p: int, end: int) -> Any:
    """Return fewer than eight bytes as a little-endian word, zero-padded."""
    word = _U0
    shift = _U0
    while p < end:
        word |= np.uint64(buf[_at(p)]) << shift
        shift += np.uint64(8)
        p += 1
    return word


@inline
def same_bytes(a: Any, p: int, b: Any, q: int, length: int) -> bool:
    """Compare two runs of bytes in two buffers."""
    stop = p + length
    while stop - p >= 8:
        if load64(a, p) != load64(b, q):
            return False
        p += 8
        q += 8
    while p < stop:
        if a[_at(p)] != b[_at(q)]:
            return False
        p += 1
        q += 1
    return True


@inline
def copy_bytes(source: Any, p: int, target: Any, q: int, length: int) -> None:
    """Copy bytes from one buffer to another, eight at a time. The ranges are inside both."""
    stop = p + length
    while stop - p >= 8:
        store64(target, q, load64(source, p))
        p += 8
        q += 8
    while p < stop:
        target[_at(q)] = source[_at(p)]
        p += 1
        q += 1


_MIX_A = np.uint64(0x9E3779B97F4A7C15)
_MIX_B = np.uint64(0xC2B2AE3D27D4EB4F)
_S29 = np.uint64(29)
_S32 = np.uint64(32)


@inline
def mix(h: Any, word: Any) -> Any:
    """Mix a word into a hash: multiply and fold."""
    h = (h ^ word) * _MIX_A
    return h ^ (h >> _S29)


@inline
def text_hash(buf: Any, p: int, end: int, seed: Any) -> Any:
    """Return a seeded hash of all bytes, for the intern table. Not keyed cryptographically."""
    h = seed ^ np.uint64(end - p)
    while end - p >= 8:
        h = mix(h, load64(buf, p))
        p += 8
    h = mix(h, tail_word(buf, p, end)) * _MIX_B
    return h ^ (h >> _S32)


@inline
def key_hash(buf: Any, p: int, end: int) -> Any:
    """Return a hash of an attribute key from its length and its first and last eight bytes.

    Weak on purpose: keys of the table are ours, and a match is confirmed byte by byte.
    """
    length = end - p
    if length >= 8:
        h = mix(np.uint64(length), load64(buf, p))
        h = mix(h, load64(buf, end - 8))
    else:
        h = mix(np.uint64(length), tail_word(buf, p, end))
    return h ^ (h >> _S32)


@inline
def prefix_gate(word: Any) -> Any:
    """Return a number below 256 that depends on the first four bytes of a key's first word."""
    return ((word & np.uint64(0xFFFFFFFF)) * _MIX_A) >> np.uint64(56)


@inline
def _rotl(x: Any, bits: int) -> Any:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@inline
def _sip_round(v0: Any, v1: Any, v2: Any, v3: Any) -> tuple[Any, Any, Any, Any]:
    v0 += v1
    v1 = _rotl(v1, 13) ^ v0
    v0 = _rotl(v0, 32)
    v2 += v3
    v3 = _rotl(v3, 16) ^ v2
    v0 += v3
    v3 = _rotl(v3, 21) ^ v0
    v2 += v1
    v1 = _rotl(v1, 17) ^ v2
    v2 = _rotl(v2, 32)
    return v0, v1, v2, v3


@njit(nogil=True, boundscheck=True, _nrt=False, error_model="numpy", cache=True)
def siphash13(buf: Any, p: int, end: int, key: Any) -> Any:
    """Return SipHash-1-3 with the key (key, key rotated left by 32).

    Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012. Equal to
    `tracekit.otlp.fingerprint.fingerprint` apart from the sign.
    """
    k1 = _rotl(key, 32)
    v0 = key ^ np.uint64(0x736F6D6570736575)
    v1 = k1 ^ np.uint64(0x646F72616E646F6D)
    v2 = key ^ np.uint64(0x6C7967656E657261)
    v3 = k1 ^ np.uint64(0x7465646279746573)
    length = np.uint64(end - p)
    while end - p >= 8:
        word = load64(buf, p)
        v3 ^= word
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
        v0 ^= word
        p += 8
    word = (length << np.uint64(56)) | tail_word(buf, p, end)
    v3 ^= word
    v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3
