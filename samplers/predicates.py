"""Predicates of policies: one boolean expression over the features of a session."""

from __future__ import annotations

from samplers import features
from tracekit import predicates
from tracekit.predicates import unknown


def unknown_column(name: str) -> str:
    """Return what to say of a name that is no feature."""
    if name.startswith("hit_"):
        close = unknown(name.removeprefix("hit_"), features.DETECTORS)
        return f"no detector {name.removeprefix('hit_')!r}{close}"
    if name in features.DECIDED:
        return f"{name!r} is what the sampler decides; a policy cannot depend on it"
    return f"no feature {name!r}{unknown(name, features.NAMES) or _HINT}"


_HINT = "; features are the columns of `tracekit schema sessions`, hit_<detector>, bytes, ..."

_FEATURES = predicates.Subject(
    noun="session",
    create=features.create_table,
    source=features.SOURCE,
    names=frozenset(features.NAMES),
    unknown=unknown_column,
)


def checker() -> predicates.Checker:
    """Return what checks predicates against an empty features table."""
    return predicates.Checker(_FEATURES)
