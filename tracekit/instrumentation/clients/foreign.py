"""Recognising a model call of another instrumentation in the span that is current.

By what its dialect says about itself (`tracekit/dialects/*.yaml`): attributes that name the
operation, or the beginning of the span's name.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml
from opentelemetry.trace import get_current_span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

_CALLS: Final = frozenset({"llm", "embeddings"})
_KEYS: Final = ("operation_raw", "operation_kind_raw")


class Marks(NamedTuple):
    """What gives a model call away.

    Attributes:
        attributes: Attributes that name an operation.
        words: Operations that are model calls, in lower case.
        names: Beginnings of span names that mean one.
    """

    attributes: tuple[str, ...]
    words: frozenset[str]
    names: tuple[str, ...]


@cache
def marks() -> Marks:
    """Return the marks of all dialects."""
    files = (f for f in resources.files("tracekit.dialects").iterdir() if f.name.endswith(".yaml"))
    documents = [yaml.load(f.read_text("utf-8"), Loader=yaml.CSafeLoader) for f in files]
    words = {
        word.lower()
        for document in documents
        for word, meaning in document.get("values", {}).get("operation", {}).items()
        if meaning in _CALLS
    }
    keys = {key for document in documents for key in _operation_keys(document)}
    prefixes = {
        prefix
        for document in documents
        for prefix, meaning in document.get("fingerprints", {}).get("names", {}).items()
        if meaning in _CALLS
    }
    return Marks(tuple(sorted(keys)), frozenset(words), tuple(sorted(prefixes)))


def _operation_keys(document: dict[str, Any]) -> list[str]:
    aliases = document.get("aliases", {})
    return [key for name in _KEYS for key in aliases.get(name, ()) if isinstance(key, str)]


def current_call() -> Span | None:
    """Return the current span if it is a model call that has not ended, else None."""
    span = get_current_span()
    if not span.is_recording():
        return None
    attributes: Mapping[str, object] = getattr(span, "attributes", None) or {}
    known = marks()
    said = [attributes[key] for key in known.attributes if key in attributes]
    if said:
        is_call = any(isinstance(word, str) and word.lower() in known.words for word in said)
    else:
        is_call = str(getattr(span, "name", "")).startswith(known.names)
    return span if is_call else None
