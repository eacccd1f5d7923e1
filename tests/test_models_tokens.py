"""The token arithmetic: one meaning of input and output, whatever the source counts inside them."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from models_build import LLM, RECORDED_NS, ledger, row, rows
from otlp_build import request, span

from tracekit.models import run
from tracekit.otlp.reference import scan_reference

COUNTS = (
    "input_tokens",
    "uncached_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "usage_check",
)


def usage(**counts: int) -> dict[str, Any]:
    """Return a model call with OpenTelemetry's usage keys; `_` in a name stands for a dot."""
    names = {
        "input": "gen_ai.usage.input_tokens",
        "output": "gen_ai.usage.output_tokens",
        "total": "gen_ai.usage.total_tokens",
        "read": "gen_ai.usage.cache_read.input_tokens",
        "write": "gen_ai.usage.cache_creation.input_tokens",
        "reasoning": "gen_ai.usage.reasoning.output_tokens",
    }
    return LLM | {names[name]: count for name, count in counts.items()}


CASES: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    (
        "cache inside the input",
        usage(input=100, read=60, write=10, output=5),
        (100, 30, 60, 10, 5, None, "inclusive"),
    ),
    (
        "more cache than input: it is beside",
        usage(input=30, read=60, write=10, output=5),
        (100, 30, 60, 10, 5, None, "exclusive"),
    ),
    (
        "as much cache as input: all was cached",
        usage(input=70, read=60, write=10, output=5),
        (70, 0, 60, 10, 5, None, "inclusive"),
    ),
    (
        "only the total tells that the cache is beside",
        usage(input=100, read=60, output=5, total=165),
        (160, 100, 60, None, 5, None, "repaired"),
    ),
    (
        "a total that fits no reading repairs nothing",
        usage(input=100, read=60, output=5, total=150),
        (100, 40, 60, None, 5, None, "inclusive"),
    ),
    (
        "a total that agrees is no reason to doubt",
        usage(input=100, read=60, output=5, total=105),
        (100, 40, 60, None, 5, None, "inclusive"),
    ),
    (
        "reasoning inside the output",
        usage(input=10, output=50, reasoning=40),
        (10, 10, None, None, 50, 40, "none"),
    ),
    (
        "more reasoning than output: it is beside",
        usage(input=10, output=5, reasoning=40),
        (10, 10, None, None, 45, 40, "none"),
    ),
    (
        "only the total tells that reasoning is beside (Gemini)",
        usage(input=10, output=50, reasoning=40, total=100),
        (10, 10, None, None, 90, 40, "repaired"),
    ),
    (
        "cache and reasoning both beside",
        usage(input=10, output=50, read=5, reasoning=40, total=105),
        (15, 10, 5, None, 90, 40, "repaired"),
    ),
    (
        "negative counts are none",
        usage(input=-1, output=5, read=-7),
        (None, None, None, None, 5, None, "none"),
    ),
    ("no usage", usage(), (None,) * 7),
]


def test_counts_are_made_inclusive() -> None:
    """Every way to write a usage comes out as one: cache in the input, reasoning in the output."""
    con = ledger(*(span(name, keys, start=at) for at, (name, keys, _) in enumerate(CASES)))
    found = zip(rows(con, "spans", "name"), rows(con, "spans", *COUNTS), strict=True)
    assert list(found) == [(name, expected) for name, _, expected in CASES]


def claude_code(**counts: int) -> dict[str, Any]:
    return {"span.type": "llm_request", "model": "claude-opus-4-5"} | counts


def test_claude_code_counts_the_cache_beside_the_input() -> None:
    """A captured call: 2 input tokens, 84,562 of cache; and one where the self-check is blind."""
    con = ledger(
        span("claude_code.llm_request", claude_code(input_tokens=2, cache_read_tokens=84_562)),
        span(
            "claude_code.llm_request",
            claude_code(input_tokens=900, cache_read_tokens=100),
            start=1,
        ),
        scope="com.anthropic.claude_code.tracing",
    )
    assert rows(con, "spans", "input_tokens", "uncached_tokens", "usage_check") == [
        (84_564, 2, "exclusive"),
        (1000, 900, "exclusive"),
    ]


def test_a_stated_uncached_count_settles_it() -> None:
    """Vercel's noCacheTokens tell whether its input holds the cache, or stand in for it."""
    keys = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.id": "m"}
    details = "ai.usage.inputTokenDetails"
    read = {f"{details}.cacheReadTokens": 20}
    con = ledger(
        span("a", keys | read | {"ai.usage.inputTokens": 80, f"{details}.noCacheTokens": 80}),
        span(
            "b",
            keys | read | {"ai.usage.inputTokens": 100, f"{details}.noCacheTokens": 80},
            start=1,
        ),
        span("c", keys | read | {f"{details}.noCacheTokens": 80}, start=2),
    )
    assert rows(con, "spans", "input_tokens", "usage_check") == [
        (100, "exclusive"),
        (100, "inclusive"),
        (100, "none"),
    ]


_COUNT = st.one_of(st.none(), st.integers(-2, 120))
_USAGES = st.lists(
    st.fixed_dictionaries(
        {
            f"usage_{name}": _COUNT
            for name in ("input", "output", "total", "uncached", "cache_read", "cache_write")
        }
        | {"usage_cache_write_1h": _COUNT, "usage_reasoning": _COUNT}
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=12, deadline=None)
@given(_USAGES)
def test_canonical_counts_never_contradict_each_other(usages: list[dict[str, int | None]]) -> None:
    """Parts are never negative and never exceed their sum; nothing known is lost."""
    calls = [span("chat", LLM, start=at) for at in range(len(usages))]
    scanned = scan_reference(request(calls))
    for name in usages[0]:
        at = scanned.schema.get_field_index(name)
        counts = pa.array([counts[name] for counts in usages], pa.int64())
        scanned = scanned.set_column(at, scanned.field(at), counts)
    con = duckdb.connect()
    run(con, scanned, recorded_ns=RECORDED_NS)
    for raw, found in zip(usages, rows(con, "spans", *COUNTS[:-1]), strict=True):
        everything, uncached, read, write, output, reasoning = found
        if everything is not None:
            assert uncached >= 0
            assert uncached + (read or 0) + (write or 0) == everything
            assert everything >= max(raw["usage_input"] or 0, 0)
        if output is not None:
            assert output >= max(reasoning or 0, raw["usage_output"] or 0, 0)


def test_absurd_counts_are_no_counts() -> None:
    """Counts that no context can hold are left out, and their sums stay within 64 bits."""
    absurd = LLM | {"gen_ai.usage.input_tokens": 2**62, "gen_ai.usage.output_tokens": 5}
    con = ledger(*(span("chat", absurd, start=at, end=at + 1) for at in range(3)))
    assert row(con, "sessions", "input_tokens", "output_tokens", "llm_calls") == (None, 15, 3)
