"""What Claude's agent loop says was used, and which call it belongs to.

A message tells the usage of its call as it stood when the answer began, so its output tokens are
too few, unless the application asked for partial messages. The result tells the sums: by model
since the loop's process started, and of this run. What the calls lack follows from these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tracekit.instrumentation.calls import LlmCall


class Used(NamedTuple):
    """Tokens, by class.

    Attributes:
        fresh: Input neither read from nor written to a cache.
        output: Output.
        read: Input read from a cache.
        written: Input written to a cache.
        hourly: Of that, written for an hour.
    """

    fresh: int = 0
    output: int = 0
    read: int = 0
    written: int = 0
    hourly: int = 0

    def plus(self, other: Used) -> Used:
        """Return the sum."""
        return Used(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Used) -> Used:
        """Return what is left, nothing of a class where less than nothing is."""
        return Used(*(max(a - b, 0) for a, b in zip(self, other, strict=True)))

    def tell(self, call: LlmCall) -> None:
        """Note it on a call."""
        call.usage(
            input_tokens=self.fresh + self.read + self.written,
            output_tokens=self.output,
            cache_read_tokens=self.read,
            cache_write_tokens=self.written,
            cache_write_1h_tokens=self.hourly,
        )


def total(parts: Iterable[Used]) -> Used:
    """Return the sum of some."""
    found = Used()
    for part in parts:
        found = found.plus(part)
    return found


def of_message(usage: Any) -> Used | None:
    """Return the usage of a message, or of a result, in the API's words; None without any."""
    if not isinstance(usage, dict) or not isinstance(usage.get("input_tokens"), int):
        return None
    return Used(
        usage["input_tokens"],
        usage.get("output_tokens") or 0,
        usage.get("cache_read_input_tokens") or 0,
        usage.get("cache_creation_input_tokens") or 0,
        (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0,
    )


def of_model(entry: Mapping[str, Any] | None) -> Used:
    """Return the usage of a model in a result's `model_usage`."""
    known = entry or {}
    words = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
    counts = (known.get(word) or 0 for word in (*words, "cacheCreationEphemeral1hInputTokens"))
    return Used(*counts)


def is_model(name: str, entry: Mapping[str, Any], called: str) -> bool:
    """Return whether a message's model is one of a result's, which may be dated or an alias."""
    known = (name, str(entry.get("canonicalModel") or name))
    return any(called.startswith(word) or word.startswith(called) for word in known)
