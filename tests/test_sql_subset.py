"""The models keep to SQL that other engines have, too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MODELS = sorted(
    path
    for package in ("models", "stops", "costs", "detectors", "stats")
    for path in (ROOT / "tracekit" / package).glob("*.sql")
)

# What a translator passes on without knowing that the other engine has none of it, or loses an
# order on the way: the order of a list, a percentile in ClickHouse and Spark, a lateral unnesting.
TRAPS = {
    "UNNEST": r"\bunnest\b",
    "ASOF JOIN": r"\basof\b",
    "quantile_cont": r"\bquantile_cont\b",
    "GROUP BY ALL": r"\bgroup\s+by\s+all\b",
    "an ordered list": r"\b(list|string_agg|array_agg)\s*\([^)]*order\s+by",
    "epoch_ns": r"\bepoch_ns\b",
    "datediff": r"\bdate_?diff\b",
    "a JSON path": r"->>",
}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_models_avoid_what_does_not_translate(path: Path) -> None:
    """No model uses a construct that ClickHouse or Spark reads in another way, or not at all."""
    text = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8")).lower()
    assert [name for name, trap in TRAPS.items() if re.search(trap, text)] == []
