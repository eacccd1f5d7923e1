"""Rows of the ledger that were derived when their sessions were decided: not to be made twice.

What a session is derived to depends on its own spans and on those it shares a trace with. So these
rows are what the lake would make of the same spans, unless something they belong to is elsewhere:
`alone` tells these from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from tracekit.lake.sql import connection, listed, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from tracekit.lake.manifest import Manifest

_PLACES: Final = "lake_places"
_TABLES: Final = ("attempts", "tasks", "sessions", "outcomes", _PLACES)


@dataclass(frozen=True, slots=True)
class Derived:
    """Rows of whole sessions, as `tracekit.models` made them.

    Attributes:
        tables: Rows of `attempts`, `tasks`, `sessions` and `outcomes`, and `lake_places`: date
            and traces of each session.
    """

    tables: Mapping[str, pa.Table]

    @property
    def sessions(self) -> list[str]:
        """Whose rows they are."""
        keys: list[str] = self.tables[_PLACES]["session_id"].to_pylist()
        return keys

    def of(self, sessions: Collection[str]) -> Derived:
        """Return the rows of some sessions."""
        wanted = pa.array(list(sessions), pa.string())
        return Derived(
            {
                name: table.filter(pc.is_in(table["session_id"], wanted))
                for name, table in self.tables.items()
            }
        )


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was derived earlier, and the way back to the spans.

    Attributes:
        batches: Rows, by the batch their sessions were derived in.
        spans_of: Returns the scanned spans of some of the sessions, by their ids: what came apart
            may belong together, and is then derived again.
    """

    batches: Sequence[Derived]
    spans_of: Callable[[Collection[str]], pa.Table]


def read(con: duckdb.DuckDBPyConnection) -> Derived:
    """Return what `models.run` has made in a connection."""
    con.execute(statement("places.sql"))
    return Derived({name: con.sql(f"FROM {name}").to_arrow_table() for name in _TABLES})


def alone(
    root: Path, manifest: Manifest, spans: pa.Table, earlier: Earlier
) -> tuple[pa.Table, Derived]:
    """Return the spans that are to be derived now, and the rows that stand as they are.

    Args:
        root: The lake.
        manifest: Its newest version; hold the write lock.
        spans: Scanned spans that come with the rows.
        earlier: The rows, of one batch at least.
    """
    batches = earlier.batches
    while again := _entangled(root, manifest, spans, batches):
        spans = pa.concat_tables([spans, earlier.spans_of(again)])
        batches = [batch.of(set(batch.sessions) - again) for batch in batches]
    tables = {name: [batch.tables[name] for batch in batches] for name in _TABLES}
    return spans, Derived({name: pa.concat_tables(found) for name, found in tables.items()})


def _entangled(
    root: Path, manifest: Manifest, incoming: pa.Table, batches: Sequence[Derived]
) -> set[str]:
    """Return the sessions whose rows depend on spans outside of their batch."""
    places = [
        batch.tables[_PLACES].append_column("batch", pa.array([number] * len(batch.sessions)))
        for number, batch in enumerate(batches)
    ]
    paths = manifest.paths(root, "sessions")
    lake = f"read_parquet({listed(paths)})" if paths else "derived_places WHERE false"
    con = connection()
    try:
        con.register("derived_places", pa.concat_tables(places))
        con.register("incoming", incoming.select(["trace_id", "session_key"]))
        con.execute(
            f"CREATE TEMP VIEW lake_sessions AS SELECT session_id, lake_trace_ids FROM {lake}"
        )
        return {row[0] for row in con.execute(statement("entangled.sql")).fetchall()}
    finally:
        con.close()


def add_attempts(con: duckdb.DuckDBPyConnection, rows: Derived | None) -> None:
    """Make view `every_attempt`: what `models.run_spans` made, and these rows.

    Args:
        con: Connection with `attempts` and `lake_places`, to which these rows' are added.
        rows: The rows.
    """
    every = "FROM attempts"
    if rows is not None:
        con.register("derived_places", rows.tables[_PLACES])
        con.register("derived_attempts", rows.tables["attempts"])
        con.execute("INSERT INTO lake_places BY NAME SELECT * FROM derived_places")
        every += " UNION ALL BY NAME FROM derived_attempts"
    con.execute(f"CREATE OR REPLACE TEMP VIEW every_attempt AS {every}")


def add_ledger(con: duckdb.DuckDBPyConnection, rows: Derived | None) -> None:
    """Add these rows to `tasks`, `sessions` and `outcomes` after `models.run_ledger`."""
    if rows is not None:
        for name in ("tasks", "sessions", "outcomes"):
            con.register(f"derived_{name}", rows.tables[name])
        con.execute(statement("derived.sql"))
