"""Spans of a process without an OTLP endpoint go to the lake's inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracekit import inbox
from tracekit.instrumentation import runtime
from tracekit.otlp.span_encoder import encode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

_SITE = "lake_exporter"


class LakeExporter(SpanExporter):
    """Appends finished spans to the inbox of a lake; what cannot be written is counted, not raised.

    Attributes:
        counts_losses: Whoever exports must not count a failure again.
    """

    counts_losses = True

    def __init__(self, lake: Path) -> None:
        """Write to a lake.

        Args:
            lake: Folder of the lake.
        """
        self._lake = lake.absolute()  # the application may change its folder
        self._warned = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a batch, whole or not at all."""
        try:
            inbox.append(self._lake, encode(spans))
        except inbox.InboxFullError as error:
            return self._lost("inbox_full", len(spans), error)
        except OSError as error:
            return self._lost("export_failed", len(spans), error)
        except Exception:  # noqa: BLE001  a fault of ours is not the application's
            runtime.failed(_SITE)
            runtime.count("export_failed", len(spans))
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _lost(self, reason: str, spans: int, error: OSError) -> SpanExportResult:
        runtime.count(reason, spans)
        if not self._warned:
            self._warned = True
            runtime.log.warning(
                "spans cannot be written to %s and are counted as lost: %s", self._lake, error
            )
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing: a batch is written when `export` returns."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  the SDK's signature
        """Do nothing: a batch is written when `export` returns."""
        return True
