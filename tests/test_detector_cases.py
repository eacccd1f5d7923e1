"""Every detector has sessions it finds, some that are almost those, and some it cannot judge."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from detector_cases import FOLDER, Case, baseline_row, cases, encoded
from otlp_build import request

from tracekit import detectors
from tracekit.detectors.baselines import SCHEMA
from tracekit.models import pipeline
from tracekit.otlp.reference import scan_reference

CASES = cases()


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], dict[str, Any]]:
    """Verdicts by session and detector: all cases at once, as a run costs more than a case."""
    spans = [one for number, case in enumerate(CASES, 1) for one in encoded(case, number)]
    con = duckdb.connect()
    pipeline.run(con, scan_reference(request(spans)), recorded_ns=0)
    rows = [row for case in CASES if (row := baseline_row(case))]
    detectors.restore(con, pa.Table.from_pylist(rows, SCHEMA))
    detectors.register(con)
    detectors.run(con)
    table = con.sql("SELECT * FROM detections").to_arrow_table().to_pylist()
    return {(row["session_id"], row["detector"]): row for row in table}


@pytest.mark.parametrize("case", CASES, ids=[case.session_id for case in CASES])
def test_a_session_gets_its_verdict(
    case: Case, found: dict[tuple[str, str], dict[str, Any]]
) -> None:
    """OTLP bytes through scan, models and detectors end in what the case expects."""
    row = found[case.session_id, case.detector]
    expected = dict(case.expect)
    if expected.get("evidence"):
        row |= {"evidence": row["evidence_span_ids"].split(",")}
        expected["evidence"] = [case.ids[name] for name in expected["evidence"]]
    elif "evidence" in expected:
        row |= {"evidence": row["evidence_span_ids"]}
    assert {name: row[name] for name in expected} == expected


def test_every_session_has_one_verdict_of_every_detector(
    found: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """A row per session and detector; a hit has severity and evidence, others have neither."""
    known = detectors.load().detectors
    assert found.keys() == {(case.session_id, name) for case in CASES for name in known}
    for row in found.values():
        assert row["verdict"] in detectors.VERDICTS
        is_hit = row["verdict"] == "hit"
        assert (row["severity"] is not None) == is_hit
        assert bool(row["evidence_span_ids"]) == is_hit
        assert row["reason"] or row["verdict"] == "clear"


def test_every_detector_has_cases_of_every_verdict() -> None:
    """Cases are files named after the detectors, each with all three verdicts."""
    verdicts = defaultdict(set)
    for case in CASES:
        verdicts[case.detector].add(case.expect["verdict"])
    assert verdicts == {name: set(detectors.VERDICTS) for name in detectors.load().detectors}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == verdicts.keys()
