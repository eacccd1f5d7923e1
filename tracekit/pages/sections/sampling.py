"""What the sampler keeps, and whether what it keeps speaks for the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tracekit.pages.charts import Bars, Line, Part, axis_of, number_of
from tracekit.pages.scale import scale
from tracekit.reports.figures import percent, share_range
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.reports.table import Row, Table

_ABOUT = (
    "The interval is about these sessions: all that is open is which of them were kept. About one "
    "in twenty lies beside its bar by chance."
)
NOBODY = "No collector decided these sessions: nothing was sampled that is known of."


def shares(table: Table) -> Bars:
    """Return the share of sessions that was kept, by stop category.

    Args:
        table: What `reports.sampling.kept` returns.
    """
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in table.rows:
        for name in ("sessions", "kept"):
            counts[str(row["stop_category"])][name] += int(number_of(row[name]))
    lines = []
    for name, count in sorted(counts.items(), key=lambda item: -item[1]["sessions"]):
        share = count["kept"] / count["sessions"]
        note = f"{count['kept']:,} of {count['sessions']:,} sessions"
        lines.append(Line(name, f"{share * 100:.1f}", (Part(0, share),), note=note))
    return Bars(
        title="Kept sessions by stop category, %",
        says=_kept(table.rows),
        header="stop category",
        value_header="kept %",
        axis="% of sessions that were kept, counted",
        scale=scale([1.0], Kind.SHARE),
        lines=tuple(lines),
        notes=_beyond(table.rows),
    )


def _kept(rows: Sequence[Row]) -> str:
    sessions, kept, spans, left = (
        sum(int(number_of(row[name])) for row in rows)
        for name in ("sessions", "kept", "spans", "kept_spans")
    )
    if not sessions:
        return NOBODY
    of_spans = f", with {percent(left / spans)} of the spans" if spans else ""
    return f"{kept:,} of {sessions:,} sessions were kept: {percent(kept / sessions)}{of_spans}."


def _beyond(rows: Sequence[Row]) -> tuple[str, ...]:
    never, by_hand = (
        sum(int(number_of(row[name])) for row in rows) for name in ("never", "by_hand")
    )
    return (
        *([f"{never:,} sessions could not be kept: no weight speaks for them."] if never else []),
        *([f"{by_hand:,} were kept by hand: each speaks for itself alone."] if by_hand else []),
    )


def against_census(table: Table) -> Bars:
    """Return what kept sessions let estimate, with intervals, beside what the ledger counts.

    Args:
        table: What `reports.sampling.quality` returns.
    """
    known = [row for row in table.rows if isinstance(row["estimate"], float)]
    highest = [max(number_of(row["high"]), number_of(row["unweighted"])) for row in known]
    return Bars(
        title="Estimated from kept sessions, and counted over all, % of sessions",
        says=_outside(known, decided=bool(table.rows)),
        header="share of sessions that ...",
        value_header="estimated %",
        axis="% of sessions; bar: counted over all, dot and line: estimate with 95 % interval",
        scale=axis_of(highest, Kind.SHARE),
        lines=tuple(_line(row) for row in known),
        notes=(_ABOUT,) if known else (),
    )


def _line(row: Row) -> Line:
    estimate, census = number_of(row["estimate"]), number_of(row["census"])
    note = (
        f"counted {percent(census)}; estimated {share_range(row['low'], row['high'])}; "
        f"{percent(row['unweighted'])} without weights"
    )
    return Line(
        str(row["quantity"]),
        f"{estimate * 100:.1f}",
        (Part(0, census, "light"),),
        estimate,
        (number_of(row["low"]), number_of(row["high"])),
        note,
    )


def _outside(rows: Sequence[Row], *, decided: bool) -> str:
    if not rows:
        return "None was kept, so nothing can be estimated." if decided else NOBODY
    out = [
        str(row["quantity"])
        for row in rows
        if not number_of(row["low"]) <= number_of(row["census"]) <= number_of(row["high"])
    ]
    if not out:
        return f"All {len(rows)} intervals hold what the ledger counts: the weights do their work."
    return (
        f"{len(rows) - len(out)} of {len(rows)} intervals hold what the ledger counts; not: "
        f"{', '.join(out)}."
    )
