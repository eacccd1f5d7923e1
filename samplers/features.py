"""The features of a session: what a policy may ask about.

They are the columns of the ledger's sessions, what was received, the verdicts of the detectors and
the frozen baselines of the session's cohort. A feature never depends on R: what the sampler itself
makes of a session (`kept`, `weight`) is none, so that no policy can choose T by looking at R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.detectors import specification
from tracekit.schema import DECISION, RECEIVED, TABLES, Column, Kind, sql_type

if TYPE_CHECKING:
    import duckdb

DETECTORS: Final = tuple(specification.load().detectors)
"""Detectors whose verdict is a feature, `hit_<name>`."""

DECIDED: Final = frozenset(column.name for column in DECISION)
"""Columns of the ledger that the decision itself fills."""

_HIT = "whether detector {} hit; false when clear, null when it could not be evaluated"

COLUMNS: Final[tuple[Column, ...]] = (
    *(column for column in TABLES["sessions"] if column.name not in DECIDED),
    *(Column(f"hit_{name}", Kind.BOOL, _HIT.format(name)) for name in DETECTORS),
    Column(
        "cohort_cost_median", Kind.DOUBLE, "median cost of the cohort; null until frozen", "USD"
    ),
    Column("cohort_tokens_median", Kind.DOUBLE, "median tokens of the cohort; null until frozen"),
)
"""Columns of table `features`, in order."""

HITS: Final = Column("detector_hits", Kind.INT, "detectors that hit", "detectors")
"""Counted from the verdicts; not part of the table."""

NAMES: Final = (*(column.name for column in COLUMNS), HITS.name)

_COUNTED: Final = " + ".join(f"coalesce(hit_{name}::INTEGER, 0)" for name in DETECTORS)

SOURCE: Final = f"(SELECT *, {_COUNTED} AS {HITS.name} FROM features) AS features"
"""What predicates are evaluated on: table `features`, and what is counted from it."""


def create_table(con: duckdb.DuckDBPyConnection) -> None:
    """Make an empty table `features`."""
    columns = ", ".join(f'"{column.name}" {sql_type(column)}' for column in COLUMNS)
    con.execute(f"CREATE OR REPLACE TABLE features ({columns})")


def statement(*, received: bool) -> str:
    """Return the SELECT of the features of all sessions.

    It reads `sessions`, and `detections` and `detector_cohorts` as `tracekit.detectors.run` makes
    them.

    Args:
        received: Whether a table `received` has what `sessions` does not have before the decision:
            session_id and the columns of `schema.RECEIVED`.
    """
    own = ", ".join(
        f'{"r" if received and column in RECEIVED else "s"}."{column.name}"'
        for column in TABLES["sessions"]
        if is_feature(column)
    )
    hits = ", ".join(
        f"bool_or(verdict = 'hit') FILTER (WHERE detector = '{name}' "
        f"AND verdict <> 'not_evaluable') AS hit_{name}"
        for name in DETECTORS
    )
    join = "\nLEFT JOIN received AS r ON s.session_id = r.session_id" if received else ""
    return f"""
SELECT {own}, h.* EXCLUDE (session_id), c.cohort_cost_median, c.cohort_tokens_median
FROM sessions AS s
LEFT JOIN (SELECT session_id, {hits} FROM detections GROUP BY session_id) AS h
    ON s.session_id = h.session_id
LEFT JOIN detector_cohorts AS c ON s.session_id = c.session_id{join}
"""


def is_feature(column: Column) -> bool:
    """Return whether a column of the ledger is a feature."""
    return column.name not in DECIDED
