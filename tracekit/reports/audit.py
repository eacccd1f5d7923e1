"""What a sampler kept and why, held against the census of all that came to it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from tracekit.reports import query
from tracekit.reports.query import Grouping, Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.stats.tally import ALARMS, Finding, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

_NUMBERS = (
    ColumnSpec("sessions", Kind.COUNT),
    ColumnSpec("kept", Kind.COUNT),
    ColumnSpec("kept_share", Kind.SHARE, title="kept\n%"),
    ColumnSpec("by_hand", Kind.COUNT, title="by\nhand", rank=4),
    ColumnSpec("expected", Kind.NUMBER, title="to be\nkept", rank=3),
    ColumnSpec("weighted", Kind.NUMBER, title="speak\nfor"),
    ColumnSpec("possible", Kind.COUNT, title="of", rank=1),
    ColumnSpec("sigma", Kind.NUMBER, title="+-", rank=2),
    ColumnSpec("z", Kind.FACTOR),
    ColumnSpec("finding"),
)

_MEANINGS = {
    Finding.BIASED: "{names}: weights and census differ by more than chance allows; what is "
    "estimated from kept sessions is wrong there. Were spans of decided sessions lost, or two "
    "collectors fed with parts of one session?",
    Finding.BLIND: "{names}: none was kept though that was all but certain; nothing speaks for "
    "these sessions. Did their spans reach the lake?",
    Finding.NONE: "{names}: none was kept, by chance; a floor in the policy would keep some.",
    Finding.NEVER: "{names}: the policy never keeps these; only the ledger knows of them.",
}
_MOST_NAMED = 3


def audit(
    con: duckdb.DuckDBPyConnection,
    by: Sequence[str] = ("rule",),
    selection: Selection | None = None,
) -> Table:
    """Return how many sessions came, how many were kept, and for how many these speak.

    `weighted` adds up 1 / probability of the kept ones; but for chance it is `possible`, the
    sessions that could be kept. `sigma` is its standard deviation, `z` the difference in these.

    Args:
        con: Connection with the lake's views.
        by: Columns of `sessions` to group by. What depends on R (`kept`, `randomness`, `reasons`)
            is no stratum.
        selection: Which sessions to speak of; all by default.

    Raises:
        UsageError: If the selection or a column is wrong.
    """
    keys = query.grouping(con, "sessions", by, (column.name for column in _NUMBERS))
    chosen = selection or Selection()
    groups = query.report(con, "audit", "sessions", chosen, keys)
    (total,) = query.report(con, "audit", "sessions", chosen)
    rows = [_row(group, keys) for group in groups]
    notes = tuple(_notes(rows, keys))
    if not rows:
        notes = ("No collector decided these sessions: nothing was sampled that is known of.",)
    return Table(
        "Kept sessions, and for how many they speak",
        (*(ColumnSpec(name) for name in keys.keys), *_NUMBERS),
        tuple(rows),
        total=_row(total, keys) if len(rows) > 1 else None,
        notes=notes,
    )


def _row(group: Mapping[str, Any], keys: Grouping) -> Row:
    tally = Tally(**{field.name: group[field.name] or 0 for field in fields(Tally)})
    return query.plain(
        {name: group.get(name, "all") for name in keys.keys}
        | {
            "sessions": tally.sessions,
            "kept": tally.kept,
            "kept_share": tally.kept / tally.sessions if tally.sessions else None,
            "by_hand": group["by_hand"],
            "expected": tally.expected,
            "weighted": tally.weight,
            "possible": tally.possible,
            "sigma": tally.sigma,
            "z": tally.z,
            "finding": tally.finding.value,
        }
    )


def _notes(rows: Sequence[Row], keys: Grouping) -> Iterator[str]:
    for finding, meaning in _MEANINGS.items():
        found = [row for row in rows if row["finding"] == finding.value]
        if found:
            names = [", ".join(str(row[name]) for name in keys.keys) for row in found]
            more = len(names) - _MOST_NAMED
            listed = "; ".join(names[:_MOST_NAMED]) + (f"; {more} more" if more > 0 else "")
            yield meaning.format(names=listed or "all")
    if any(row["by_hand"] for row in rows):
        yield "by hand: kept after they were dropped; they speak for themselves alone."


def alarms(table: Table) -> int:
    """Return in how many rows weights and census contradict each other."""
    return sum(row["finding"] in {finding.value for finding in ALARMS} for row in table.rows)
