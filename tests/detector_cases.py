"""The detector cases of `detectors/cases/*.yaml`: read, and as spans."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from otlp_build import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

FOLDER: Final = Path(__file__).parent / "detectors" / "cases"
_OPERATIONS: Final = {"agent": "invoke_agent", "chat": "chat", "tool": "execute_tool"}
_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
    },
}
_SHORT: Final = {
    "tool": "gen_ai.tool.name",
    "args": "gen_ai.tool.call.arguments",
    "result": "gen_ai.tool.call.result",
    "effect": "tracekit.side_effect",
    "call": "gen_ai.tool.call.id",
    "key": "tracekit.idempotency_key",
    "state": "tracekit.output.state",
    "error": "error.type",
}
_WORDS: Final = {"is", "id", "in", "at", "times", "finish", "status", "verdict", *_SHORT}


@dataclass
class Case:
    """One session, and what a detector must say of it."""

    detector: str
    name: str
    spans: list[dict[str, Any]]
    expect: dict[str, Any]
    baseline: dict[str, Any] | None = None
    ids: dict[str, str] = field(default_factory=dict)
    """Span ids by the ids of the case, once it is encoded."""

    @property
    def session_id(self) -> str:
        """Key of the session."""
        return f"{self.detector}: {self.name}"


def cases() -> list[Case]:
    """Return all cases, in the order of the files."""
    return [
        Case(path.stem, entry.pop("case"), **entry)
        for path in sorted(FOLDER.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text("utf-8"))
    ]


def baseline_row(case: Case) -> dict[str, Any] | None:
    """Return the row of table `baselines` of a case's cohort."""
    if case.baseline is None:
        return None
    row = {"task_name": "", "day": dt.date(2025, 12, 31), "n_priced": case.baseline["n"]}
    return row | {"agent_name": case.session_id} | case.baseline


def encoded(case: Case, number: int) -> list[Span]:
    """Return the spans of a case, a session of its own.

    Args:
        case: The case; its `ids` are filled.
        number: Keeps the traces of cases apart.
    """
    made: dict[str, Span] = {}
    first: Span | None = None
    spans = []
    for entry in _repeated(case.spans):
        where = entry.get("in")
        parent = None if where == "none" else made[where] if where else first
        one = _span(entry, case.session_id, parent, number)
        first = first or (one if entry["is"] == "agent" else None)
        if "id" in entry:
            made[entry["id"]] = one
            case.ids[entry["id"]] = one.span_id.hex()
        spans.append(one)
    return spans


def _repeated(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for turn in range(entry.get("times", 1)):
            start, end = entry["at"]
            yield entry | {"at": [start + turn, None if end is None else end + turn]}


def _span(entry: dict[str, Any], session: str, parent: Span | None, number: int) -> Span:
    kind = entry["is"]
    attributes: dict[str, Any] = {"tracekit.session.id": session, **_DEFAULTS.get(kind, {})}
    if kind == "agent":
        attributes["gen_ai.agent.name"] = session
    operation = "gen_ai.operation.name" if kind in _OPERATIONS else "tracekit.operation"
    attributes[operation] = _OPERATIONS.get(kind, kind)
    attributes |= {name: entry[short] for short, name in _SHORT.items() if short in entry}
    attributes |= {name: value for name, value in entry.items() if name not in _WORDS}
    if "finish" in entry:
        attributes["gen_ai.response.finish_reasons"] = [entry["finish"]]
    attributes = {name: value for name, value in attributes.items() if value is not None}
    events = []
    if "verdict" in entry:
        verdict = {"gen_ai.evaluation.name": "check"}
        verdict["gen_ai.evaluation.score.label"] = entry["verdict"]
        events.append(("gen_ai.evaluation.result", verdict))
    start, end = entry["at"]
    status = entry.get("status", "unset")
    return span(
        kind, attributes, events, parent=parent, start=start, end=end, trace=number, status=status
    )
