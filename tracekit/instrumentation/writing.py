"""Setting many attributes of a span at once.

The SDK checks every value of every attribute, which takes longer than all else we do at the end of
a step. Ours are plain values: where nothing could be found, the checks are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.attributes import BoundedAttributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

_PLAIN: Final = frozenset({str, int, float, bool})
_TEXT: Final = frozenset({str})


def write(span: Any, attributes: Mapping[str, AttributeValue]) -> None:
    """Do what `span.set_attributes` does.

    Args:
        span: A span, of the SDK or any other.
        attributes: What to set.
    """
    inner = getattr(span, "_attributes", None)
    lock = getattr(span, "_lock", None)
    if type(inner) is BoundedAttributes and lock is not None and _fits(inner, attributes):
        with lock:
            if span._end_time is None:  # noqa: SLF001 - there is no public way
                inner._dict.update(attributes)  # noqa: SLF001
        return
    span.set_attributes(attributes)


def _fits(inner: BoundedAttributes, attributes: Mapping[str, AttributeValue]) -> bool:
    """Return whether the SDK would store the attributes just as they are."""
    room = inner.maxlen
    if inner.max_value_len is not None or inner._immutable or "" in attributes:  # noqa: SLF001
        return False
    if room is not None and len(inner._dict) + len(attributes) > room:  # noqa: SLF001
        return False
    for value in attributes.values():
        if type(value) in _PLAIN:
            continue
        if type(value) is not tuple or not _TEXT.issuperset(map(type, value)):
            return False
    return True
