"""One session: what it was, how it ended, and its steps as a tree on a time axis."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracekit.errors import UsageError
from tracekit.reports import query
from tracekit.reports.query import Selection
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

_STEP_COLUMNS = (
    ColumnSpec("depth", Kind.COUNT),
    ColumnSpec("branch"),
    ColumnSpec("trace_id", Kind.ID),
    ColumnSpec("span_id", Kind.ID),
    ColumnSpec("parent_span_id", Kind.ID),
    ColumnSpec("task_id", Kind.ID),
    ColumnSpec("name"),
    ColumnSpec("operation"),
    ColumnSpec("subject"),
    ColumnSpec("at_s", Kind.SECONDS),
    ColumnSpec("duration_s", Kind.SECONDS),
    ColumnSpec("input_tokens", Kind.COUNT),
    ColumnSpec("cache_read_tokens", Kind.COUNT),
    ColumnSpec("output_tokens", Kind.COUNT),
    ColumnSpec("billable", Kind.BOOL),
    ColumnSpec("cost_usd", Kind.USD),
    ColumnSpec("cost_missing_reason"),
    ColumnSpec("waste_reason"),
    ColumnSpec("wasted_cost_usd", Kind.USD),
    ColumnSpec("status"),
    ColumnSpec("error_type"),
    ColumnSpec("http_status", Kind.COUNT),
    ColumnSpec("stop_raw"),
    ColumnSpec("stop_class"),
    ColumnSpec("stop_framework_raw"),
    ColumnSpec("approval_status"),
)
_TASK_COLUMNS = (
    ColumnSpec("task_id", Kind.ID, title="task"),
    ColumnSpec("task_name", title="name", rank=2),
    ColumnSpec("outcome"),
    ColumnSpec("outcome_source", title="evidence", rank=1),
    ColumnSpec("stop_reason", title="stop"),
    ColumnSpec("duration_s", Kind.SECONDS, title="duration\ns"),
    ColumnSpec("cost_usd", Kind.USD, title="cost\nUSD", bound="unpriced_calls"),
    ColumnSpec("unpriced_calls", Kind.COUNT, hidden=True),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One session.

    Attributes:
        head: Its row in `sessions`, every column.
        tasks: Its tasks, in order of time.
        steps: Its spans as a tree, parents before their children; `depth` is the level, from 0, and
            `branch` one character per level: `│` an ancestor with later siblings, `├` a step with
            later siblings, `└` a last one, a space otherwise. `at_s` counts from the first start.
    """

    head: Row
    tasks: Table
    steps: Table


def session(con: duckdb.DuckDBPyConnection, session_id: str) -> Session:
    """Return a session by its id or the beginning of it.

    Args:
        con: Connection with the lake's views.
        session_id: Id, or as much of it as only one session begins with.

    Raises:
        UsageError: If no session begins with it, or several do.
    """
    head = _find(con, session_id)
    wanted = query.literal(str(head["session_id"]))
    tasks = query.report(con, "session_tasks", "tasks", Selection(), session_id=wanted)
    spans = query.report(con, "session_steps", "spans", Selection(), session_id=wanted)
    return Session(
        head=query.plain(head),
        tasks=Table("Tasks", _TASK_COLUMNS, tuple(query.plain(task) for task in tasks)),
        steps=Table("Steps", _STEP_COLUMNS, tuple(_steps(spans))),
    )


def exists(con: duckdb.DuckDBPyConnection, session_id: str, task_id: str | None = None) -> bool:
    """Return whether the lake has a session, or a task of it."""
    view, condition = "sessions", f"session_id = {query.literal(session_id)}"
    if task_id is not None:
        view, condition = "tasks", f"{condition} AND task_id = {query.literal(task_id)}"
    return bool(query.fetch(con, f"SELECT 1 FROM {view} WHERE {condition} LIMIT 1"))


def _find(con: duckdb.DuckDBPyConnection, session_id: str) -> dict[str, Any]:
    found = query.report(
        con, "session_find", "sessions", Selection(), prefix=query.literal(session_id)
    )
    if not found:
        raise UsageError(f"no session begins with {session_id!r}; `tracekit sessions` lists them")
    if len(found) > 1 and found[0]["session_id"] != session_id:
        names = ", ".join(row["session_id"] for row in found[:3])
        more = ", ..." if len(found) > 3 else ""  # noqa: PLR2004 - as many as are named
        raise UsageError(f"several sessions begin with {session_id!r}: {names}{more}")
    return found[0]


def _steps(spans: Sequence[dict[str, Any]]) -> Iterator[Row]:
    start = min((span["start_ns"] for span in spans if span["start_ns"]), default=0)
    for branch, span in walk(spans):
        row = {"depth": len(branch), "branch": branch} | span
        row["at_s"] = ((span["start_ns"] or start) - start) / 1e9
        yield query.plain({column.name: row[column.name] for column in _STEP_COLUMNS})


def walk(spans: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield spans depth first, each with the branch that leads to it.

    A span whose parent was not received is a root. Spans that are each other's ancestors (broken
    instrumentation) are reached from no root; the earliest of them is taken as one.
    """
    ids = {(span["trace_id"], span["span_id"]) for span in spans}
    children: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    roots: list[dict[str, Any]] = []
    for span in spans:
        parent = (span["trace_id"], span["parent_span_id"])
        (children[parent] if parent in ids else roots).append(span)
    seen: set[tuple[str, str]] = set()
    for root in [*roots, *spans]:
        stack = [("", root)]
        while stack:
            branch, span = stack.pop()
            key = (span["trace_id"], span["span_id"])
            if key in seen:
                continue
            seen.add(key)
            yield branch, span
            above = branch.replace("├", "│").replace("└", " ")
            below = children[key]
            stack += [
                (above + ("└" if child is below[-1] else "├"), child) for child in reversed(below)
            ]
