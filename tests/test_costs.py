"""Costs: what SQL computes from rate cards, against genai-prices and against recorded bills."""

from __future__ import annotations

import datetime as dt
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from costs_build import call, cost, ns
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.costs import data

if TYPE_CHECKING:
    from pathlib import Path

# Models of many sellers: long-context prices (gpt-5.5, Gemini, Claude, Grok), prices that changed
# (o3, Opus 4.6, Gemini 3.6), by the hour (DeepSeek), per call (Sonar), of reasoning (Sonar Deep
# Research), of one-hour caches (Claude), and without cache prices (Command).
MODELS = (
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-sonnet-4-5"),
    ("aws.bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("azure.ai.openai", "gpt-4o-2024-08-06"),
    ("cohere", "command-a-03-2025"),
    ("deepseek", "deepseek-v4-flash"),
    ("gcp.gemini", "gemini-2.5-pro"),
    ("gcp.gemini", "gemini-3-flash-preview"),
    ("gcp.vertex_ai", "gemini-3.6-flash"),
    ("groq", "openai/gpt-oss-120b"),
    ("mistral_ai", "mistral-large-4"),
    ("openai", "gpt-4.1-mini"),
    ("openai", "gpt-5.5"),
    ("openai", "o3"),
    ("openrouter", "anthropic/claude-sonnet-4.5"),
    ("perplexity", "sonar-deep-research"),
    ("perplexity", "sonar-pro"),
    ("x_ai", "grok-4.3"),
)
VERIFIED = dt.datetime(2026, 10, 20, tzinfo=dt.UTC)  # genai-prices has tiers from that month on


def listed(row: dict[str, Any], tier: str | None = None) -> float:
    """Return what genai-prices itself says the call costs."""
    seller = data.providers().sellers[row["provider"]]
    provider, model = get_snapshot().find_provider_model(row["request_model"], None, seller, None)
    usage = Usage(
        input_tokens=row["input_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        cache_write_1h_tokens=row["cache_write_1h_tokens"],
        output_tokens=row["output_tokens"],
        output_reasoning_tokens=row["reasoning_tokens"],
    )
    context = dict.fromkeys(("service_tier", "processing", "speed"), tier) if tier else None
    price = model.calc_price(
        usage,
        provider,
        genai_request_timestamp=dt.datetime.fromtimestamp(row["start_ns"] / 1e9, dt.UTC),
        price_context=context,
    )
    return float(price.total_price)


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    uncached, read, write_5m, write_1h, text, reasoning = (
        draw(st.one_of(st.just(0), st.integers(0, 1_000), st.integers(0, 600_000)))
        for _ in range(6)
    )
    provider, model = draw(st.sampled_from(MODELS))
    start = draw(st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2027, 6, 1)))  # noqa: DTZ001
    return call(
        provider,
        model,
        start_ns=ns(start.replace(tzinfo=dt.UTC)),
        input_tokens=uncached + read + write_5m + write_1h + 1,
        cache_read_tokens=read,
        cache_write_tokens=write_5m + write_1h,
        cache_write_1h_tokens=write_1h,
        output_tokens=text + reasoning,
        reasoning_tokens=reasoning,
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(calls(), min_size=1, max_size=40))
def test_computed_cost_is_that_of_genai_prices(rows: list[dict[str, Any]]) -> None:
    """At any time, length and mix of tokens, SQL arrives at the price list's own answer."""
    found = [row["cost_usd"] for row in cost(rows)]
    assert found == pytest.approx([listed(row) for row in rows], rel=1e-12, abs=0)


def test_every_listed_model_costs_what_its_list_says() -> None:
    """All models with token prices of all sellers we name agree with genai-prices."""
    sold = {seller: name for name, seller in data.providers().sellers.items()}
    rows = [
        call(sold[seller.id], model.id, start_ns=ns(VERIFIED), input_tokens=300_000)
        | {"cache_read_tokens": 120_000, "cache_write_tokens": 50_000, "cache_write_1h_tokens": 9}
        | {"reasoning_tokens": 7}
        for seller in get_snapshot().providers
        if seller.id in sold
        for model in seller.models
        if {"input_mtok", "output_mtok"} <= vars(model.get_prices(VERIFIED)).keys()
        and seller.find_model(model.id) is model
    ]
    assert len(rows) > 1000
    found = [row["computed_cost_usd"] for row in cost(rows)]
    assert found == pytest.approx([listed(row) for row in rows], rel=1e-12, abs=0)


def test_cached_and_written_input_have_their_own_prices() -> None:
    """Sonnet 4.5: 90k read, 5k written, 5k fresh and 2k generated tokens cost $0.09075."""
    usage = {"cache_read_tokens": 90_000, "cache_write_tokens": 5_000, "output_tokens": 2_000}
    row = call("anthropic", "claude-sonnet-4-5", input_tokens=100_000, **usage)
    derived = row | {"input_tokens": None, "uncached_tokens": 5_000}
    assert [r["cost_usd"] for r in cost([row, derived])] == pytest.approx([0.09075] * 2, rel=1e-12)


@pytest.mark.parametrize(
    ("tokens", "usd"), [(272_000, 1.36), (272_001, 2.72001)], ids=["at threshold", "above"]
)
def test_long_context_price_holds_for_the_whole_call(tokens: int, usd: float) -> None:
    """gpt-5.5 above 272k input tokens costs the higher rate from the first token on."""
    [row] = cost([call("openai", "gpt-5.5", input_tokens=tokens, output_tokens=0)])
    assert row["cost_usd"] == pytest.approx(usd, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"request_model": "no-such-model"}, "unknown_model"),
        ({"provider": "my-cluster"}, "unknown_model"),
        ({"request_model": None}, "no_model"),
        ({"input_tokens": None, "output_tokens": None}, "no_usage"),
        ({"input_tokens": None}, "no_usage"),
        ({"input_tokens": 0, "output_tokens": 0}, "no_usage"),
        ({"service_tier": "scale"}, "unpriced_tier"),
        ({"request_model": "text-embedding-3-small"}, "unpriced_tokens"),
        ({"cache_read_tokens": 101}, "unpriced_tokens"),
        ({"reasoning_tokens": 11}, "unpriced_tokens"),
    ],
)
def test_unknown_cost_is_null_with_a_reason(values: dict[str, Any], reason: str) -> None:
    """What cannot be priced has no cost, never 0, and says why."""
    [row] = cost([call("openai", "gpt-4o") | values])
    assert (row["cost_usd"], row["computed_cost_usd"], row["cost_source"]) == (None, None, None)
    assert row["cost_missing_reason"] == reason


def test_embeddings_have_a_cost_without_output() -> None:
    """A model without an output price is priced when it generated nothing."""
    [row] = cost([call("openai", "text-embedding-3-small", output_tokens=None)])
    assert row["cost_usd"] == pytest.approx(100 * 0.02e-6, rel=1e-12)


def test_reported_cost_beats_the_computed_one() -> None:
    """A cost the provider reported is kept, the computed one stands beside it."""
    known, unknown = cost(
        [
            call("openai", "gpt-4o", cost_reported=0.5),
            call("openai", "no-such-model", cost_reported=0.5),
        ]
    )
    assert (known["cost_usd"], known["cost_source"], known["price_version"]) == (
        0.5,
        "reported",
        None,
    )
    assert known["computed_cost_usd"] == pytest.approx(350e-6, rel=1e-12)
    assert (unknown["cost_usd"], unknown["computed_cost_usd"]) == (0.5, None)
    assert unknown["cost_missing_reason"] is None


def test_reported_zero_for_generated_tokens_is_not_believed() -> None:
    """Gateways write 0 where they know no price; it counts only where the call really was free."""
    paid, unknown, nothing, free, negative = cost(
        [
            call("openai", "gpt-4o", cost_reported=0.0),
            call("litellm", "no-such-model", cost_reported=0.0),
            call("openai", "gpt-4o", cost_reported=0.0, output_tokens=0),
            call("openrouter", "meta-llama/llama-3.3-70b-instruct:free", cost_reported=0.0),
            call("openai", "gpt-4o", cost_reported=-1.0),
        ]
    )
    assert (paid["cost_usd"], paid["cost_source"]) == (pytest.approx(350e-6), "computed")
    assert (unknown["cost_usd"], unknown["cost_missing_reason"]) == (None, "unknown_model")
    assert (nothing["cost_usd"], nothing["cost_source"]) == (0.0, "reported")
    assert (free["cost_usd"], free["cost_source"]) == (0.0, "reported")
    assert (negative["cost_usd"], negative["cost_source"]) == (pytest.approx(350e-6), "computed")


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("anthropic", "claude-sonnet-4-5", "batch"),
        ("anthropic", "claude-opus-5", "fast"),
        ("openai", "gpt-5.5", "flex"),
        ("openai", "gpt-5.5", "priority"),
        ("openai", "gpt-4.1-mini", "batch"),
        ("gcp.gemini", "gemini-2.5-flash", "batch"),
        ("groq", "openai/gpt-oss-120b", "batch"),
        ("x_ai", "grok-4.3", "batch"),
    ],
)
def test_listed_tier_costs_what_the_list_says(provider: str, model: str, tier: str) -> None:
    """Where genai-prices knows a tier, its price holds, and holds for the years before too."""
    row = call(provider, model, service_tier=tier.upper(), start_ns=ns(VERIFIED))
    row |= {"cache_read_tokens": 40, "cache_write_tokens": 0, "cache_write_1h_tokens": 0}
    row |= {"reasoning_tokens": 0}
    early = row | {"start_ns": ns(dt.datetime(2026, 9, 1, tzinfo=dt.UTC))}
    want = pytest.approx([listed(row, tier)] * 2, rel=1e-12)
    assert [r["cost_usd"] for r in cost([row, early])] == want


def test_overlay_prices_tiers_the_list_lacks() -> None:
    """Tiers of tiers.yaml multiply the standard rates, by kind of token."""
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    standard, batch, fast = cost(
        [
            call("aws.bedrock", model),
            call("aws.bedrock", model, service_tier="batch"),
            call("anthropic", "claude-opus-4-6", service_tier="fast"),
        ]
    )
    assert batch["cost_usd"] == pytest.approx(standard["cost_usd"] / 2, rel=1e-12)
    assert fast["cost_usd"] == pytest.approx((100 * 30 + 10 * 150) / 1e6, rel=1e-12)


def test_served_tier_decides_over_the_requested_one() -> None:
    """The tier asked for is priced only where the answer names none."""
    served, asked, unnamed = cost(
        [
            call("openai", "o3", service_tier="default", service_tier_requested="flex"),
            call("openai", "o3", service_tier=None, service_tier_requested="flex"),
            call("openai", "o3", service_tier="", service_tier_requested="auto"),
        ]
    )
    assert served["cost_usd"] == unnamed["cost_usd"] == pytest.approx(280e-6, rel=1e-12)
    assert asked["cost_usd"] == pytest.approx(140e-6, rel=1e-12)


def test_answering_model_is_priced_before_the_one_asked_for() -> None:
    """The response model decides; the request model helps where nobody knows the answer's name."""
    answered, fallback = cost(
        [
            call("openai", "gpt-4o", response_model="gpt-4o-mini-2024-07-18"),
            call("azure.ai.openai", "gpt-4o", response_model="our-deployment"),
        ]
    )
    assert answered["cost_usd"] == pytest.approx(21e-6, rel=1e-12)
    assert fallback["cost_usd"] == pytest.approx(350e-6, rel=1e-12)


def test_prices_agree_with_recorded_bills(shared_data: Path) -> None:
    """Calls billed by OpenRouter cost what we compute, to a billionth of a dollar."""
    rows = []
    with tarfile.open(shared_data / "swebench-mini-agent" / "trajs-A.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".traj.json") else None
            messages = json.load(file)["messages"] if file else []
            answers = [message.get("extra", {}).get("response") for message in messages]
            rows += [bill(answer) for answer in answers if answer and "cost" in answer["usage"]]
    assert len(rows) > 1000
    for row in cost(rows):
        assert row["computed_cost_usd"] == pytest.approx(row["cost_usd"], abs=1e-9)


def bill(answer: dict[str, Any]) -> dict[str, Any]:
    usage = answer["usage"]
    return call(
        "openrouter",
        answer["model"],
        start_ns=answer["created"] * 10**9,
        input_tokens=usage["prompt_tokens"],
        cache_read_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        output_tokens=usage["completion_tokens"],
        reasoning_tokens=usage["completion_tokens_details"]["reasoning_tokens"],
        cost_reported=usage["cost"],
    )
