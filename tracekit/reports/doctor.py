"""Is the lake sound, and how much of what it says rests on guesses."""

from __future__ import annotations

from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import yaml

from tracekit import inbox
from tracekit.costs import default_book
from tracekit.reports import query
from tracekit.reports.table import ColumnSpec, Kind, Row, Table
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from tracekit.lake.lake import Lake

_COLUMNS = (
    ColumnSpec("check"),
    ColumnSpec("status", title=""),
    ColumnSpec("value", title="found"),
    ColumnSpec("count", Kind.COUNT, hidden=True),
    ColumnSpec("of", Kind.COUNT, hidden=True),
    ColumnSpec("advice", hidden=True),
)
_PACKAGES = ("tracekit-agents", "duckdb", "pyarrow", "numba", "genai-prices")


class _Check(TypedDict):
    name: str
    view: str
    wrong: str
    of: str
    limit: float
    advice: str


def doctor(lake: Lake) -> Table:
    """Return what is known about a lake's health.

    Raises:
        LakeError: If it cannot be read.
    """
    counted = lake.read(lambda con: list(_counted(con)))
    prices = lake.read(lambda con: list(_prices(con)))
    rows = (*_files(lake), _inbox(lake), *prices, *counted, *_versions())
    notes = tuple(f"{row['check']}: {row['advice']}" for row in rows if row["advice"])
    return Table(f"Health of {lake.path}", _COLUMNS, rows, notes=notes)


def _fact(check: str, value: str, advice: str = "") -> Row:
    """Return a row that states something; with advice where it is worth a look."""
    return {
        "check": check,
        "status": "look" if advice else "ok",
        "value": value,
        "count": None,
        "of": None,
        "advice": advice or None,
    }


def _files(lake: Lake) -> Iterator[Row]:
    manifest = lake.manifest()
    live = {path for table in TABLES for path in manifest.paths(lake.path, table)}
    found = {str(path) for path in lake.path.glob("*/date=*/*.parquet")}
    missing, orphans = live - found, found - live
    size = sum(Path(path).stat().st_size for path in live & found)
    yield _fact("schema version", f"{lake.info.schema_version}, made by {lake.info.writer}")
    yield _fact("imports", f"{len(manifest.imports):,} in {manifest.version:,} commits")
    yield _fact("files", f"{len(live):,}, {size / 1e6:,.1f} MB")
    yield _fact(
        "files that are missing",
        f"{len(missing):,}",
        f"the lake is damaged; restore {min(missing)}" if missing else "",
    )
    yield _fact(
        "files of no commit",
        f"{len(orphans):,}",
        "left by an interrupted import; the next one removes them" if orphans else "",
    )


def _inbox(lake: Lake) -> Row:
    """Say what lies there though the lake was read just now: applications may be running."""
    state = inbox.state(lake.path)
    if state.damaged:
        advice = f"{state.damaged:,} files cannot be read; look at them, and delete them"
        return _fact("inbox", f"{state.damaged:,} damaged files", advice)
    if state.bytes:
        return _fact("inbox", f"{state.files:,} files, {state.bytes / 1e6:,.1f} MB, wait")
    return _fact("inbox", "empty")


def _prices(con: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    now = default_book().version
    yield _fact("price book", now)
    used = query.fetch(
        con,
        "SELECT price_version, count(*) AS calls FROM spans "
        "WHERE price_version IS NOT NULL GROUP BY 1 ORDER BY 2 DESC",
    )
    old = [row for row in used if row["price_version"] != now]
    if old:
        calls = sum(row["calls"] for row in old)
        names = ", ".join(row["price_version"] for row in old)
        advice = "their costs stay as computed then; import into a new lake to compute them again"
        yield _fact("calls priced by other books", f"{calls:,}: {names}", advice)


@cache
def _checks() -> tuple[_Check, ...]:
    text = resources.files("tracekit.reports").joinpath("checks.yaml").read_text("utf-8")
    return tuple(yaml.safe_load(text))


def _counted(con: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    counts: dict[str, tuple[int, int]] = {}
    for view in dict.fromkeys(check["view"] for check in _checks()):
        checks = [check for check in _checks() if check["view"] == view]
        select = ", ".join(
            f"count(*) FILTER (WHERE ({check['of']}) AND ({check['wrong']})) AS wrong_{number}, "
            f"count(*) FILTER (WHERE {check['of']}) AS of_{number}"
            for number, check in enumerate(checks)
        )
        (row,) = query.fetch(con, f"SELECT {select} FROM {view}")
        for number, check in enumerate(checks):
            counts[check["name"]] = (row[f"wrong_{number}"], row[f"of_{number}"])
    for check in _checks():
        yield _row(check, *counts[check["name"]])


def _row(check: _Check, wrong: int, of: int) -> Row:
    ok = not of or wrong / of <= check["limit"]
    share = f" ({_percent(wrong / of)})" if wrong else ""
    return {
        "check": check["name"],
        "status": "ok" if ok else "look",
        "value": f"{wrong:,} of {of:,}{share}",
        "count": wrong,
        "of": of,
        "advice": None if ok else check["advice"],
    }


def _percent(share: float) -> str:
    return "<0.1 %" if share < 0.0005 else f"{share:.1%}".replace("%", " %")  # noqa: PLR2004


def _versions() -> Iterator[Row]:
    for package in _PACKAGES:
        try:
            yield _fact(package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield _fact(package, "not installed", f"pip install {package}")
