"""What reported values mean, read from `values.yaml`.

Three kinds of value: a provider's stop value, a framework's terminal state, an error type. Each
means a stop code, or one of the classes `clean` and `tool_call`, or nothing (None): unmapped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final

from tracekit.stops.taxonomy import data, load

CLASSES: Final = ("clean", "tool_call")
"""Meanings that are not stop codes."""

Meanings = dict[str, str]
"""Lower-case value -> meaning."""

_IDENTIFIER_PATH: Final = re.compile(r"<class '(.+)'>|[\w.$]*?[.$]?([A-Za-z_]\w*)")
_RAISED: Final = {
    "inference": ("inference", "anywhere"),
    "tool": ("tool", "anywhere"),
    "run": ("run", "inference", "anywhere"),
}


@dataclass(frozen=True, slots=True)
class Values:
    """The value maps.

    Attributes:
        stops: Provider (`*` for all) -> its stop values.
        frameworks: Terminal states of all frameworks; a key with capitals beats the lower-case one.
        phrases: Patterns of free-text terminal states with their meaning, `*` for any text.
        errors: Place of the error (inference, tool, run) -> error types.
        http: HTTP status of a model call -> code.
        http_tool: HTTP status of a tool call -> code, where it is not the tool's plain failure.
        statuses: Kind of status (declared, tool, approval, verdict) -> words -> what they mean.
    """

    stops: dict[str, Meanings]
    frameworks: Meanings
    phrases: tuple[tuple[str, str], ...]
    errors: dict[str, Meanings]
    http: dict[int, str]
    http_tool: dict[int, str]
    statuses: dict[str, Meanings]

    def stop(self, provider: str | None, raw: str) -> str | None:
        """Return what one stop value of a provider means; the provider's own meaning goes first."""
        word = raw.strip().lower()
        return self.stops.get(provider or "*", {}).get(word, self.stops["*"].get(word))

    def framework(self, raw: str) -> str | None:
        """Return what a framework's terminal state means.

        Frameworks also end with an exception's name, or pass on their provider's stop value.
        """
        name = bare_name(raw)
        state = self.frameworks.get(raw.strip()) or self.frameworks.get(name)
        found = state or self.errors["run"].get(name) or self._phrase(raw)
        return found or self.stop(None, name)

    def error(self, raw: str, place: str) -> str | None:
        """Return what an error type means where it was raised: inference, tool or run."""
        name = bare_name(raw)
        if name.isdecimal():
            known = self.http_tool if place == "tool" else self.http
            return known.get(int(name))
        found = self.errors[place].get(name) or self._phrase(raw)
        state = None if found or place != "run" else self.frameworks.get(name)
        return found or (state if state not in CLASSES else None)

    def _phrase(self, raw: str) -> str | None:
        text = raw.strip().lower()
        return next((code for pattern, code in self.phrases if fnmatchcase(text, pattern)), None)


def bare_name(raw: str) -> str:
    """Return the comparison form of a name: lower case, no module path, no enum type in front."""
    text = raw.strip().strip("\"'")
    match = _IDENTIFIER_PATH.fullmatch(text)
    if not match:
        return text.lower()
    return (match[2] or match[1].rpartition(".")[2]).lower()


def _inverted(
    meanings: dict[str, list[str]], where: str, *, codes: bool = True, lower: bool = True
) -> Meanings:
    result: Meanings = {}
    for meaning, words in meanings.items():
        if codes and meaning not in CLASSES and meaning not in load().codes:
            raise ValueError(f"values.yaml: {where}: {meaning} is neither a code nor a class")
        for word in map(str, words):
            if result.setdefault(word.lower() if lower else word, meaning) != meaning:
                raise ValueError(f"values.yaml: {where}: {word} has two meanings")
    return result


def _frameworks(document: dict[str, dict[str, list[str]]]) -> Meanings:
    merged: Meanings = {}
    for framework, meanings in document.items():
        for word, meaning in _inverted(meanings, framework, lower=False).items():
            if merged.setdefault(word, meaning) != meaning:
                raise ValueError(f"values.yaml: {framework}: {word} means another thing elsewhere")
    return {word.lower(): meaning for word, meaning in merged.items()} | merged


def _http(document: dict[Any, str]) -> dict[int, str]:
    ranges: dict[int, str] = {}
    single: dict[int, str] = {}
    for key, code in document.items():
        first, dash, last = str(key).partition("-")
        target = ranges if dash else single
        target.update(dict.fromkeys(range(int(first), int(last or first) + 1), code))
    # 401-403 is narrower than 400-499 and written after it: later ranges win.
    return ranges | single


def _stops(document: dict[str, Any], prefixes: list[str]) -> dict[str, Meanings]:
    result: dict[str, Meanings] = {}
    for provider, meanings in document.items():
        words = _inverted(meanings, f"stops of {provider}")
        for prefix in ("", *prefixes):
            spelled = {prefix.lower() + word: meaning for word, meaning in words.items()}
            result.setdefault(provider, {}).update(spelled)
    return result


@cache
def values() -> Values:
    """Return the value maps shipped with this package."""
    document = data("values.yaml")
    groups = {place: _inverted(words, place) for place, words in document["errors"].items()}
    phrases = _inverted(document["phrases"], "phrases")
    return Values(
        stops=_stops(document["stops"], document["stop_prefixes"]),
        frameworks=_frameworks(document["frameworks"]),
        phrases=tuple(sorted(phrases.items(), key=lambda item: -len(item[0]))),
        errors={
            place: {w: c for group in reversed(order) for w, c in groups[group].items()}
            for place, order in _RAISED.items()
        },
        http=_http(document["http"]),
        http_tool=_http(document["http_tool"]),
        statuses={
            kind: _inverted(words, kind, codes=False)
            for kind, words in document["statuses"].items()
        },
    )
