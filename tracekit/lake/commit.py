"""Writing part files and making them the lake, all at once.

The order is what makes a crash harmless: files are written and synced under temporary names, then
renamed to names that no manifest mentions, then one manifest that lists them appears, then the
files that it no longer lists are removed. Before the manifest a crash leaves files that no reader
looks at; after it, files that no reader looks at any more. The next writer removes both.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from tracekit.errors import LakeError
from tracekit.lake.columns import layout
from tracekit.lake.manifest import Manifest, Part, publish, sync_folder
from tracekit.lake.parts import ROW_GROUP, write_parts
from tracekit.lake.store import remove

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path


class Commit:
    """Part files on their way into the lake. Hold the write lock while one exists.

    Args:
        root: The lake.
        base: The version the commit builds on.
    """

    def __init__(self, root: Path, base: Manifest) -> None:
        self._root = root
        self._base = base
        self._id = f"{base.version + 1:08}-{secrets.token_hex(4)}"
        self._parts: dict[str, Part] = {}
        self._lock = threading.Lock()

    def write(self, con: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
        """Write the rows of a query.

        Args:
            con: Connection to run the query in.
            table: Table of the lake.
            query: Its rows, as `add` takes them.

        Raises:
            LakeError: The files cannot be written.
        """
        try:
            self.add(table, con.sql(query).to_arrow_reader(ROW_GROUP))
        except duckdb.IOException as error:
            raise self._unwritable(error) from error

    def add(self, table: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Write the rows of a table; call it once for a table, from any thread.

        Args:
            table: Table of the lake.
            batches: Its rows, with `date`, sorted by date first.

        Raises:
            LakeError: The files cannot be written.
        """
        try:
            files = write_parts(table, batches, lambda date: self._temporary(date, table))
        except (OSError, pa.ArrowException) as error:
            raise self._unwritable(error) from error
        with self._lock:
            for date, file in files.items():
                part = self._parts.setdefault(date, Part(date, self._id, {}, layout=layout()))
                part.rows[table] = file.rows
                if table == "sessions":
                    self._parts[date] = replace(
                        part, min_start_ns=file.min_start_ns, max_end_ns=file.max_end_ns
                    )

    def publish(
        self, dropped: Collection[Part] = (), imports: Mapping[str, str] | None = None
    ) -> Manifest:
        """Make the written parts live and the `dropped` ones dead, in one step.

        Args:
            dropped: Parts of the base version that the new ones replace.
            imports: Name by digest, of the sources whose spans this commit holds.

        Returns:
            The new version.

        Raises:
            LakeError: The lake cannot be written.
        """
        gone = {(part.date, part.id) for part in dropped}
        kept = (part for part in self._base.parts if (part.date, part.id) not in gone)
        manifest = Manifest(
            version=self._base.version + 1,
            parts=(*kept, *self._parts.values()),
            imports={**self._base.imports, **(imports or {})},
        )
        try:
            self.place()
            publish(self._root, manifest)
            remove(self._root, dropped)
        except OSError as error:
            raise self._unwritable(error) from error
        return manifest

    def place(self) -> None:
        """Give the written files, durably, the names under which a manifest can list them."""
        folders = set()
        for part in self._parts.values():
            for table in part.rows:
                final = self._root / part.path(table)
                self._temporary(part.date, table).replace(final)
                folders |= {final.parent, final.parent.parent}
        for folder in folders:
            sync_folder(folder)

    def _unwritable(self, error: Exception) -> LakeError:
        return LakeError(f"{self._root}: cannot write to this lake: {error}")

    def _temporary(self, date: str, table: str) -> Path:
        final = self._root / Part(date, self._id, {}).path(table)
        return final.with_name(f".{final.stem}.tmp")
