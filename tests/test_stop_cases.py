"""Every stop code has a recording that gets it, and recordings that almost do."""

from __future__ import annotations

from typing import Any

import pytest
from stop_cases import Case, cases, classified, encode

from tracekit.stops import load_taxonomy
from tracekit.stops.rules import load as load_rules

CASES = cases()


COLUMNS = [
    "stop_reason",
    "stop_category",
    "stop_outcome",
    "stop_fault",
    "stop_evidence",
    "stop_contributing",
]


@pytest.fixture(scope="module")
def stops() -> dict[str, dict[str, Any]]:
    # All cases at once, each a session named after it: a run of the models costs more than a case.
    data = b"".join(encode(case.spans, case.name, n) for n, case in enumerate(CASES))
    rows = classified(data).execute(f"SELECT session_id, {', '.join(COLUMNS)} FROM stops")
    return {name: dict(zip(COLUMNS, found, strict=True)) for name, *found in rows.fetchall()}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_recording_gets_its_stop(case: Case, stops: dict[str, dict[str, Any]]) -> None:
    """OTLP bytes through scan, inspection and models end in the stop the case expects."""
    found = stops[case.name]
    contributing = found["stop_contributing"].split(",") if found["stop_contributing"] else []
    assert found | {"stop_contributing": contributing} == {
        "stop_reason": case.expect["code"],
        "stop_category": case.expect["code"].partition(".")[0],
        "stop_outcome": case.expect["outcome"],
        "stop_fault": case.expect["fault"],
        "stop_evidence": case.expect["level"],
        "stop_contributing": case.expect.get("contributing", []),
    }


def test_a_recording_is_one_task(stops: dict[str, dict[str, Any]]) -> None:
    """Every recording is one session with one stop."""
    assert sorted(stops) == sorted(case.name for case in CASES)


def test_every_code_has_a_case() -> None:
    """All 47 codes are the expected stop of at least one recording."""
    assert {case.expect["code"] for case in CASES} == set(load_taxonomy().codes)


def test_every_rule_gives_a_code_in_the_order_of_precedence() -> None:
    """Categories of the rules follow the taxonomy's order of precedence."""
    order = "cancelled limit policy provider truncated waiting loop tool runtime completed unknown"
    categories = [rule.code.partition(".")[0] for rule in load_rules().rules[2:]]
    assert sorted(categories, key=order.split().index) == categories
    assert [rule.code for rule in load_rules().rules[:2]] == [
        "runtime.crash",
        "cancelled.abandoned",
    ]
    assert {rule.code for rule in load_rules().rules} == set(load_taxonomy().codes)


def test_a_near_miss_misses_what_it_names() -> None:
    """A case made to miss a code does not expect that code."""
    assert all(case.unless != case.expect["code"] for case in CASES)
    assert {case.unless for case in CASES} - {None} <= set(load_taxonomy().codes)
