"""Why tasks really stop: the taxonomy, the meaning of reported values, the classifier, inspection.

classify(con)        tables evidence and stops from table spans
register(con)        the value tables other models join with
unmapped(con)        reported values nobody has given a meaning
inspect_table(table) final-state inspection of captured outputs, before they are dropped
live.judge(evidence) the same rules in plain Python, one task at a time

Nothing is loaded before it is used: `live` and `inspection` run in processes being traced.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tracekit.stops.classifier import Unmapped, classify, register, unmapped
    from tracekit.stops.inspection import Inspection, inspect
    from tracekit.stops.outputs import inspect_table
    from tracekit.stops.taxonomy import Code, Taxonomy
    from tracekit.stops.taxonomy import load as load_taxonomy

__all__ = [
    "Code",
    "Inspection",
    "Taxonomy",
    "Unmapped",
    "classify",
    "inspect",
    "inspect_table",
    "load_taxonomy",
    "register",
    "unmapped",
]

_PLACES: Final = {
    "Code": ("taxonomy", "Code"),
    "Inspection": ("inspection", "Inspection"),
    "Taxonomy": ("taxonomy", "Taxonomy"),
    "Unmapped": ("classifier", "Unmapped"),
    "classify": ("classifier", "classify"),
    "inspect": ("inspection", "inspect"),
    "inspect_table": ("outputs", "inspect_table"),
    "load_taxonomy": ("taxonomy", "load"),
    "register": ("classifier", "register"),
    "unmapped": ("classifier", "unmapped"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    found: object = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = found
    return found
