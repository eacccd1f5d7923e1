"""What runs inside a traced process loads none of the libraries of the analysis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"numpy", "pyarrow", "duckdb", "numba", "llvmlite"}
LIGHT = (
    "tracekit",
    "tracekit.stops.live",
    "tracekit.stops.inspection",
    "tracekit.costs.live",
    *(
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in sorted((ROOT / "tracekit" / "instrumentation").glob("*.py"))
        if path.stem != "__init__"
    ),
)


def loaded(code: str) -> set[str]:
    """Return the top-level modules a fresh interpreter has after running some code."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_importing_the_instrumentation_is_light() -> None:
    """No module that a traced process imports pulls in NumPy, PyArrow, DuckDB or Numba."""
    assert loaded("\n".join(f"import {module}" for module in LIGHT)) & HEAVY == set()


def test_judging_pricing_and_inspecting_is_light() -> None:
    """Nor does using them: rules, values and prices are read without the analysis."""
    code = """
from tracekit.instrumentation.derive import Deriver
from tracekit.instrumentation.evidence import LlmFacts, ToolFacts, Unit
from tracekit.stops import inspect
deriver, unit = Deriver(), Unit()
facts = LlmFacts(raw="stop", provider="openai", request_model="gpt-4o", input_tokens=10,
                 output_tokens=10, state=inspect("Done.").state)
attributes, price = deriver.llm(facts)
unit.llm(facts, price)
unit.tool(ToolFacts(name="search"))
assert deriver.unit(unit, unit.close())["tracekit.stop.reason"]
"""
    assert loaded(code) & HEAVY == set()
