"""The answers as tables: verdicts, indicators, losses, chains, and the shipped terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tracekit.reports import query
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.sla.reading import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tracekit.sla.terms import Terms
    from tracekit.sla.verdict import Verdict

_VERDICTS = (
    ColumnSpec("terms"),
    ColumnSpec("provider", hidden=True),
    ColumnSpec("plan", hidden=True),
    ColumnSpec("unit"),
    ColumnSpec("period"),
    ColumnSpec("promise", rank=2),
    ColumnSpec("objective", Kind.NINES, title="promised\n%"),
    ColumnSpec("measured", Kind.NINES, ends=("low", "high")),
    ColumnSpec("low", Kind.NINES, hidden=True),
    ColumnSpec("high", Kind.NINES, hidden=True),
    ColumnSpec("verdict"),
    ColumnSpec("eligible", Kind.COUNT, title="of", rank=3),
    ColumnSpec("counted", Kind.COUNT, title="coun-\nted", rank=4),
    ColumnSpec("excluded", Kind.COUNT, title="exclu-\nded", rank=6),
    ColumnSpec("uncounted", Kind.COUNT, title="uncoun-\nted", rank=6),
    ColumnSpec("unstated", Kind.COUNT, hidden=True),
    ColumnSpec("unplaced", Kind.COUNT, hidden=True),
    ColumnSpec("outages", Kind.COUNT, hidden=True),
    ColumnSpec("coverage", Kind.SHARE, title="covered\n%", rank=5),
    ColumnSpec("credit_percent", Kind.NUMBER, hidden=True),
    ColumnSpec("credit_usd", Kind.USD, title="would-be\ncredit USD", rank=5),
    ColumnSpec("credit_reason", hidden=True),
    ColumnSpec("confidence", rank=7),
    ColumnSpec("basis", hidden=True),
    ColumnSpec("reason", Kind.PROSE, hidden=True),
)
_SLIS = (
    ColumnSpec("sli", title="of"),
    ColumnSpec("total", Kind.COUNT, title="all"),
    ColumnSpec("bad", Kind.COUNT, title="failed"),
    ColumnSpec("value", Kind.NINES, title="good\n%", ends=("low", "high")),
    ColumnSpec("low", Kind.NINES, hidden=True),
    ColumnSpec("high", Kind.NINES, hidden=True),
    ColumnSpec("undetermined", Kind.COUNT, title="undeter-\nmined", rank=2),
    ColumnSpec("recovered", Kind.COUNT, title="made good by\na later call", rank=1),
    ColumnSpec("basis", hidden=True),
)
_LOSSES = (
    ColumnSpec("cause", title="lost to"),
    ColumnSpec("tasks", Kind.COUNT),
    ColumnSpec("decided", Kind.COUNT, hidden=True),
    ColumnSpec("share", Kind.NINES, title="of all\n%", ends=("low", "high")),
    ColumnSpec("low", Kind.NINES, hidden=True),
    ColumnSpec("high", Kind.NINES, hidden=True),
    ColumnSpec("remaining", Kind.NINES, title="left\n%"),
    ColumnSpec("tokens", Kind.COUNT, rank=3),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD", bound="unpriced_calls", rank=1),
    ColumnSpec("unpriced_calls", Kind.COUNT, hidden=True),
    ColumnSpec("codes", Kind.LIST, title="by code", rank=2),
    ColumnSpec("contract", Kind.LIST, title="by the terms", rank=4),
    ColumnSpec("basis", hidden=True),
)
_CHAINS = (
    ColumnSpec("tasks", Kind.COUNT, rank=3),
    ColumnSpec("calls_p50", Kind.COUNT, title="calls\np50"),
    ColumnSpec("calls_p95", Kind.COUNT, title="calls\np95", rank=2),
    ColumnSpec("attempts_per_call", Kind.NUMBER, title="attempts\nper call", rank=4),
    ColumnSpec("attempt_availability", Kind.NINES, title="attempts\ngood %"),
    ColumnSpec("independent", Kind.NINES, title="tasks if in-\ndependent %"),
    ColumnSpec("independent_retried", Kind.NINES, title="with one\nretry %", rank=5),
    ColumnSpec("clustered", Kind.NINES, title="if all in\noutages %"),
    ColumnSpec("outages", Kind.COUNT, rank=1),
    ColumnSpec("calls_measured", Kind.NINES, title="by calls\nas served %", rank=6),
    ColumnSpec("measured", Kind.NINES, title="tasks\nmeasured %"),
    ColumnSpec("rho", Kind.SHARE, title="common\ncause %"),
    ColumnSpec("second_attempts", Kind.COUNT, hidden=True),
    ColumnSpec("target", Kind.NINES, hidden=True),
    ColumnSpec("needed", Kind.NINES, title="a call would\nneed %"),
    ColumnSpec("basis", hidden=True),
)
_TERMS = (
    ColumnSpec("terms"),
    ColumnSpec("provider"),
    ColumnSpec("plan", rank=2),
    ColumnSpec("objective", Kind.NINES, title="promised\n%"),
    ColumnSpec("method", rank=4),
    ColumnSpec("latency", Kind.COUNT, title="latency\nterms", rank=5),
    ColumnSpec("confidence", rank=1),
    ColumnSpec("retrieved", rank=3),
    ColumnSpec("source", rank=6),
    ColumnSpec("unknown", Kind.LIST, title="not stated, or from memory", rank=7),
    ColumnSpec("note", Kind.PROSE, hidden=True),
)


def verdict_table(rows: Iterable[Verdict]) -> Table:
    """Return verdicts as a table."""
    found = tuple(query.plain(row) for row in rows)
    notes = list(_reasons(found))
    if not found:
        notes.append(
            "No terms that come along speak of these calls: what they were served by is not "
            "among them, or the calls do not say their tier. --terms names others."
        )
    if any(row["verdict"] == "indeterminate" for row in found):
        notes.append(
            "indeterminate: the source, the period or the data leave it open. Terms of your own: "
            "`tracekit sla template`."
        )
    if any(row["counted"] for row in found):
        notes.append(
            "Intervals take failures as independent; those of one outage are not, and then the "
            "intervals are too narrow."
        )
    return Table("Promises of providers", _VERDICTS, found, notes=tuple(notes))


def sli_table(rows: Iterable[Mapping[str, Any]], by: Sequence[str] = ()) -> Table:
    """Return indicators as a table; `by` are the names of its keys."""
    found = tuple(dict(row) for row in rows)
    return Table("From calls to tasks", (*_keys(by), *_SLIS), found, notes=_basis(found))


def loss_table(rows: Iterable[Mapping[str, Any]], by: Sequence[str] = ()) -> Table:
    """Return losses as a table; `by` are the names of its keys."""
    found: list[Row] = []
    for row in rows:
        counts = {name: _listed(row[name]) for name in ("codes", "contract")}
        found.append({**row, **counts})
    title = "What failed tasks were lost to"
    return Table(title, (*_keys(by), *_LOSSES), tuple(found), notes=_basis(found))


def chain_table(rows: Iterable[Mapping[str, Any]], by: Sequence[str] = ()) -> Table:
    """Return chains as a table; `by` are the names of its keys."""
    found = tuple(dict(row) for row in rows)
    notes = (
        *_basis(found),
        "Independent and clustered are arithmetic; measured also has losses no call is behind.",
    )
    return Table("What calls let expect of tasks", (*_keys(by), *_CHAINS), found, notes=notes)


def terms_table(terms: Iterable[Terms] | None = None) -> Table:
    """Return terms as a table; by default those shipped."""
    rows = [_terms(one) for one in (shipped().values() if terms is None else terms)]
    notes = (
        "What a source does not state makes a verdict indeterminate, never met; so does memory.",
    )
    return Table("Provider terms", _TERMS, tuple(rows), notes=notes)


def _terms(terms: Terms) -> Row:
    promised = terms.availability
    open_ = [name for part in ("availability", "latency", "credits") for name in terms.lacks(part)]
    return {
        "terms": terms.id,
        "provider": terms.provider,
        "plan": terms.plan or terms.product,
        "objective": promised.objective if promised else None,
        "method": promised.method if promised and "availability.method" not in open_ else None,
        "latency": len(terms.latency),
        "confidence": terms.confidence("availability"),
        "retrieved": terms.source.retrieved,
        "source": terms.source.url,
        "unknown": open_,
        "note": terms.note,
    }


def _reasons(rows: Iterable[Row]) -> Iterator[str]:
    """Yield why verdicts are what they are; the same for several units is said once."""
    units: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["reason"]:
            key = str(row["terms"]), str(row["period"]), str(row["reason"])
            what = row["unit"] if row["promise"] == "availability" else row["promise"]
            units.setdefault(key, []).append(str(what))
    for (terms, period, reason), names in units.items():
        of = ", ".join(filter(None, [period, *(name for name in names if name != "all")]))
        yield f"{terms}{f' ({of})' if of else ''}: {reason}."


def _basis(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what a reader must know where only sampled sessions are there."""
    if not any(row["basis"] == "estimate" for row in rows):
        return ()
    return (
        (
            "An estimate: only sampled sessions are here, each counted for those it stands for. "
            "Sessions that no policy could keep are in no number."
        ),
    )


def _keys(by: Sequence[str]) -> tuple[ColumnSpec, ...]:
    return tuple(ColumnSpec(name) for name in by)


def _listed(counts: Mapping[str, float]) -> list[str]:
    return [f"{name} {number:,}" for name, number in counts.items()]
