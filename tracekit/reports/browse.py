"""A page of sessions out of many, without reading what the page does not need.

A session's verdicts may lie anywhere among the outcomes, so that a view over all sessions reads all
of them. What the files themselves say of a session (when, how it stopped, what it cost) narrows the
search first; the views then speak of the sessions that come first in the order, and of more of them
only where those do not fill the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tracekit import detectors
from tracekit.detectors import specification
from tracekit.errors import UsageError
from tracekit.lake.catalogue import narrow
from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.sessions import COLUMNS, Order
from tracekit.reports.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb
    import pyarrow as pa

_FIRST_LOOK: Final = 2_000
"""Sessions that are looked at first for a condition on what is not stored."""
_GROWTH: Final = 8
_MOST_DETECTED: Final = 20_000
"""Sessions that one page has a detector judge at most."""
_STORED_NAMES: Final = {"started_at": "start_ns", "ended_at": "end_ns"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions a page shows.

    Attributes:
        stored: Conditions over stored columns of `sessions`, all of which hold.
        outcome: success, failure or undetermined; None for any.
        detector: A detector that hits; None for any.
        where: SQL expression over the columns of `sessions`.
        order: Sorting, by a stored column; `limit` is the size of a page.
        offset: Sessions on the pages before.
    """

    stored: tuple[str, ...] = ()
    outcome: str | None = None
    detector: str | None = None
    where: str | None = None
    order: Order = field(default_factory=lambda: Order(limit=50))
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A page of sessions.

    Attributes:
        table: Its sessions.
        more: Whether others follow.
        total: How many there are on all pages; None where counting would take reading everything.
        unseen: Whether sessions were left out that nobody looked at, because there are too many.
    """

    table: Table
    more: bool
    total: int | None
    unseen: bool = False


def browse(
    con: duckdb.DuckDBPyConnection, wanted: Wanted, baselines: pa.Table | None = None
) -> Found:
    """Return a page of sessions.

    Args:
        con: Connection with the lake's views; they are narrowed.
        wanted: Which sessions.
        baselines: Cohorts for detectors, see `tracekit.detectors.restore`; none by default.

    Raises:
        UsageError: If a condition, the column or the detector is wrong.
    """
    query.check_where(con, "sessions", wanted.where)
    stored = " AND ".join(wanted.stored) or "TRUE"
    _check_sort(con, wanted.order.sort)
    if wanted.outcome is None and wanted.detector is None and wanted.where is None:
        return _stored_page(con, wanted, stored)
    if wanted.detector is not None:
        specification.detector(wanted.detector)
        detectors.register(con)
        detectors.restore(con, baselines)
    return _derived_page(con, wanted, stored)


def _check_sort(con: duckdb.DuckDBPyConnection, sort: str) -> None:
    known = [row["column_name"] for row in query.fetch(con, "DESCRIBE files.sessions")]
    if _STORED_NAMES.get(sort, sort) not in known:
        raise UsageError(f"cannot sort by {sort!r}{query.suggestion(sort, known)}")


def _stored_page(con: duckdb.DuckDBPyConnection, wanted: Wanted, stored: str) -> Found:
    """Find the page by what is stored, and show only its sessions."""
    (total,) = query.fetch(con, f"SELECT count(*) AS n FROM files.sessions WHERE {stored}")
    limit = f"{wanted.order.limit} OFFSET {wanted.offset}"
    narrow(con, _candidates(wanted.order, stored, limit))
    rows = _rows(con, wanted.order, "TRUE", str(wanted.order.limit))
    return Found(_table(rows), wanted.offset + len(rows) < total["n"], total["n"])


def _derived_page(con: duckdb.DuckDBPyConnection, wanted: Wanted, stored: str) -> Found:
    """Look at the first sessions of the order, and at more of them until the page is full."""
    (total,) = query.fetch(con, f"SELECT count(*) AS n FROM files.sessions WHERE {stored}")
    limit = wanted.order.limit
    rows: list[dict[str, Any]] = []
    looked = 0
    for looked in _looks(wanted, total["n"]):
        narrow(con, _candidates(wanted.order, stored, str(looked)))
        if wanted.detector is not None:
            detectors.run(con, [wanted.detector], recorded=detectors.RECORDED)
        rows = _rows(con, wanted.order, _conditions(wanted), f"{limit + 1} OFFSET {wanted.offset}")
        if len(rows) > limit:
            break
    unseen = looked < total["n"]
    more = len(rows) > limit
    return Found(_table(rows[:limit]), more, None, unseen=unseen and not more)


def _looks(wanted: Wanted, total: int) -> Iterator[int]:
    """Yield how many of the sessions that come first to look at, more each time."""
    # A subquery may speak of all sessions, and then all of them must be there.
    whole = "select" in (wanted.where or "").lower()
    most = total if wanted.detector is None else min(total, _MOST_DETECTED)
    for power in count():
        looked = most if whole else min(most, _FIRST_LOOK * _GROWTH**power)
        yield looked
        if looked == most:
            return


def _candidates(order: Order, stored: str, limit: str) -> str:
    return query.statement("candidates").format(
        stored=stored,
        sort=query.quoted(_STORED_NAMES.get(order.sort, order.sort)),
        direction=_direction(order),
        limit=limit,
    )


def _conditions(wanted: Wanted) -> str:
    conditions = [
        *([f"outcome = '{_outcome(wanted.outcome)}'"] if wanted.outcome else []),
        *(
            ["session_id IN (SELECT session_id FROM detections WHERE verdict = 'hit')"]
            if wanted.detector
            else []
        ),
        Selection(wanted.where).sql(),
    ]
    return " AND ".join(conditions)


def _outcome(word: str) -> str:
    if word not in {"success", "failure", "undetermined"}:
        raise UsageError(f"no outcome {word!r}; there are: success, failure, undetermined")
    return word


def _rows(
    con: duckdb.DuckDBPyConnection, order: Order, where: str, limit: str
) -> list[dict[str, Any]]:
    text = query.statement("sessions").format(
        columns=", ".join(column.name for column in COLUMNS),
        where=where,
        sort=query.quoted(order.sort),
        direction=_direction(order),
        limit=limit,
    )
    return query.fetch(con, text, view="sessions")


def _direction(order: Order) -> str:
    return "DESC" if order.descending else "ASC"


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    return Table("Sessions", COLUMNS, tuple(query.plain(row) for row in rows))
