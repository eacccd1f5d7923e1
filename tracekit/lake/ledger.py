"""Sessions a sampler decided: kept ones with their spans, dropped ones as rows of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.lake.columns import received_columns
from tracekit.lake.commit import Commit
from tracekit.lake.derive import Derivation
from tracekit.lake.derived import alone
from tracekit.lake.labels import label_table
from tracekit.stops.outputs import inspect_table

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from tracekit.lake.derived import Earlier
    from tracekit.lake.manifest import Manifest


def inspected(scanned: pa.Table) -> pa.Table:
    """Return scanned spans as the models take them: outputs inspected, content dropped."""
    return inspect_table(scanned).select([column.name for column in received_columns()])


def write_sessions(  # noqa: PLR0913 - what there is to say about sessions
    root: Path,
    manifest: Manifest,
    spans: pa.Table,
    decisions: pa.Table,
    detections: pa.Table,
    *,
    earlier: Earlier | None = None,
    recorded_ns: int,
    with_spans: bool,
) -> Manifest:
    """Derive sessions from their spans and store them; hold the write lock.

    A session that the lake has as kept stays kept, with its spans. Writing the same again changes
    nothing.

    Args:
        root: The lake.
        manifest: Its newest version.
        spans: All spans of the sessions, `inspected`, but for those that are derived already.
        decisions: What was decided about them, `decided.DECISIONS`.
        detections: What detectors found in them, `decided.DETECTIONS`.
        earlier: Rows of dropped sessions.
        recorded_ns: When the lake learns of the verdicts on them.
        with_spans: Whether spans of kept ones are stored.

    Returns:
        The version with them.
    """
    rows = None
    if earlier is not None and earlier.batches:
        spans, rows = alone(root, manifest, spans, earlier)
    if not spans.num_rows and (rows is None or not rows.sessions):
        return manifest
    labels = label_table([], recorded_ns)
    with Derivation(
        root,
        manifest,
        spans,
        labels,
        decisions=decisions,
        detections=detections,
        derived=rows,
        spans=with_spans,
    ) as derivation:
        commit = Commit(root, manifest)
        derivation.derive(recorded_ns, commit)
        derivation.write(commit)
        return commit.publish(derivation.touched_parts)
