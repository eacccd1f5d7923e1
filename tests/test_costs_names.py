"""From the names in traces to a place in the price list, and what the data files may say."""

from __future__ import annotations

import pytest
from genai_prices.data_snapshot import get_snapshot

from tracekit.costs import GenaiPriceBook, data


@pytest.mark.parametrize(
    ("provider", "model", "usd_per_mtok"),
    [
        (None, "gemini-3-flash-preview", 0.5),
        (None, "google/gemini-3-pro-preview", 2),
        (None, "gemini/gemini-3-flash", 0.5),
        (None, "gpt-4.1-mini", 0.4),
        (None, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        (None, "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0", 3.3),
        ("gcp.gemini", "models/gemini-2.5-flash", 0.3),
        ("gcp.vertex_ai", "publishers/google/models/gemini-3-pro", 2),
        ("openrouter", "google/gemini-3-pro-preview-20251117", 2),
        ("openrouter", "openai/gpt-4o:nitro", 2.5),
        ("litellm", "azure/gpt-4o", 2.5),
        ("openai", "google/gemini-3-pro-preview", 2),
        ("openai", "openai/gpt-4o", 2.5),
        ("anthropic", "claude-opus-5[1m]", 5),
        ("X-AI", "grok-4-0709", 3),
    ],
)
def test_spelling_of_models_does_not_hide_their_price(
    provider: str | None, model: str, usd_per_mtok: float
) -> None:
    """Vendor prefixes, region prefixes, resource paths and marks lead to the same price."""
    rates = GenaiPriceBook().rates(provider, model, None)
    assert rates[0].uncached_input == usd_per_mtok


@pytest.mark.parametrize("model", ["google/gemma-3-27b-it", "deepseek-chat", "Qwen/Qwen3-32B"])
def test_open_weights_behind_an_openai_protocol_stay_unpriced(model: str) -> None:
    """`openai` may be anybody's server: models one can host are not priced as a vendor's."""
    assert GenaiPriceBook().rates("openai", model, None) == ()


@pytest.mark.parametrize("model", ["no-such-model:free", "anthropic/claude-sonnet-4.5:free"])
def test_free_offer_is_not_priced_as_the_vendors(model: str) -> None:
    """A free offer the gateway does not list is unknown, not the vendor's paid model."""
    assert GenaiPriceBook().rates("openrouter", model, None) == ()


def test_data_files_name_what_exists() -> None:
    """Sellers exist in genai-prices, prefixes and shapes in our list, and aliases are needed."""
    table, snapshot = data.providers(), get_snapshot()
    known = table.sellers.keys() | table.relays.keys()
    assert set(table.sellers.values()) <= {seller.id for seller in snapshot.providers}
    assert {shape.provider for shape in table.shapes} <= known
    assert set(table.prefixes.values()) <= known
    for alias in data.models().aliases:
        assert snapshot.find_provider_model(alias.target, None, alias.seller, None)
        with pytest.raises(LookupError):
            snapshot.find_provider_model(alias.name, None, alias.seller, None)


def test_each_tier_name_means_one_tier() -> None:
    """A raw tier name stands in one list only, or calls would be counted twice."""
    names = [name for raw in data.tiers().names.values() for name in raw]
    assert sorted(names) == sorted(set(names))
    assert {entry.tier for entry in data.tiers().tiers} <= data.tiers().names.keys()
