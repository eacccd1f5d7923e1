"""The stop cases of `cases/*.yaml` as OTLP bytes, and the way of such bytes to stops."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb
import yaml
from otlp_build import request, span

from tracekit.models import pipeline
from tracekit.otlp.reference import scan_reference
from tracekit.stops import inspect_table

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

_FOLDER: Final = Path(__file__).parent / "stops" / "cases"
_OPERATIONS: Final = {"agent": "invoke_agent", "chat": "chat", "tool": "execute_tool"}
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
    },
    "agent": {"gen_ai.agent.name": "clerk"},
}
_WORDS: Final = frozenset({"is", "at", "finish", "status", "verdict", "parent", "trace"})


@dataclass(frozen=True)
class Case:
    """One recording and what is expected of it."""

    name: str
    spans: list[dict[str, Any]]
    expect: dict[str, Any]
    unless: str | None


def cases() -> list[Case]:
    """Return all cases, in the order of the files."""
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(_FOLDER.glob("*.yaml"))]
    return [
        Case(entry["case"], entry["spans"], entry["expect"], entry.get("unless"))
        for entry in itertools.chain.from_iterable(documents)
    ]


def encode(entries: list[dict[str, Any]], session: str, number: int = 0) -> bytes:
    """Return the spans of a case as an OTLP request, a session of its own.

    Args:
        entries: Spans as written in a case.
        session: Session key, put on every span.
        number: Keeps the trace ids of cases apart.
    """
    spans: list[Span] = []
    agents: dict[int, Span] = {}
    for written in entries:
        entry = {**written, "tracekit.session.id": session}
        trace = 10 * number + entry.get("trace", 1)
        where = entry.get("parent", "none" if entry["is"] in {"agent", "task"} else "agent")
        parents: dict[str, Span | bytes | None] = {"none": None, "missing": b"\xff" * 8}
        made = _span(entry, parents.get(where, agents.get(trace)), trace)
        if entry["is"] == "agent":
            agents.setdefault(trace, made)
        spans.append(made)
    return request(spans)


def _span(entry: dict[str, Any], parent: Span | bytes | None, trace: int) -> Span:
    kind = entry["is"]
    attributes = dict(_DEFAULTS.get(kind, {}))
    key = "gen_ai.operation.name" if kind in _OPERATIONS else "tracekit.operation"
    attributes[key] = _OPERATIONS.get(kind, kind)
    attributes |= {name: value for name, value in entry.items() if name not in _WORDS}
    if "finish" in entry:
        attributes["gen_ai.response.finish_reasons"] = [entry["finish"]]
    events = []
    if "verdict" in entry:
        verdict = {
            "gen_ai.evaluation.name": "check",
            "gen_ai.evaluation.score.label": entry["verdict"],
        }
        events.append(("gen_ai.evaluation.result", verdict))
    start, end = entry["at"]
    return span(
        kind,
        attributes,
        events,
        parent=parent,
        start=start,
        end=end,
        trace=trace,
        status=entry.get("status", "unset"),
    )


def classified(data: bytes) -> duckdb.DuckDBPyConnection:
    """Return a connection with the tables the models make of OTLP bytes."""
    con = duckdb.connect()
    con.register("scanned", inspect_table(scan_reference(data)))
    pipeline.run(con, recorded_ns=0)
    return con
