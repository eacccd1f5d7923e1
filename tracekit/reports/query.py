"""Running the reports' SQL files: selecting, grouping, and what a mistake is called."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib import resources
from math import isfinite
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

from tracekit.errors import LakeError, TracekitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tracekit.reports.table import Row, Value

_USAGE_ERRORS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
    duckdb.TypeMismatchException,
)
"""What DuckDB raises for a query that is wrong; everything else is the lake's fault."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of a view a report speaks of.

    Attributes:
        where: SQL expression over the view's columns; None selects everything.
        since: First start that is selected, UTC.
        until: First start that is no longer selected, UTC.
    """

    where: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def sql(self) -> str:
        """Return the selection as one SQL condition."""
        conditions = [
            # A line of its own: the expression may end in a comment.
            *([f"(\n{self.where}\n)"] if self.where else []),
            *([f"started_at >= TIMESTAMP '{_naive(self.since)}'"] if self.since else []),
            *([f"started_at < TIMESTAMP '{_naive(self.until)}'"] if self.until else []),
        ]
        return " AND ".join(conditions) or "TRUE"


def _naive(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


@dataclass(frozen=True, slots=True)
class Grouping:
    """What a report is grouped by: SQL expressions by the name of their column."""

    keys: Mapping[str, str]

    def parts(self) -> dict[str, str]:
        """Return what goes into the braces of a report's SQL file.

        In SQL the keys are called key_1, key_2, ..., which no view's column is.
        """
        names = [f"key_{number}" for number in range(1, len(self.keys) + 1)]
        same = [f"groups.{name} IS NOT DISTINCT FROM others.{name}" for name in names]
        select = [f"{sql} AS {name}, " for name, sql in zip(names, self.keys.values(), strict=True)]
        return {
            "keys": "".join(select),
            "names": "".join(f"{name}, " for name in names),
            # Nothing to group by is one group, also of no rows.
            "group": ", ".join(names) or "()",
            "order": ", ".join(names) or "1",
            "same_group": " AND ".join(same) or "TRUE",
        }

    def renamed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of such a query with the keys under their own names, first."""
        keys = {name: row[f"key_{number}"] for number, name in enumerate(self.keys, 1)}
        return keys | {name: value for name, value in row.items() if not name.startswith("key_")}


def quoted(name: str) -> str:
    """Return an identifier in SQL quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text in SQL quotes."""
    return "'" + text.replace("'", "''") + "'"


@cache
def _dimensions() -> dict[str, str]:
    text = resources.files("tracekit.reports").joinpath("dimensions.yaml").read_text("utf-8")
    words: dict[str, str] = yaml.safe_load(text)
    return words


def columns_of(con: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    """Return the names of a view's columns, in order."""
    return [row["column_name"] for row in fetch(con, f"DESCRIBE {quoted(view)}")]


def grouping(
    con: duckdb.DuckDBPyConnection, view: str, by: Sequence[str], taken: Iterable[str] = ()
) -> Grouping:
    """Resolve the words a report is grouped by.

    Args:
        con: Connection with the view.
        view: View that is grouped.
        by: Columns of the view, or words of `dimensions.yaml`.
        taken: Names that mean something else in this report.

    Raises:
        UsageError: If a word is neither, or names a number that the report itself computes.
    """
    known = columns_of(con, view)
    keys: dict[str, str] = {}
    for word in by:
        sql = _dimensions().get(word, word)
        if word in known or sql in known:
            name = word if word in known else sql
            keys[name] = quoted(name)
        elif word in _dimensions():
            keys[word] = sql
        else:
            raise UsageError(f"{view} has no column {word!r}{suggestion(word, known)}")
    for name in set(keys) & set(taken):
        raise UsageError(f"cannot group by {name}: it is a number this report computes")
    return Grouping(keys)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for a word nobody knows, or where to look them up."""
    close = difflib.get_close_matches(word.lower(), list(dict.fromkeys(known)), n=2, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return "; `tracekit schema` lists the columns"


@cache
def statement(name: str) -> str:
    """Return one of the reports' SQL files, with its places in braces."""
    return resources.files("tracekit.reports").joinpath(f"{name}.sql").read_text("utf-8")


def report(
    con: duckdb.DuckDBPyConnection,
    name: str,
    view: str,
    selection: Selection,
    keys: Grouping | None = None,
    **parts: str,
) -> list[dict[str, Any]]:
    """Run one of the reports' SQL files.

    Args:
        con: Connection with the lake's views.
        name: File beside this module, without `.sql`.
        view: View that the selection is about.
        selection: Fills the place `{where}`.
        keys: Fills the places of `Grouping.parts`.
        parts: SQL for the other places in braces.

    Raises:
        UsageError: If the caller's words are wrong.
        LakeError: If the lake cannot be read.
    """
    check_where(con, view, selection.where)
    keys = keys or Grouping({})
    text = statement(name).format(where=selection.sql(), **keys.parts(), **parts)
    return [keys.renamed(row) for row in fetch(con, text, view=view)]


def check_where(con: duckdb.DuckDBPyConnection, view: str, where: str | None) -> None:
    """Refuse a condition that is no SQL expression over the view's columns.

    Raises:
        UsageError: Naming what is wrong with it.
    """
    if where is None:
        return
    probe = f"SELECT 1 FROM {quoted(view)} WHERE (\n{where}\n) LIMIT 0"
    try:
        statements = con.extract_statements(probe)
    except duckdb.Error as error:
        raise UsageError(f"--where: {_first_line(error)}") from error
    if len(statements) != 1:
        raise UsageError(f"--where takes one SQL expression, not several statements: {where}")
    try:
        # What is an expression without the parentheses too cannot close them: `1=1) OR (1=1`.
        con.extract_statements(f"SELECT {where}\n")
        con.execute(probe)
    except duckdb.Error as error:
        translated = explain(error, columns_of(con, view))
        hint = "; text goes in 'single quotes'" if '"' in where else ""
        raise type(translated)(f"--where: {translated}{hint}") from error


def fetch(
    con: duckdb.DuckDBPyConnection, query: str, *, view: str | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as dictionaries, values as they come from DuckDB.

    Raises:
        UsageError: If the query is wrong.
        LakeError: If the lake cannot be read.
    """
    try:
        cursor = con.execute(query)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.IOException:
        raise  # a writer replaced files: `Lake.read` asks again, of the new ones
    except duckdb.Error as error:
        raise explain(error, columns_of(con, view) if view else []) from error


def explain(error: duckdb.Error, known: Iterable[str] = ()) -> TracekitError:
    """Return one of DuckDB's errors as one line a user can act on.

    Args:
        error: What DuckDB raised.
        known: Columns to suggest where an unknown one was named.
    """
    message = _first_line(error)
    unknown = re.search(r'(?:Referenced column|have a column named) "([^"]+)"', message)
    if unknown:
        words = [*re.findall(r'"([^"]+)"', _candidates(error)), *known]
        return UsageError(f"no column {unknown[1]!r}{suggestion(unknown[1], words)}")
    if isinstance(error, _USAGE_ERRORS):
        return UsageError(message)
    return LakeError(f"the lake cannot be read: {message}; `tracekit doctor` tells more")


def _first_line(error: duckdb.Error) -> str:
    lines = str(error).strip().splitlines() or ["unknown error"]
    hint = next((line for line in lines[1:] if line.startswith("Did you mean")), "")
    first = re.sub(r"^(?:[A-Z][\w ]* Error|TransactionContext Error): ", "", lines[0])
    return f"{first} {hint}".strip()


def _candidates(error: duckdb.Error) -> str:
    return next(
        (line for line in str(error).splitlines() if line.startswith("Candidate bindings")), ""
    )


def plain(row: Mapping[str, Any]) -> Row:
    """Return a row with every value as a report holds it."""
    return {name: plain_value(value) for name, value in row.items()}


def plain_value(value: Any) -> Value:
    """Return a DuckDB value as text, a number, a boolean, a list of texts, or None."""
    plain: Value
    match value:
        case None | bool() | int() | float() | str():
            plain = value
        case Decimal():
            plain = float(value)
        case datetime():
            plain = iso(value)
        case timedelta():
            plain = value.total_seconds()
        case list() | tuple():
            plain = [str(item) for item in value]
        case _:
            plain = str(value)
    return plain


def finite(value: float) -> float | None:
    """Return None for what JSON has no number for: NaN and infinity."""
    return value if isfinite(value) else None


def iso(moment: datetime) -> str:
    """Return a time as ISO 8601; without a zone it is taken as UTC."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat() + "Z"
