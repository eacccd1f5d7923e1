"""What an import did, as a table."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tracekit.reports.table import ColumnSpec, Kind, Table, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.lake.summary import ImportSummary

_NAMED = 5
"""Things named one by one; the rest is counted."""


def table(summary: ImportSummary) -> Table:
    """Return an import's summary as one row; the notes say what was left out and why."""
    seconds = summary.seconds.get("total", 0.0)
    row: dict[str, Value] = {
        "files": summary.files,
        "already": summary.already,
        "failed": len(summary.failed),
        "sessions": summary.sessions,
        "updated": summary.updated,
        "spans": summary.spans,
        "outcomes": summary.outcomes,
        "skipped": sum(item.count for item in summary.skipped),
        "skipped_things": [f"{item.what}: {item.why}" for item in summary.skipped],
        "failed_things": [f"{item.name}: {item.why}" for item in summary.failed],
        "bytes": summary.bytes,
        "seconds": seconds,
        "spans_per_s": round(summary.spans / seconds) if seconds else None,
    }
    return Table(
        title="Imported",
        columns=(
            ColumnSpec("files", Kind.COUNT),
            ColumnSpec("already", Kind.COUNT, title="already\nthere", rank=2),
            ColumnSpec("failed", Kind.COUNT),
            ColumnSpec("sessions", Kind.COUNT, title="new\nsessions"),
            ColumnSpec("updated", Kind.COUNT, title="updated\nsessions", rank=3),
            ColumnSpec("spans", Kind.COUNT),
            ColumnSpec("outcomes", Kind.COUNT),
            ColumnSpec("skipped", Kind.COUNT, rank=4),
            ColumnSpec("skipped_things", Kind.LIST, hidden=True),
            ColumnSpec("failed_things", Kind.LIST, hidden=True),
            ColumnSpec("bytes", Kind.COUNT, hidden=True),
            ColumnSpec("seconds", Kind.SECONDS, title="time\ns"),
            ColumnSpec("spans_per_s", Kind.COUNT, title="spans\nper s", rank=1),
        ),
        rows=(row,),
        notes=tuple(_notes(summary)),
    )


def _notes(summary: ImportSummary) -> Iterator[str]:
    reasons: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for item in summary.skipped:
        reasons[item.why][item.what.replace(": ", "/").rpartition("/")[2]] = item.count
    for why, counts in reasons.items():
        yield from _counted(f"skipped, {why}", counts)
    yield from _counted("stop values nobody has mapped", summary.unmapped_stops)
    yield from _counted("spans of unknown operation", summary.unknown_operations)


def _counted(what: str, counts: dict[str, int]) -> Iterator[str]:
    if counts:
        named = ", ".join(
            f"{name} ({count:,})" if count > 1 else name
            for name, count in list(counts.items())[:_NAMED]
        )
        more = ", ..." if len(counts) > _NAMED else ""
        yield f"{what}: {named}{more}"
