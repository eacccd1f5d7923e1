"""What the detectors find: verdicts per detector, and the sessions behind them."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from tracekit import detectors
from tracekit.detectors import specification
from tracekit.errors import UsageError
from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.stats.weighted import RatioSums, rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_COUNTS = (
    ColumnSpec("detector"),
    ColumnSpec("hits", Kind.COUNT),
    ColumnSpec("clear", Kind.COUNT, rank=1),
    ColumnSpec("not_evaluable", Kind.COUNT, title="not\nevaluable"),
    ColumnSpec("share", Kind.SHARE, ends=("share_low", "share_high"), title="hits of evaluable\n%"),
    ColumnSpec("share_low", Kind.SHARE, hidden=True),
    ColumnSpec("share_high", Kind.SHARE, hidden=True),
    ColumnSpec("finds", Kind.PROSE, rank=3),
    ColumnSpec("missing", title="why not evaluable, mostly", rank=2),
)
_SESSIONS = (
    ColumnSpec("session_id", Kind.ID, title="session"),
    ColumnSpec("started_at", Kind.TIME, title="started", rank=2),
    ColumnSpec("agent_name", title="agent", rank=3),
    ColumnSpec("severity", rank=1),
    ColumnSpec("value", Kind.NUMBER),
    ColumnSpec("threshold", Kind.NUMBER),
    ColumnSpec("reason", Kind.PROSE),
    ColumnSpec("evidence_span_ids", Kind.LIST, title="evidence", rank=4),
)
_SOURCES = {
    "S": "from the literature",
    "E": "from the literature",
    "A": "from the literature",
    specification.UNVALIDATED: "an unvalidated default",
}

_WORDS = {
    "hit": ("hits", "hits"),
    "clear": ("clear", "clear"),
    "not_evaluable": ("not_evaluable", "not evaluable"),
}
"""By verdict: the column that counts it, and the word for it."""


def summary(con: duckdb.DuckDBPyConnection, selection: Selection | None = None) -> Table:
    """Return the number of sessions per detector and verdict.

    The share is that of hits among hits and clear ones; sampled sessions count with their weight.

    Args:
        con: Connection with the lake's views.
        selection: Which sessions to speak of; all by default.

    Raises:
        UsageError: If the selection is wrong.
    """
    known = detectors.load().detectors
    _detect(con, None, selection)
    found = {row["detector"]: row for row in _counts(con, selection)}
    rows = [_counted(name, known[name].finds, found[name]) for name in known if name in found]
    notes = ("`tracekit detect --detector NAME` lists the sessions.",) if rows else ()
    return Table("Detectors", _COUNTS, tuple(rows), notes=notes)


def _counts(con: duckdb.DuckDBPyConnection, selection: Selection | None) -> list[dict[str, Any]]:
    chosen = selection or Selection()
    return query.report(con, "detect", "sessions", chosen, dropped=detectors.DROPPED)


def _counted(name: str, finds: str, row: Mapping[str, Any]) -> Row:
    share = rate(
        RatioSums(
            n=row["hits"] + row["clear"],
            y=row["hit_weight"],
            x=row["hit_weight"] + row["clear_weight"],
            yy=row["hit_squares"],
            xy=row["hit_squares"],
            xx=row["hit_squares"] + row["clear_squares"],
            largest=row["largest"],
        )
    )
    return query.plain(
        {
            "detector": name,
            **{column: row[column] for column in ("hits", "clear", "not_evaluable")},
            "share": None if isnan(share.value) else share.value,
            "share_low": share.low,
            "share_high": share.high,
            "finds": finds,
            "missing": row["missing"],
        }
    )


def sessions(
    con: duckdb.DuckDBPyConnection,
    detector: str,
    selection: Selection | None = None,
    *,
    verdict: str = "hit",
    limit: int = 20,
) -> Table:
    """Return the sessions with a verdict of one detector, hits of high severity first.

    Args:
        con: Connection with the lake's views.
        detector: Its name.
        selection: Which sessions to speak of; all by default.
        verdict: One of `detectors.VERDICTS`.
        limit: How many to list.

    Raises:
        UsageError: If there is no such detector or verdict, or the selection is wrong.
    """
    known = specification.detector(detector)
    if verdict not in detectors.VERDICTS:
        raise UsageError(f"no verdict {verdict!r}; there are: {', '.join(detectors.VERDICTS)}")
    if limit < 0:
        raise UsageError(f"--limit must not be negative, but it is {limit}")
    _detect(con, detector, selection)
    rows = query.report(
        con,
        "detect_sessions",
        "sessions",
        selection or Selection(),
        verdict=verdict,
        limit=str(limit),
    )
    (counts,) = _counts(con, selection) or ({},)
    total = counts.get(_WORDS[verdict][0], 0)
    more = total - len(rows)
    notes = (
        f"{detector} finds {known.finds}.",
        *((f"{more:,} more: --limit shows them.",) if more else ()),
        *(
            f"{name} {number.default:g} {number.unit}, {_SOURCES[number.source]}: {number.meaning}"
            for name, number in known.thresholds.items()
        ),
        *(f"left out: {part}" for part in known.left_out),
    )
    title = f"{detector}: {total:,} {_WORDS[verdict][1]}"
    return Table(title, _SESSIONS, tuple(_session(row) for row in rows), notes=notes)


def _session(row: Mapping[str, Any]) -> Row:
    evidence = str(row["evidence_span_ids"] or "").split(",")
    listed = {column.name: row[column.name] for column in _SESSIONS}
    return query.plain(listed | {"evidence_span_ids": [name for name in evidence if name]})


def _detect(
    con: duckdb.DuckDBPyConnection, detector: str | None, selection: Selection | None
) -> None:
    query.check_where(con, "sessions", (selection or Selection()).where)  # before the long part
    detectors.register(con)
    detectors.freeze(con)
    chosen = None if selection is None else selection.sql()
    names = None if detector is None else [detector]
    detectors.run(con, names, where=chosen, recorded=detectors.RECORDED)
