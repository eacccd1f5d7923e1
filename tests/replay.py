"""Play a recording, written as in `stops/cases`, to the unit of a process it might have run in."""

from __future__ import annotations

import json
from typing import Any, Final

from otlp_build import nanos

from tracekit.instrumentation.evidence import FrameFacts, LlmFacts, ToolFacts, Unit
from tracekit.stops import inspect
from tracekit.stops.live import status_meaning

Entry = dict[str, Any]

FRAMES: Final = frozenset({"agent", "task", "workflow", "session", "step"})
JUDGES: Final = frozenset({"agent", "task", "workflow", "session", "evaluation"})
_SCALE: Final = 1_000_003


def root_of(entries: list[Entry]) -> Entry | None:
    """Return the outermost step, where there is one that a process would make a unit for."""
    roots = [e for e in entries if e["is"] in {"agent", "task"} and e.get("parent") != "agent"]
    odd = any(
        e.get("parent") in {"missing", "none"} or e.get("trace", 1) != 1
        for e in entries
        if e not in roots
    )
    known = {*FRAMES, "chat", "tool", "handoff", "approval", "guardrail", "evaluation", "event"}
    foreign = any(e["is"] not in known for e in entries)
    return roots[0] if len(roots) == 1 and not odd and not foreign else None


def replayed(entries: list[Entry], root: Entry) -> dict[str, object]:
    """Return the evidence of the unit that saw the steps end one after the other."""
    unit = Unit()
    for entry in sorted(entries, key=_order):
        is_root = entry is root
        if entry["is"] == "chat":
            unit.llm(_llm(entry))
        elif entry["is"] == "tool":
            unit.tool(_tool(entry))
        elif not is_root:
            _mark(unit, entry)
        _words(unit, entry, is_root=is_root)
    end = root["at"][1]
    return unit.close(
        error_type=root.get("error.type"),
        failed=_failed(root),
        ended=end is not None,
        ok=root.get("status") == "ok",
        output=bool(root.get("gen_ai.output.messages")) and _inspected(root).state == "complete",
        end_ns=_times(root)[1],
    )


def _order(entry: Entry) -> tuple[int, int]:
    start, end = _times(entry)
    return end, -start


def _times(entry: Entry) -> tuple[int, int]:
    start, end = entry["at"]
    return nanos(start), nanos(start if end is None else end)


def _failed(entry: Entry) -> bool:
    status = entry.get("status", "unset")
    return status == "error" or (status != "ok" and "error.type" in entry)


def _inspected(entry: Entry) -> Any:
    return inspect(entry.get("gen_ai.output.messages") or entry.get("output.value") or "")


def _llm(entry: Entry) -> LlmFacts:
    content = entry.get("gen_ai.output.messages")
    state, pending, claims = inspect(content) if content is not None else (None, None, None)
    start, end = _times(entry)
    return LlmFacts(
        raw=entry.get("finish"),
        provider=entry.get("gen_ai.provider.name", "openai"),
        failed=entry.get("status") == "error",
        error_type=entry.get("error.type") if entry.get("status") != "ok" else None,
        http_status=entry.get("http.response.status_code"),
        streamed="gen_ai.response.time_to_first_chunk" in entry,
        cut=entry.get("tracekit.stream.complete") is False,
        output_tokens=entry.get("gen_ai.usage.output_tokens", 20),
        max_tokens=entry.get("gen_ai.request.max_tokens"),
        state=state,
        pending_calls=pending,
        claims_success=claims,
        gateway=entry.get("tracekit.gateway"),
        start_ns=start,
        end_ns=end,
        parent_id=1,
    )


def _hash(value: object) -> int | None:
    # Any number that tells texts apart will do.
    text = None if value is None else json.dumps(value)
    return None if text is None else sum(_SCALE**n * ord(c) for n, c in enumerate(text)) % (1 << 62)


def _tool(entry: Entry) -> ToolFacts:
    start, end = _times(entry)
    written = entry.get("tracekit.tool.status", entry.get("success"))
    status = status_meaning("tool", None if written is None else str(written))
    return ToolFacts(
        name=entry.get("gen_ai.tool.name"),
        arguments_hash=_hash(entry.get("gen_ai.tool.call.arguments")),
        result_hash=_hash(entry.get("gen_ai.tool.call.result")),
        failed=entry.get("status") == "error" or status == "error",
        denied=status == "denied",
        error_type=entry.get("error.type"),
        side_effect=entry.get("tracekit.side_effect"),
        start_ns=start,
        end_ns=end,
        http_status=entry.get("http.response.status_code"),
    )


def _mark(unit: Unit, entry: Entry) -> None:
    start, end = _times(entry)
    if entry["is"] in FRAMES:
        unit.frame(
            FrameFacts(
                agent=entry["is"] == "agent",
                failed=_failed(entry),
                error_type=entry.get("error.type"),
                start_ns=start,
                end_ns=end,
            )
        )
    elif entry["is"] == "handoff":
        unit.handoff(None, entry.get("tracekit.handoff.to"), start)
    elif entry["is"] == "approval":
        unit.approval(entry["tracekit.approval.status"], end)
    elif entry["is"] == "guardrail":
        unit.guardrail(entry.get("status") == "error" or entry.get("verdict") == "fail", end)


def _words(unit: Unit, entry: Entry, *, is_root: bool) -> None:
    end = None if is_root else _times(entry)[1]
    if "tracekit.stop.framework_raw" in entry:
        unit.framework(entry["tracekit.stop.framework_raw"], end)
    if "tracekit.stop.declared" in entry:
        unit.declare(entry["tracekit.stop.declared"], end)
    if "tracekit.task.status" in entry:
        unit.status(entry["tracekit.task.status"], end)
    if "tracekit.done.status" in entry:
        status, at = entry["tracekit.done.status"], _times(entry)[1]
        unit.done(status, at, on_frame=entry["is"] in FRAMES)
    if "verdict" in entry and entry["is"] in JUDGES:
        unit.verdict(entry["verdict"], end)
