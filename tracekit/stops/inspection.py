"""Final-state inspection: what a captured output says about how it ended.

Runs in processes being traced too, so that nothing heavy is imported here; for whole tables of
spans see `outputs.py`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

import orjson

from tracekit.stops import messages, structure
from tracekit.stops.taxonomy import data

MAX_CONTENT: Final = 1 << 20
"""Longest content that is inspected, in characters; longer ones stay uninspected."""

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_CUT_BY_EXPORTER: Final = re.compile(
    r"(?:\.\.\.|…)?\s*[\[(<]?(?:\.{3})?truncated\b[^\n]{0,40}$", re.IGNORECASE
)
_MESSAGE_START: Final = re.compile(
    r'\s*\[?\s*\{\s*"(?:role|type|id|index|choices|candidates|generations|content|output|parts|messages?|'
    r'finish_?reason|tool_calls|object|completion)"'
)


class Inspection(NamedTuple):
    """What one output shows; all None where it cannot be read.

    Attributes:
        state: complete, empty, refusal, unclosed_fence, unclosed_bracket, invalid_json or
            unterminated_arguments.
        pending_calls: Tool calls it asks for; None for plain text, whose calls are elsewhere.
        claims_success: Its text claims success, by the lexicon `claims.yaml`.
    """

    state: str | None
    pending_calls: int | None
    claims_success: bool | None


_UNREADABLE: Final = Inspection(None, None, None)


def inspect(content: str) -> Inspection:
    """Return what a captured output shows.

    Args:
        content: Plain text, or message JSON in one of the shapes of `messages.py`.
    """
    if len(content) > MAX_CONTENT or _is_cut_by_exporter(content[-200:]):
        return _UNREADABLE
    output = _output(content)
    if output is None:
        # Message JSON that does not parse was cut by an exporter, not by the model.
        if _MESSAGE_START.match(content) and structure.json_fault(content):
            return _UNREADABLE
        return Inspection(_text_state([content]), None, _claims([content]))
    pending = sum(_is_pending(call, output) for call in output.calls)
    return Inspection(_state(output), pending, _claims(output.texts))


def _is_cut_by_exporter(end: str) -> bool:
    return "truncated" in end.lower() and bool(_CUT_BY_EXPORTER.search(end))


def _output(content: str) -> messages.Output | None:
    if content.lstrip()[:1] not in ("[", "{", '"'):
        return None
    try:
        return messages.read(orjson.loads(content))
    except ValueError:
        return None


def _state(output: messages.Output) -> str:
    if output.refused:
        return "refusal"
    faults = {_arguments_fault(call) for call in output.calls}
    for fault, state in (("unclosed", "unterminated_arguments"), ("invalid", "invalid_json")):
        if fault in faults:
            return state
    if any(text.strip() for text in output.texts):
        return _text_state(output.texts)
    return "complete" if output.calls or output.other else "empty"


def _arguments_fault(call: messages.Call) -> str | None:
    if not isinstance(call.arguments, str) or not call.arguments.strip():
        return None
    return structure.json_fault(call.arguments)


def _is_pending(call: messages.Call, output: messages.Output) -> bool:
    if call.call_id is not None and call.call_id in output.answered:
        return False
    return not any(
        call.name.startswith(name[:-1]) if name.endswith("*") else call.name == name
        for name in _lexicon().output_tools
    )


def _text_state(texts: list[str]) -> str:
    text = texts[-1] if texts else ""
    if not any(item.strip() for item in texts):
        return "empty"
    if structure.starts_as_json(text):
        fault = structure.json_fault(text)
        return {"unclosed": "unclosed_bracket", "invalid": "invalid_json"}.get(
            fault or "", "complete"
        )
    blocks = structure.fences(text) if "```" in text or "~~~" in text else []
    if structure.unclosed_fence(blocks):
        return "unclosed_fence"
    comments = _lexicon().bracket_languages
    if blocks and blocks[-1].last and blocks[-1].language in comments:
        last = blocks[-1]
        if structure.unclosed_code(last.body, comments[last.language]):
            return "unclosed_bracket"
    return "complete"


class _Lexicon(NamedTuple):
    tail: int
    words: tuple[str, ...]
    claims: re.Pattern[str]
    guards: re.Pattern[str]
    output_tools: tuple[str, ...]
    bracket_languages: dict[str, list[str]]


@cache
def _lexicon() -> _Lexicon:
    document = data("claims.yaml")
    return _Lexicon(
        document["tail"],
        tuple(document["words"]),
        re.compile("|".join(document["claims"]), re.IGNORECASE),
        re.compile("|".join(document["guards"]), re.IGNORECASE),
        tuple(document["output_tools"]),
        document["bracket_languages"],
    )


def _claims(texts: list[str]) -> bool:
    return any(_claims_success(text[-_lexicon().tail :]) for text in texts)


def _claims_success(text: str) -> bool:
    lexicon = _lexicon()
    lowered = text.lower()
    return (
        # Cheapest first: most outputs are in the middle of a task and claim nothing.
        any(word in lowered for word in lexicon.words)
        and bool(lexicon.claims.search(text))
        and any(
            lexicon.claims.search(sentence) and not lexicon.guards.search(sentence)
            for sentence in _SENTENCE_END.split(text)
        )
    )
