"""Compiled: requests built anew around spans that lie in journal segments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from tracekit.otlp.wire import KERNEL, copy_bytes, inline, read_tag, skip_value

_CHILDREN = 0x12
"""Tag of a resource's scopes and of a scope's spans."""
_RESOURCE = 0x0A
"""Tag of a request's resources."""


@inline
def _varint_size(value: int) -> int:
    size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


@inline
def _field_size(length: int) -> int:
    return 1 + _varint_size(length) + length


@inline
def _write_header(out: Any, p: int, tag: int, length: int) -> int:
    out[p] = tag
    p += 1
    while length >= 128:
        out[p] = length & 127 | 128
        length >>= 7
        p += 1
    out[p] = length
    return p + 1


@njit(**KERNEL)
def sizes_without_children(buf: Any, starts: Any, lengths: Any, chosen: Any, sizes: Any) -> None:
    """Measure what resources or scopes hold besides their scopes or spans."""
    for k in range(chosen.shape[0]):
        i = chosen[k]
        p, end = starts[i], starts[i] + lengths[i]
        size = np.int64(0)
        while p < end:
            start = p
            tag, p = read_tag(buf, p, end)
            p = skip_value(buf, p, end, tag & 7)
            if tag != _CHILDREN:
                size += p - start
        sizes[i] = size


@njit(**KERNEL)
def copy_without_children(
    buf: Any, starts: Any, lengths: Any, chosen: Any, places: Any, blob: Any
) -> None:
    """Copy what `sizes_without_children` has measured to its places in a blob."""
    for k in range(chosen.shape[0]):
        i = chosen[k]
        p, end, q = starts[i], starts[i] + lengths[i], places[i]
        while p < end:
            start = p
            tag, p = read_tag(buf, p, end)
            p = skip_value(buf, p, end, tag & 7)
            if tag != _CHILDREN:
                copy_bytes(buf, start, blob, q, p - start)
                q += p - start


@njit(**KERNEL)
def measure(
    lengths: Any, resource: Any, scope: Any, resource_sizes: Any, scope_sizes: Any, groups: Any
) -> int:
    """Fill `groups` with the payload of the resource and of the scope that begin at a span.

    Neighbours of one resource or scope share the message; 0 marks a span that begins none, since a
    payload that holds a span is never empty. Returns the bytes of the whole request.
    """
    total, in_resource, in_scope = np.int64(0), np.int64(0), np.int64(0)
    for i in range(lengths.shape[0] - 1, -1, -1):
        in_scope += _field_size(lengths[i])
        groups[i, 0], groups[i, 1] = 0, 0
        if i == 0 or scope[i - 1] != scope[i] or resource[i - 1] != resource[i]:
            in_scope += scope_sizes[scope[i]]
            groups[i, 1] = in_scope
            in_resource += _field_size(in_scope)
            in_scope = 0
        if i == 0 or resource[i - 1] != resource[i]:
            in_resource += resource_sizes[resource[i]]
            groups[i, 0] = in_resource
            total += _field_size(in_resource)
            in_resource = 0
    return total


@njit(**KERNEL)
def write_envelopes(
    lengths: Any, resource: Any, scope: Any, resource_places: Any, resource_blob: Any,
    scope_places: Any, scope_blob: Any, groups: Any, places: Any, out: Any,
) -> None:  # fmt: skip
    """Write everything but the spans, whose places it fills."""
    p = np.int64(0)
    for i in range(lengths.shape[0]):
        if groups[i, 0]:
            p = _write_header(out, p, _RESOURCE, groups[i, 0])
            start = resource_places[resource[i]]
            size = resource_places[resource[i] + 1] - start
            copy_bytes(resource_blob, start, out, p, size)
            p += size
        if groups[i, 1]:
            p = _write_header(out, p, _CHILDREN, groups[i, 1])
            start = scope_places[scope[i]]
            size = scope_places[scope[i] + 1] - start
            copy_bytes(scope_blob, start, out, p, size)
            p += size
        p = _write_header(out, p, _CHILDREN, lengths[i])
        places[i] = p
        p += lengths[i]


@njit(**KERNEL)
def copy_spans(buf: Any, offsets: Any, lengths: Any, chosen: Any, places: Any, out: Any) -> None:
    """Copy the spans of one segment to their places."""
    for k in range(chosen.shape[0]):
        i = chosen[k]
        copy_bytes(buf, offsets[i], out, places[i], lengths[i])
