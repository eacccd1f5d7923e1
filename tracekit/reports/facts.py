"""A session and its steps in words, for whoever shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.reports.figures import duration, figure, tokens, usd
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.reports.table import Row


def session_facts(head: Row) -> Iterator[tuple[str, str]]:
    """Yield label and text of what there is to say about a session.

    Args:
        head: Its row, see `reports.session.Session.head`.
    """
    lines = (
        ("agent", _words(head, "agent_name", "workflow_name")),
        ("model", _words(head, "model", "provider")),
        ("started", _started(head)),
        ("outcome", f"{head['outcome']}, {head['outcome_source']}"),
        ("stop", _stop(head)),
        ("also", ", ".join(filter(None, str(head["stop_contributing"] or "").split(",")))),
        ("raw", _words(head, "stop_raw", "stop_framework_raw")),
        ("work", _work(head)),
        ("cost", _cost(head)),
    )
    return (line for line in lines if line[1])


def _started(head: Row) -> str:
    return f"{figure(head['started_at'], Kind.TIME)} UTC, took {duration(head['duration_s'])}"


def _words(head: Row, *names: str) -> str:
    return ", ".join(str(head[name]) for name in names if head[name])


def _stop(head: Row) -> str:
    fault = f", fault {head['stop_fault']}" if head["stop_fault"] not in {None, "-"} else ""
    return (
        f"{head['stop_reason']}{fault} (rule {head['stop_rule']}, evidence {head['stop_evidence']})"
    )


def _work(head: Row) -> str:
    failed = f" ({head['tool_errors']} failed)" if head["tool_errors"] else ""
    return (
        f"{head['llm_calls'] or 0} model calls, {head['tool_calls'] or 0} tool calls{failed}; "
        f"{tokens(head['input_tokens'])} tokens in, {tokens(head['output_tokens'])} out"
    )


def _cost(head: Row) -> str:
    unpriced = head["unpriced_calls"]
    cost = usd(head["cost_usd"], bound=bool(unpriced))
    wasted = f", of which {usd(head['wasted_cost_usd'])} wasted" if head["wasted_cost_usd"] else ""
    missing = (
        f"; {unpriced} calls have no price ({head['cost_missing_reason']})" if unpriced else ""
    )
    return cost + wasted + missing


def step_label(step: Row) -> str:
    """Return what a step did: its operation and the model, tool or agent of it."""
    operation, subject = step["operation"], step["subject"]
    if operation in {None, "unknown", "other", "step"} or not subject:
        return str(step["name"] or operation or "unnamed")
    return f"{operation} {subject}"


def step_tokens(step: Row) -> str:
    """Return the tokens that went in and came out, empty where neither is known."""
    if step["input_tokens"] is None and step["output_tokens"] is None:
        return ""
    return f"{tokens(step['input_tokens'])} → {tokens(step['output_tokens'])}"


def step_cost(step: Row) -> str:
    """Return the cost in USD; `?` where it is unknown, empty where there is none."""
    if step["cost_usd"] is None:
        return "?" if step["billable"] else ""
    return figure(step["cost_usd"], Kind.USD, 5) if step["cost_usd"] else ""


def step_end(step: Row) -> str:
    """Return how a step ended: its error, else its stop value, and whether it was wasted."""
    parts = []
    if failed(step):
        status = step["http_status"]
        parts.append(
            " ".join(str(part) for part in (status, step["error_type"]) if part) or "error"
        )
    elif step["stop_raw"] or step["stop_framework_raw"]:
        parts.append(str(step["stop_raw"] or step["stop_framework_raw"]))
    elif step["approval_status"]:
        parts.append(str(step["approval_status"]))
    if step["waste_reason"]:
        parts.append("wasted")
    return ", ".join(parts)


def failed(step: Row) -> bool:
    """Return whether a step ended in an error."""
    return step["status"] == "error" or bool(step["error_type"])
