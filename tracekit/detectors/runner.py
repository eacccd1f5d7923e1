"""Run the detectors: table `detections` from the tables of the models, or the views of a lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from tracekit import scripts
from tracekit.detectors import baselines, specification
from tracekit.errors import TracekitError
from tracekit.stops.values import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

VERDICTS: Final = ("hit", "clear", "not_evaluable")

RECORDED: Final = "memory.main.detections"
"""The view of a lake; a name alone would mean the temporary table of `run`."""

READING: Final = ("name", "tool_call_id", "idempotency_key", "resend_count", "replayed")
"""Columns of spans that the detectors read, and the models do not."""

_COLUMNS: Final = (
    "session_id VARCHAR, detector VARCHAR, verdict VARCHAR, severity VARCHAR, value DOUBLE, "
    "threshold DOUBLE, evidence_span_ids VARCHAR, reason VARCHAR"
)

# A detector gives marks as evidence: start and span id. Sorted by time, cut, and without the start.
# The last bits of a sum of money depend on the order of adding, and are no part of the verdict.
_INSERT: Final = """
INSERT INTO detections
SELECT
    session_id, '{name}', verdict, CASE WHEN verdict = 'hit' THEN severity END,
    round(CAST(value AS DOUBLE), 6), CAST(threshold AS DOUBLE),
    CASE WHEN verdict = 'hit' THEN regexp_replace(
        array_to_string(list_slice(list_sort(list_distinct(evidence)), 1, {spans}), ','),
        '[0-9]+:', '', 'g'
    ) END,
    reason
FROM ({select})
"""

_DROPPED: Final = """
INSERT INTO detections
SELECT
    s.session_id, d.detector, coalesce(r.verdict, 'not_evaluable'), r.severity, r.value,
    r.threshold, r.evidence_span_ids,
    CASE WHEN r.session_id IS NULL THEN '{reason}' ELSE r.reason END
FROM sessions AS s
CROSS JOIN (VALUES {names}) AS d (detector)
LEFT JOIN {recorded} AS r ON s.session_id = r.session_id AND r.detector = d.detector
WHERE NOT s.kept AND {chosen}
"""


DROPPED: Final = "its spans were not kept"
"""Reason of a verdict on a session that nobody judged while its spans were there."""

_NOTHING: Final = "(FROM detections LIMIT 0)"


def register(con: DuckDBPyConnection) -> None:
    """Make what does not depend on the sessions: words of the sources, and `baselines` if absent.

    Call it once per connection, before `run`.
    """
    kinds = values().statuses
    rows = [
        (kind, raw, meaning) for kind in ("tool", "verdict") for raw, meaning in kinds[kind].items()
    ]
    columns = zip(("kind", "raw", "meaning"), zip(*rows, strict=True), strict=True)
    con.register("tracekit_words_import", pa.table({name: list(cells) for name, cells in columns}))
    con.execute("CREATE OR REPLACE TEMP TABLE detector_words AS FROM tracekit_words_import")
    con.unregister("tracekit_words_import")
    baselines.ensure(con)


def run(
    con: DuckDBPyConnection,
    names: Sequence[str] | None = None,
    *,
    where: str | None = None,
    recorded: str | None = None,
    spans: str = "spans",
) -> None:
    """Make temporary table `detections`: a row per session and detector.

    Columns: session_id, detector, verdict (one of `VERDICTS`), severity (medium, high, critical;
    of hits only), value and threshold (what was measured, and what it is compared with; null where
    nothing was), evidence_span_ids (of hits; comma-separated, by time), reason. Also makes
    `detector_cohorts`, the baseline that holds for each session.

    Args:
        con: Connection with `spans`, `tasks`, `sessions` and `attempts`: the tables of
            `tracekit.models` or the views of a lake, `register`ed.
        names: Detectors to run, all by default.
        where: Condition over the columns of `sessions`: which of them to judge; all by default.
        recorded: Table of what was found when the sampler decided, which stands for sessions whose
            spans were not kept: `RECORDED` of a lake. They are not evaluable without it.
        spans: Table with the columns of `spans` that are in `READING`, and those the models read.

    Raises:
        UsageError: There is no detector of such a name.
        TracekitError: A detector's SQL does not run; the message names the detector.
    """
    wanted = [*specification.load().detectors] if names is None else [*names]
    selects = {name: specification.statement(name) for name in wanted}
    chosen = "TRUE"
    if where is not None:
        chosen = f"s.session_id IN (SELECT session_id FROM sessions WHERE {where})"
    con.execute(f"CREATE OR REPLACE TEMP VIEW detector_spans AS FROM {spans}")
    scripts.run(con, specification.text("steps.sql").replace("{chosen}", chosen))
    scripts.run(con, specification.shared("cohorts.sql"))
    con.execute(f"CREATE OR REPLACE TEMP TABLE detections ({_COLUMNS})")
    most = specification.load().evidence_spans
    for name, select in selects.items():
        try:
            scripts.run(con, _INSERT.format(name=name, spans=most, select=select))
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
            reason = str(error).partition("\n")[0]
            raise TracekitError(f"detector {name}: {reason}") from error
    if wanted:
        listed = ", ".join(f"('{name}')" for name in wanted)
        source = recorded or _NOTHING
        con.execute(_DROPPED.format(names=listed, chosen=chosen, recorded=source, reason=DROPPED))
