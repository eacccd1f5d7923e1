"""Small writes and housekeeping: labels, merging small parts, dropping old dates."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tracekit.lake.columns import SESSION_ORDER
from tracekit.lake.commit import Commit
from tracekit.lake.parts import rows_of
from tracekit.lake.sql import connection, statement
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tracekit.lake.manifest import Manifest, Part


def write_labels(root: Path, manifest: Manifest, labels: pa.Table) -> Manifest:
    """Append verdicts, in a part per date; hold the write lock.

    Args:
        root: The lake.
        manifest: Its newest version.
        labels: Verdicts with the columns of `outcomes`.

    Returns:
        The version with them.
    """
    commit = Commit(root, manifest)
    with connection() as con:
        con.register("labels", labels)
        con.execute(statement("labels.sql"))
        commit.write(con, "outcomes", "SELECT * FROM new_labels ORDER BY date")
    return commit.publish()


def write_baselines(root: Path, manifest: Manifest, baselines: pa.Table) -> Manifest:
    """Append baselines of cohorts, in a part per day; hold the write lock.

    Args:
        root: The lake.
        manifest: Its newest version.
        baselines: The rows, with the columns of table `baselines`.

    Returns:
        The version with them.
    """
    commit = Commit(root, manifest)
    with connection() as con:
        con.register("new_baselines", baselines)
        date = "strftime(DATE '1970-01-01' + CAST(day AS INTEGER), '%Y-%m-%d') AS date"
        commit.write(con, "baselines", f"SELECT {date}, * FROM new_baselines ORDER BY date")
    return commit.publish()


def compact(root: Path, manifest: Manifest, *, min_parts: int, small_rows: int) -> Manifest:
    """Merge the small parts of each date that has several; hold the write lock.

    Args:
        root: The lake.
        manifest: Its newest version.
        min_parts: Small parts a date must have.
        small_rows: Parts with fewer rows in every table are small.

    Returns:
        The version with the merged parts, or the same one if there was nothing to merge.
    """
    by_date: defaultdict[str, list[Part]] = defaultdict(list)
    for part in manifest.parts:
        if max(part.rows.values()) < small_rows:
            by_date[part.date].append(part)
    crowded = {date: parts for date, parts in by_date.items() if len(parts) >= min_parts}
    if not crowded:
        return manifest
    merged = [part for parts in crowded.values() for part in parts]
    commit = Commit(root, manifest)
    with connection() as con:
        for table in TABLES:
            parts = [part for part in merged if table in part.rows]
            if parts:
                rows = rows_of(root, parts, table)
                commit.write(con, table, f"{rows} ORDER BY date, {SESSION_ORDER[table]}")
    return commit.publish(merged)


def expire(root: Path, manifest: Manifest, before_date: str) -> Manifest:
    """Drop every part of an earlier date; hold the write lock.

    Sources stay known as imported, so importing them again does not bring the rows back.

    Args:
        root: The lake.
        manifest: Its newest version.
        before_date: First UTC date that stays, `YYYY-MM-DD`.

    Returns:
        The version without them, or the same one if there were none.
    """
    old = [part for part in manifest.parts if part.date < before_date]
    return Commit(root, manifest).publish(old) if old else manifest
