"""Putting the output of a stream together from its events, up to a bound.

What comes out has the shape of the provider's own complete response, as far as the inspection of
outputs reads it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

LIMIT: Final = 256 * 1024
"""Longest output that is put together, in characters of text and arguments."""


class Gathers(Protocol):
    """Collects the output of one stream."""

    @property
    def size(self) -> int:
        """Characters collected."""
        ...

    def event(self, document: dict[str, Any]) -> None:
        """Take what an event adds."""
        ...

    def output(self) -> list[Any]:
        """Return what has been collected, or an empty list."""
        ...


class _Pieces:
    """Texts by place: pieces are joined once, at the end."""

    __slots__ = ("size", "texts")

    def __init__(self) -> None:
        self.size = 0
        self.texts: dict[Any, list[str]] = {}

    def add(self, place: Any, text: object) -> None:
        if isinstance(text, str) and text:
            self.texts.setdefault(place, []).append(text)
            self.size += len(text)

    def text(self, place: Any) -> str:
        return "".join(self.texts.get(place, ()))


class Choices:
    """OpenAI's chat and text completions: deltas of choices."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._calls: dict[tuple[int, int], dict[str, Any]] = {}
        self._places: set[int] = set()

    @property
    def size(self) -> int:
        """Characters collected."""
        return self._pieces.size

    def event(self, document: dict[str, Any]) -> None:
        """Take what an event adds."""
        for choice in document.get("choices") or ():
            place = choice.get("index", 0)
            self._places.add(place)
            self._pieces.add((place, "content"), choice.get("text"))
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._delta(place, delta)

    def _delta(self, place: int, delta: dict[str, Any]) -> None:
        self._pieces.add((place, "content"), delta.get("content"))
        self._pieces.add((place, "refusal"), delta.get("refusal"))
        calls: list[dict[str, Any]] = delta.get("tool_calls") or []
        legacy = delta.get("function_call")
        if isinstance(legacy, dict):
            calls = [{"function": legacy}]
        for call in calls:
            key = (place, call.get("index", 0))
            known = self._calls.setdefault(key, {})
            function = call.get("function") or {}
            known.setdefault("id", call.get("id"))
            known.setdefault("name", function.get("name"))
            self._pieces.add((*key, "arguments"), function.get("arguments"))

    def output(self) -> list[Any]:
        """Return the choices."""
        return [self._choice(place) for place in sorted(self._places)]

    def _choice(self, place: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant"}
        message["content"] = self._pieces.text((place, "content")) or None
        if refusal := self._pieces.text((place, "refusal")):
            message["refusal"] = refusal
        calls = [self._call(key) for key in sorted(self._calls) if key[0] == place]
        if calls:
            message["tool_calls"] = calls
        return {"index": place, "message": message}

    def _call(self, key: tuple[int, int]) -> dict[str, Any]:
        known = self._calls[key]
        arguments = self._pieces.text((*key, "arguments"))
        function = {"name": known["name"], "arguments": arguments}
        return {"id": known["id"], "type": "function", "function": function}


class Blocks:
    """Anthropic's messages: content blocks, each started and then added to."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._blocks: dict[int, dict[str, Any]] = {}

    @property
    def size(self) -> int:
        """Characters collected."""
        return self._pieces.size

    def event(self, document: dict[str, Any]) -> None:
        """Take what an event adds."""
        place = document.get("index", 0)
        block = document.get("content_block")
        if isinstance(block, dict):
            self._blocks[place] = block
            self._pieces.add(place, block.get("text"))
        delta = document.get("delta")
        if isinstance(delta, dict):
            self._pieces.add(place, delta.get("text") or delta.get("partial_json"))

    def output(self) -> list[Any]:
        """Return the content blocks."""
        return [self._block(place) for place in sorted(self._blocks)]

    def _block(self, place: int) -> dict[str, Any]:
        block = dict(self._blocks[place])
        text = self._pieces.text(place)
        if "input" in block:
            block["input"] = text or block["input"]
        elif "text" in block:
            block["text"] = text
        return block


class Parts:
    """Gemini's candidates: each event holds further parts."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._calls: dict[int, list[Any]] = {}

    @property
    def size(self) -> int:
        """Characters collected."""
        return self._pieces.size

    def event(self, document: dict[str, Any]) -> None:
        """Take what an event adds."""
        for position, candidate in enumerate(document.get("candidates") or ()):
            place = candidate.get("index", position)
            calls = self._calls.setdefault(place, [])
            for part in (candidate.get("content") or {}).get("parts") or ():
                if not part.get("thought"):
                    self._pieces.add(place, part.get("text"))
                if "functionCall" in part:
                    calls.append({"functionCall": part["functionCall"]})

    def output(self) -> list[Any]:
        """Return the candidates."""
        return [self._candidate(place) for place in sorted(self._calls)]

    def _candidate(self, place: int) -> dict[str, Any]:
        text = self._pieces.text(place)
        parts = [{"text": text}, *self._calls[place]] if text else self._calls[place]
        return {"index": place, "content": {"role": "model", "parts": parts}}


_KINDS: Final[dict[str, type[Choices | Blocks | Parts]]] = {
    "choices": Choices,
    "blocks": Blocks,
    "parts": Parts,
}


def gatherer(kind: str | None) -> Gathers | None:
    """Return a new collector, or None where a stream's last event holds all of the output."""
    return _KINDS[kind]() if kind else None
