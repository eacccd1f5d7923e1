"""What evidence from before production is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.stats.intervals import jeffreys
from tracekit.stats.priors import layers, posterior


def test_layers_count_with_their_discount() -> None:
    """40 dogfooded and 100 simulated sessions are worth 40 of production: Beta by hand."""
    result = posterior({"dogfood": (30, 40), "simulation": (90, 100)}, (5, 8))
    assert (result.a, result.b) == (0.5 + 15 + 18 + 5, 0.5 + 5 + 2 + 3)
    assert result.prior == 40
    assert result.prior_weight == pytest.approx(40 / 48)
    assert result.sessions_until_own == 33
    assert "83% of the evidence" in result.estimate().note


def test_production_takes_over() -> None:
    """With more sessions than the prior is worth the note goes, and nothing more is needed."""
    result = posterior({"dogfood": (30, 40)}, (50, 60))
    assert result.estimate().reliable
    assert result.sessions_until_own == 0
    assert result.prior_weight < 0.5


def test_at_the_edge_one_more_session_decides() -> None:
    """As many production sessions as the prior is worth are half: one more is needed."""
    assert posterior({"dogfood": (40, 40)}, (20, 20)).sessions_until_own == 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_without_a_prior_it_is_jeffreys(successes: int, failures: int) -> None:
    """Only production: the interval is Jeffreys', except where an outcome was never seen."""
    if successes and failures:
        result = posterior({}, (successes, successes + failures)).estimate()
        single = jeffreys(successes, successes + failures)
        assert [result.low, result.high] == pytest.approx([single.low, single.high])


def test_cases_made_to_fail_say_nothing_of_how_often() -> None:
    """Adversarial sessions never move the rate, whatever discount is asked for."""
    attacked = posterior({"adversarial": (0, 1000)}, (9, 10), {"adversarial": 1.0})
    assert attacked == posterior({}, (9, 10))


def test_the_width_is_reached_with_the_sessions_named() -> None:
    """So many more sessions at the same rate make the interval that narrow; one fewer does not."""
    result = posterior({"dogfood": (36, 40)})
    more = result.sessions_until_width(0.05)
    mean = result.a / (result.a + result.b)
    after, before = (
        posterior({"dogfood": (36, 40)}, (n * mean, n)).estimate() for n in (more, more - 1)
    )
    assert after.high - after.low <= 0.05 < before.high - before.low
    assert result.sessions_until_width(0.9) == 0


def test_every_layer_has_its_reason() -> None:
    """The table says for each layer why it is discounted so."""
    assert {"dogfood", "simulation", "expert", "adversarial"} == set(layers())
    assert all(layer.why and 0 <= layer.discount < 1 for layer in layers().values())


@pytest.mark.parametrize(
    ("evidence", "message"),
    [({"hearsay": (1, 2)}, "no layer"), ({"dogfood": (3, 2)}, "impossible")],
)
def test_mistakes_are_refused(evidence: dict[str, tuple[int, int]], message: str) -> None:
    """A layer nobody knows, and more successes than sessions, are mistakes of the caller."""
    with pytest.raises(ValueError, match=message):
        posterior(evidence)
    with pytest.raises(ValueError, match="discount"):
        posterior({"dogfood": (1, 2)}, (0, 0), {"dogfood": 2})
    with pytest.raises(ValueError, match="width"):
        posterior({}).sessions_until_width(0)
