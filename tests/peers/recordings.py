"""What each instrumentation exported of the same agent: recordings, and the facts in them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracekit.importers.detect import open_sources
from tracekit.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORDED = HERE / "recorded"

FACTS = """
WITH calls AS (
    SELECT
        service_name,
        count(*) FILTER (WHERE failure_class IS NULL) AS answered,
        count(*) FILTER (WHERE failure_class IS NOT NULL) AS refused,
        string_agg(coalesce(stop_raw, '-'), ' ' ORDER BY start_ns)
            FILTER (WHERE failure_class IS NULL) AS raw,
        string_agg(coalesce(stop_class, '-'), ' ' ORDER BY start_ns)
            FILTER (WHERE failure_class IS NULL) AS classes
    FROM attempts JOIN (
        SELECT DISTINCT trace_id, service_name FROM spans
    ) USING (trace_id)
    GROUP BY ALL
),
tools AS (
    SELECT
        service_name,
        string_agg(coalesce(tool_name, '-'), ' ' ORDER BY start_ns) AS tools,
        count(*) FILTER (WHERE status = 'error') AS tool_errors
    FROM spans WHERE operation = 'tool' GROUP BY ALL
),
whole AS (
    SELECT
        service_name,
        count(*) AS sessions,
        sum(input_tokens) AS input,
        sum(cache_read_tokens) AS cached,
        sum(output_tokens) AS output,
        round(sum(cost_usd), 9) AS cost,
        string_agg(DISTINCT stop_reason, ' ' ORDER BY stop_reason) AS stop,
        max(provider) AS provider,
        max(model) AS model
    FROM sessions GROUP BY ALL
)
SELECT
    service_name, sessions, answered, refused, input, cached, output, cost, raw, classes, tools,
    coalesce(tool_errors, 0) AS tool_errors, stop, provider, model
FROM whole LEFT JOIN calls USING (service_name) LEFT JOIN tools USING (service_name)
"""


def plays() -> list[str]:
    """Return who traces which agent."""
    found: list[str] = yaml.safe_load((HERE / "plays.yaml").read_text("utf-8"))["plays"]
    return found


def file_of(play: str, folder: Path = RECORDED) -> Path:
    """Return where a recording is."""
    return folder / f"{play.replace(' ', '_')}.pb.gz"


def keep(play: str, exported: bytes, folder: Path) -> None:
    """Write what was exported, without what is of the machine it ran on.

    Args:
        play: Who traced which agent; becomes the service, by which they are told apart.
        exported: OTLP requests, one after the other.
        folder: Where to write.
    """
    request = ExportTraceServiceRequest.FromString(exported)
    for resource_spans in request.resource_spans:
        _renamed(resource_spans.resource, play)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                for event in span.events:
                    kept = [a for a in event.attributes if a.key != "exception.stacktrace"]
                    del event.attributes[:]
                    event.attributes.extend(kept)
                for attribute in [
                    *span.attributes,
                    *(a for e in span.events for a in e.attributes),
                ]:
                    _cleaned(attribute.value)
    folder.mkdir(exist_ok=True, parents=True)
    file_of(play, folder).write_bytes(gzip.compress(request.SerializeToString(), mtime=0))


def _renamed(resource: Resource, play: str) -> None:
    del resource.attributes[:]
    resource.attributes.add(key="service.name").value.string_value = play


def _cleaned(value: AnyValue) -> None:
    if value.HasField("string_value"):
        text = value.string_value.replace(str(ROOT), "/app")
        value.string_value = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:80", text)


def facts(folder: Path, lake: Path) -> dict[str, dict[str, str]]:
    """Return the facts of each recording in a folder, as text.

    Args:
        folder: Where the recordings are.
        lake: Where to make a lake of them.
    """
    into = Lake.open(lake, create=True)
    summary = into.ingest(open_sources([str(folder)]))
    assert summary.failed == ()
    found: Iterable[dict[str, object]] = into.query(FACTS).to_pylist()
    return {
        str(row.pop("service_name")): {
            name: "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            for name, value in row.items()
        }
        for row in found
    }
