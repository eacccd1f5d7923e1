"""What a captured output holds: texts, tool calls, a refusal, in any of the shapes in use.

OpenTelemetry `gen_ai.output.messages`, OpenAI chat and Responses, Anthropic content blocks, Gemini
candidates, and what LangChain, OpenInference, Langfuse and the Vercel AI SDK make of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

_WRAPPERS: Final = (
    "choices",
    "candidates",
    "generations",
    "messages",
    "message",
    "kwargs",
    "output",
    "parts",
    "content",
    "delta",
)
"""Keys that hold messages or parts, the outer ones first."""

_CALL_LISTS: Final = ("tool_calls", "toolCalls")
_SINGLE_CALLS: Final = ("function_call", "functionCall")
_CALL_TYPES: Final = frozenset({"tool_call", "tool_use", "function_call", "tool-call", "toolUse"})
_ANSWER_TYPES: Final = frozenset({"tool_call_response", "tool_result", "function_call_output"})
_TEXT_TYPES: Final = frozenset({"text", "output_text"})
_SILENT_TYPES: Final = frozenset({"reasoning", "thinking", "redacted_thinking", "thought"})
_MARKS: Final = frozenset(
    {"role", "choices", "candidates", "generations", "parts", *_CALL_LISTS, *_SINGLE_CALLS}
)
_ASSISTANT: Final = frozenset({"assistant", "model", "ai", None})


@dataclass(slots=True)
class Call:
    """A tool call as requested: its id, the tool's name, and the arguments as written."""

    call_id: str | None
    name: str
    arguments: object


@dataclass(slots=True)
class Output:
    """What one output holds.

    Attributes:
        texts: Texts meant for the reader.
        calls: Tool calls it asks for.
        answered: Ids of calls whose result is in the output itself.
        refused: It holds a typed refusal.
        other: It holds something else a reader gets: an image, audio, a file.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    refused: bool = False
    other: bool = False


def read(document: object) -> Output | None:
    """Return what a parsed JSON output holds, or None where it is no message but a JSON answer."""
    if isinstance(document, str):
        return Output(texts=[document])
    if not _is_message(document):
        return None
    output = Output()
    _visit(document, output)
    return output


def _is_message(node: object) -> bool:
    if isinstance(node, list):
        return bool(node) and all(_is_message(item) for item in node)
    if not isinstance(node, dict):
        return False
    if "output" in node and isinstance(node["output"], list):
        return _is_message(node["output"])
    kind = node.get("type")
    typed = _TEXT_TYPES | _CALL_TYPES | _SILENT_TYPES | {"message", "refusal"}
    block_list = isinstance(node.get("content"), list) and _is_message(node["content"])
    sdk_text = isinstance(node.get("text"), str) and "finishReason" in node
    return (
        not _MARKS.isdisjoint(node)
        or (isinstance(kind, str) and kind in typed)
        or block_list
        or sdk_text
    )


def _visit(node: Any, output: Output) -> None:
    if isinstance(node, str):
        output.texts.append(node)
    elif isinstance(node, list):
        for item in _last_turn(node):
            _visit(item, output)
    elif isinstance(node, dict):
        _visit_object(node, output)


def _last_turn(items: list[Any]) -> list[Any]:
    # A list of messages may be the whole history: what follows the last foreign message counts.
    last = -1
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.get("role") not in _ASSISTANT:
            last = index
    return items[last + 1 :]


def _visit_object(node: dict[str, Any], output: Output) -> None:
    kind = node.get("type")
    if kind in _CALL_TYPES:
        output.calls.append(_call(node))
    elif kind in _ANSWER_TYPES:
        output.answered.add(str(node.get("id") or node.get("tool_use_id") or node.get("call_id")))
    elif kind in _TEXT_TYPES:
        output.texts.append(str(node.get("text") or node.get("content") or ""))
    elif kind == "refusal" or (isinstance(node.get("refusal"), str) and node["refusal"]):
        output.refused = True
    elif kind not in _SILENT_TYPES:
        _visit_message(node, output)


def _visit_message(node: dict[str, Any], output: Output) -> None:
    for key in _CALL_LISTS:
        output.calls.extend(_call(item) for item in node.get(key) or () if isinstance(item, dict))
    for key in _SINGLE_CALLS:
        if isinstance(node.get(key), dict):
            output.calls.append(_call(node[key]))
    inner = next((key for key in _WRAPPERS if isinstance(node.get(key), (dict, list, str))), None)
    if inner:
        _visit(node[inner], output)
    elif isinstance(node.get("text"), str):
        if not node.get("thought"):
            output.texts.append(node["text"])
    elif not node.keys() & {"role", "finish_reason", "finishReason", *_CALL_LISTS, *_SINGLE_CALLS}:
        output.other = True


def _call(node: dict[str, Any]) -> Call:
    inner = node.get("function")
    body = inner if isinstance(inner, dict) else node
    keys = ("arguments", "input", "args", "argsText")
    arguments = next((body[key] for key in keys if body.get(key) is not None), None)
    name = body.get("name") or body.get("toolName") or ""
    call_id = node.get("id") or node.get("call_id") or node.get("toolCallId")
    return Call(None if call_id is None else str(call_id), str(name), arguments)
