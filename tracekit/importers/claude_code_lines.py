"""Reading the lines of Claude Code transcripts: content blocks, usage, errors, refusals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from tracekit.importers.recording import json_text

_REJECTED: Final = "The user doesn't want to proceed with this tool use"
_REJECTED_RESULT: Final = "User rejected tool use"
_INTERRUPTED: Final = "[Request interrupted by user"
_PROVIDERS: Final = {"msg_bdrk_": "aws.bedrock", "msg_vrtx_": "gcp.vertex_ai"}
"""How message ids of the clouds start; all others are Anthropic's own."""

Line = Mapping[str, Any]
Block = Mapping[str, Any]


class Result(NamedTuple):
    """A tool result: when it came back, on which line, and its block."""

    time_ns: int
    line: Line
    block: Block


@dataclasses.dataclass(slots=True)
class Call:
    """The lines of one model call."""

    lines: list[Line]
    start_ns: int
    end_ns: int

    def merged(self, key: str) -> Any:
        """Return the last value of a message field that is set."""
        values = [line["message"].get(key) for line in self.lines]
        return next((value for value in reversed(values) if value is not None), None)

    def blocks(self, kind: str) -> Iterator[Mapping[str, Any]]:
        """Yield the content blocks of a kind, each once."""
        seen: set[str] = set()
        for line in self.lines:
            for block in blocks_of(line):
                text = json_text(block)
                if block.get("type") == kind and text not in seen:
                    seen.add(text)
                    yield block


def as_object(value: Any) -> Mapping[str, Any]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def blocks_of(line: Line) -> list[Block]:
    """Return the content blocks of a line; plain text is one block."""
    content = as_object(line.get("message")).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def text_of(content: Any) -> str:
    """Return the text of a tool result, which may be blocks of text."""
    if isinstance(content, list):
        return "\n".join(
            str(block.get("text", "")) if isinstance(block, dict) else str(block)
            for block in content
        )
    return "" if content is None else str(content)


def interruption(line: Line) -> str | None:
    """Return the note that the user interrupted, if the session ends with it."""
    texts = (str(block.get("text", "")) for block in blocks_of(line) if line["type"] == "user")
    return next((text for text in texts if text.startswith(_INTERRUPTED)), None)


def status_of(result: Result) -> str:
    """Return how a tool call ended: success, error, or denied by the user."""
    content = text_of(result.block.get("content"))
    if content.startswith(_REJECTED) or result.line.get("toolUseResult") == _REJECTED_RESULT:
        return "denied"
    return "error" if result.block.get("is_error") else "success"


def provider_of(message_id: str) -> str:
    """Return who served a message, as its id tells."""
    return next(
        (name for start, name in _PROVIDERS.items() if message_id.startswith(start)), "anthropic"
    )


def error_type(error: Any) -> str:
    """Return the innermost type of an error, which the client wraps several times."""
    while isinstance(error, dict):
        inner = error.get("error") or error.get("cause")
        if not inner:
            error = error.get("type") or error.get("code") or error.get("status")
            break
        error = inner
    return str(error) if error else "_OTHER"


def usage_attributes(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return usage as attributes, with the cached tokens added to the input."""
    read = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    fresh = usage.get("input_tokens")
    hourly = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens")
    return {
        "gen_ai.usage.input_tokens": None if fresh is None else fresh + read + written,
        "gen_ai.usage.output_tokens": usage.get("output_tokens"),
        "gen_ai.usage.cache_read.input_tokens": read,
        "gen_ai.usage.cache_write.input_tokens": written,
        "tracekit.usage.cache_write_1h_tokens": hourly,
        "tracekit.service_tier.served": usage.get("service_tier"),
    }


def cost_of(call: Call) -> float | None:
    """Return the cost that early versions wrote beside a message."""
    costs = [line["costUSD"] for line in call.lines if line.get("costUSD") is not None]
    return float(costs[-1]) if costs else None
