"""Prices of the user's own: what they override, and how a wrong file is refused."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tracekit.costs import PRICES_VARIABLE, GenaiPriceBook, OverlayPriceBook, attach, default_book
from tracekit.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

USAGE = """
CREATE TABLE usage AS
SELECT 1 AS row_id, 'openai' AS provider, $model AS request_model, NULL AS response_model,
    $start_ns AS start_ns, $tier AS service_tier, NULL AS service_tier_requested,
    1000 AS input_tokens, NULL AS uncached_tokens, 0 AS cache_read_tokens,
    0 AS cache_write_tokens, 0 AS cache_write_1h_tokens, 100 AS output_tokens,
    0 AS reasoning_tokens, NULL::DOUBLE AS cost_reported
"""


@pytest.fixture
def price_file(tmp_path: Path) -> Path:
    return tmp_path / "prices.yaml"


def priced(file: Path, model: str, day: str = "2026-11-01", tier: str | None = None) -> Any:
    book = OverlayPriceBook(file, GenaiPriceBook())
    start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    with duckdb.connect() as con:
        start_ns = int(start.timestamp()) * 10**9
        con.execute(USAGE, {"model": model, "start_ns": start_ns, "tier": tier})
        attach(con, book)
        [[usd]] = con.execute("SELECT cost_usd FROM span_costs").fetchall()
    return usd


def test_entry_adds_a_model(price_file: Path) -> None:
    """A model nobody lists costs what the file says, cached input as uncached where not said."""
    price_file.write_text("models: [{model: 'our-*', input: 2, output: 10, request: 0.5}]")
    assert priced(price_file, "our-model") == pytest.approx(0.503, rel=1e-12)
    [rate] = OverlayPriceBook(price_file, GenaiPriceBook()).rates(None, None, "our-model")
    assert (rate.cache_read, rate.cache_write_1h, rate.reasoning) == (2, 2, 10)


def test_entry_overrides_the_list_from_its_day_on(price_file: Path) -> None:
    """Before `from` the list's price holds, after it the file's, then the next entry's."""
    price_file.write_text(
        """
        models:
          - {provider: openai, model: gpt-4o, from: 2026-10-01, input: 1, output: 1}
          - {provider: openai, model: gpt-4o, from: 2026-11-01, input: 3, output: 3}
        """
    )
    days = ["2026-09-30", "2026-10-01", "2026-10-31", "2026-11-01"]
    costs = [priced(price_file, "gpt-4o", day) for day in days]
    assert costs == pytest.approx([0.0035, 0.0011, 0.0011, 0.0033], rel=1e-12)


def test_first_fitting_pattern_prices_alone(price_file: Path) -> None:
    """A wildcard that starts later does not take over from an exact name above it."""
    price_file.write_text(
        """
        models:
          - {model: gpt-4o, input: 1, output: 1}
          - {model: gpt-*, from: 2026-10-01, input: 9, output: 9}
        """
    )
    assert priced(price_file, "gpt-4o") == pytest.approx(0.0011, rel=1e-12)


def test_entry_for_another_provider_does_not_fit(price_file: Path) -> None:
    """A provider limits an entry."""
    price_file.write_text(
        "models: [{provider: azure.ai.openai, model: gpt-4o, input: 9, output: 9}]"
    )
    assert priced(price_file, "gpt-4o") == pytest.approx(0.0035, rel=1e-12)


def test_entry_has_long_context_prices_and_tiers(price_file: Path) -> None:
    """`above` replaces the prices of longer calls; `tiers` multiplies whichever hold."""
    price_file.write_text(
        """
        models:
          - model: own
            input: 1
            output: 1
            above: {999: {input: 2, output: 4}}
            tiers: {batch: 0.5}
        """
    )
    assert priced(price_file, "own") == pytest.approx(0.0024, rel=1e-12)
    assert priced(price_file, "own", tier="batch") == pytest.approx(0.0012, rel=1e-12)
    assert priced(price_file, "own", tier="flex") is None


def test_version_names_the_file_and_its_content(price_file: Path) -> None:
    """Costs from different contents of one file are told apart."""
    price_file.write_text("models: []")
    empty = OverlayPriceBook(price_file, GenaiPriceBook()).version
    price_file.write_text("models: [{model: a, input: 1}]")
    filled = OverlayPriceBook(price_file, GenaiPriceBook()).version
    assert empty.startswith(f"{GenaiPriceBook().version}+prices.yaml ")
    assert empty != filled


def test_variable_names_the_file(price_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The price book of the process reads the file TRACEKIT_PRICES names."""
    price_file.write_text("models: [{model: own, input: 1, output: 1}]")
    monkeypatch.setenv(PRICES_VARIABLE, str(price_file))
    assert default_book().rates(None, "own", None)
    monkeypatch.delenv(PRICES_VARIABLE)
    assert not default_book().rates(None, "own", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("models: [{model: a, input: 1}, {model: b, input: -1}]", r"entry 2 \(b\): input: .*equal"),
        ("models: [{input: 1}]", r"entry 1 \(no model\): model: Field required"),
        ("models: [{model: a, input: 1, outptu: 1}]", r"entry 1 \(a\): outptu: Extra"),
        ("models: [{model: a, input: 1, tiers: {turbo: 2}}]", r"unknown tier 'turbo', use one of"),
        ("models: [{model: a, input: .nan}]", r"entry 1 \(a\): input: .*finite"),
        ("models: [{model: a, input: 1}, {model: A, input: 2}]", r"entries 1 and 2 \(A\)"),
        ("prices: []", r"mapping with a list `models`"),
        ("models: [", r"not valid YAML"),
    ],
)
def test_wrong_file_is_refused_by_name_and_entry(
    price_file: Path, content: str, message: str
) -> None:
    """An error names the file, the entry and what is wrong with it, in one line."""
    price_file.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        OverlayPriceBook(price_file, GenaiPriceBook())
    assert str(caught.value).startswith(str(price_file))
    assert "\n" not in str(caught.value)


def test_missing_file_is_refused(price_file: Path) -> None:
    """A price file that is not there is an error, not an absence of prices."""
    with pytest.raises(InputError, match="No such file"):
        default_book(price_file)
