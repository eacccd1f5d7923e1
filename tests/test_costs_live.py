"""Costs computed in a running process are those of the models."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from costs_build import cost
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.costs import PRICES_VARIABLE, data
from tracekit.costs.live import Price, Pricer, Usage, price, warm
from tracekit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5.2"),
    ("openai", "o3-mini"),
    ("openai", "text-embedding-3-small"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-haiku-4-5-20251001"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("gcp.gemini", "gemini-3-pro-preview"),
    ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-flash"),
    ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("azure.ai.openai", "gpt-4o-mini"),
    ("deepseek", "deepseek-chat"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
    ("openrouter", "deepseek/deepseek-r1:free"),
    ("mistral_ai", "mistral-large-latest"),
    ("groq", "llama-3.3-70b-versatile"),
    ("x_ai", "grok-4"),
    (None, "gpt-4o"),
    (None, "claude-sonnet-4-5"),
    ("openai", "no-such-model"),
    ("nobody", "gpt-4o"),
    ("openai", None),
    ("openai", ""),
]
TIERS = [
    *(None, "", "default", " Batch ", "flex", "priority", "fast", "scale", "standard_only"),
    *{name for names in data.tiers().names.values() for name in names},
]
COUNTS = [None, None, 0, 0, 1, 7, 128, 1000, 100_000, 200_001, 1_000_000, -3]
REPORTED = [None, None, None, None, 0.0, 0.25, -1.0, 1e10, math.inf, math.nan]


def any_usage(random: Random) -> Usage:
    provider, asked = random.choice(MODELS)
    return Usage(
        provider=provider,
        request_model=asked,
        response_model=random.choice([None, None, asked, random.choice(MODELS)[1]]),
        start_ns=random.randrange(1_672_531_200, 1_798_761_600) * 10**9,
        service_tier=random.choice([None, None, *TIERS]),
        service_tier_requested=random.choice([None, None, *TIERS]),
        input_tokens=random.choice(COUNTS),
        uncached_tokens=random.choice([None, None, None, *COUNTS]),
        cache_read_tokens=random.choice(COUNTS),
        cache_write_tokens=random.choice(COUNTS),
        cache_write_1h_tokens=random.choice([None, None, *COUNTS]),
        output_tokens=random.choice(COUNTS),
        reasoning_tokens=random.choice([None, None, *COUNTS]),
        cost_reported=random.choice(REPORTED),
    )


def plausible(usage: Usage) -> Usage:
    """Return a usage whose counts fit together, which is what most are."""
    read, written = abs(usage.cache_read_tokens or 0), abs(usage.cache_write_tokens or 0)
    thought = abs(usage.reasoning_tokens or 0)
    return usage._replace(
        input_tokens=abs(usage.input_tokens or 0) + read + written,
        uncached_tokens=None,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=written // 2,
        output_tokens=abs(usage.output_tokens or 0) + thought,
        reasoning_tokens=thought,
    )


def as_row(usage: Usage) -> dict[str, Any]:
    return usage._asdict()


def expected(found: list[dict[str, Any]]) -> list[Price]:
    names = ("cost_usd", "cost_source", "price_version", "cost_missing_reason")
    return [Price(*(row[name] for name in names)) for row in found]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1 << 30))
def test_a_price_is_that_of_the_models(seed: int) -> None:
    """For any model, tier, time and mixture of tokens Python and SQL say the same, to the bit."""
    random = Random(seed)
    usage = [any_usage(random) for _ in range(200)]
    usage += [plausible(any_usage(random)) for _ in range(200)]
    assert [price(one) for one in usage] == expected(cost([as_row(one) for one in usage]))


def test_every_listed_model_has_the_price_of_the_models() -> None:
    """Each model of the examples, at each tier, costs the same in Python and in SQL."""
    usage = [
        Usage(
            *(provider, model, None, 1_767_225_600_000_000_000, tier, None),
            *(250_000, None, 30_000, 20_000, 5_000, 3_000, 1_000),
        )
        for provider, model in MODELS
        for tier in TIERS
    ]
    found = [price(one) for one in usage]
    assert found == expected(cost([as_row(one) for one in usage]))
    assert {None, "no_model", "unknown_model", "unpriced_tier"} <= {
        one.missing_reason for one in found
    }


def test_a_call_without_a_start_is_priced_at_present() -> None:
    """Where no start is known, the price of now holds."""
    usage = Usage("openai", "gpt-4o", input_tokens=1000, output_tokens=100)
    assert price(usage) == price(usage._replace(start_ns=1_790_000_000_000_000_000))
    tiered = usage._replace(provider="gcp.gemini", request_model="gemini-2.5-pro")
    assert price(tiered).source == "computed"


def test_the_users_prices_hold_in_process_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warming up reads the user's price file, and refuses a wrong one."""
    file = tmp_path / "prices.yaml"
    file.write_text("models: [{model: in-house, input: 1, output: 2}]", "utf-8")
    monkeypatch.setenv(PRICES_VARIABLE, str(file))
    warm()
    usage = Usage(None, "in-house", input_tokens=1_000_000, output_tokens=1_000_000)
    assert price(usage).usd == 3.0
    assert price(usage) == Pricer().price(usage)
    file.write_text("models: 3", "utf-8")
    with pytest.raises(InputError, match="a price file is a mapping"):
        Pricer()
    monkeypatch.delenv(PRICES_VARIABLE)
    warm()
    assert price(usage).missing_reason == "unknown_model"
