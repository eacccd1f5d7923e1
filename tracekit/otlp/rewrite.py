"""Editing fields of a protobuf message on its bytes: what is not edited stays byte for byte.

    rewritten(span, {9: edit_attribute})      # Span.attributes

A decoder and encoder of whole messages would do for their meaning, but not for their bytes: fields
that nobody knows move to the end, lengths that came padded come out short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.otlp.varints import read_varint, varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Edit = Callable[[bytes], bytes | None]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_MORE: Final = 0x80


def rewritten(data: bytes, edits: Mapping[int, Edit]) -> bytes:
    """Return a message with some of its fields edited; the same object where nothing changed.

    Args:
        data: Bytes of a valid message.
        edits: What to do with the payload of length-delimited fields, by number: return it to leave
            the field as it is, other bytes to put in its place, None to leave the field out.
    """
    pieces: list[bytes] = []
    at, copied, end = 0, 0, len(data)
    while at < end:
        start = at
        tag = data[at]
        if tag < _MORE:
            at += 1
        else:
            tag, at = read_varint(data, at)
        kind = tag & 7
        if kind != _LENGTH:
            at = read_varint(data, at)[1] if kind == _VARINT else at + _SIZES[kind]
            continue
        size = data[at]
        if size < _MORE:
            at += 1
        else:
            size, at = read_varint(data, at)
        begin, at = at, at + size
        edit = edits.get(tag >> 3)
        if edit is None:
            continue
        before = data[begin:at]
        after = edit(before)
        if after is before:
            continue
        pieces.append(data[copied:start])
        if after is not None:
            pieces += (varint(tag), varint(len(after)), after)
        copied = at
    if not copied:
        return data
    pieces.append(data[copied:])
    return b"".join(pieces)
