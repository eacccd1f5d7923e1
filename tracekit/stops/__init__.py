"""Why tasks really stop: the taxonomy, the meaning of reported values, the classifier, inspection.

classify(con)        tables evidence and stops from table spans
register(con)        the value tables other models join with
unmapped(con)        reported values nobody has given a meaning
inspect_table(table) final-state inspection of captured outputs, before they are dropped
"""

from __future__ import annotations

from tracekit.stops.classifier import Unmapped, classify, register, unmapped
from tracekit.stops.inspection import Inspection, inspect, inspect_table
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
