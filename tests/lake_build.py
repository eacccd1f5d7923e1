"""Make lakes in tests: `imported(lake, folder, a=[span(...)], b=[span(...)])`, `rows(lake, sql)`.

Each keyword is a file of its own, written with OTLP's protobuf encoding and opened by the readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otlp_build import request

from tracekit.importers.detect import open_sources
from tracekit.lake import Lake
from tracekit.schema import TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tracekit.lake import ImportSummary

RECORDED_NS = 1_790_000_000_000_000_000
"""When the lake of a test learned of its verdicts."""

DAY_S = 86_400


def new_lake(folder: Path) -> Lake:
    """Return an empty lake."""
    return Lake.open(folder, create=True, wait_s=0.2)


def written(folder: Path, name: str, spans: Sequence[Span]) -> str:
    """Write spans to a file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.pb"
    path.write_bytes(request(spans))
    return str(path)


def import_files(
    lake: Lake, folder: Path, files: Mapping[str, Sequence[Span]], recorded_ns: int = RECORDED_NS
) -> ImportSummary:
    """Write spans to files, import all files at once, and return the summary."""
    paths = [written(folder, name, spans) for name, spans in files.items()]
    return lake.ingest(open_sources(paths), recorded_ns=recorded_ns)


def imported(lake: Lake, folder: Path, **files: Sequence[Span]) -> ImportSummary:
    """Import files named by keywords, see `import_files`."""
    return import_files(lake, folder, files)


def rows(lake: Lake, sql: str, as_of_ns: int | None = None) -> list[Any]:
    """Return a query's rows: values of one column, or tuples of several."""
    table = lake.query(sql, as_of_ns)
    found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return [row[0] for row in found] if table.num_columns == 1 else found


def contents(lake: Lake) -> dict[str, list[str]]:
    """Return every row of every view, as sorted text: equal for lakes that say the same.

    Sums of money are rounded: their last bits depend on the order of adding.
    """

    def text(row: tuple[Any, ...]) -> str:
        return repr([round(value, 12) if isinstance(value, float) else value for value in row])

    return {table: sorted(map(text, rows(lake, f"SELECT * FROM {table}"))) for table in TABLES}
