"""`tracekit detect`: counts, lists, and what a mistake is called."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from detector_cases import cases, encoded
from lake_build import imported, new_lake

from tracekit.cli import main
from tracekit.detectors import load

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a lake with the cases of two detectors."""
    folder = tmp_path_factory.mktemp("detect")
    chosen = [case for case in cases() if case.detector in {"retry_storm", "duplicate_effect"}]
    spans = [span for number, case in enumerate(chosen, 1) for span in encoded(case, number)]
    imported(new_lake(folder / "lake"), folder, one=spans)
    return str(folder / "lake")


def asked(lake: str, *arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["detect", "--lake", lake, "--format", "json", *arguments])
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def refused(lake: str, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["detect", "--lake", lake, *arguments])
    assert result.exit_code == 2, result.output
    return result.stderr


def test_counts_per_detector(lake: str) -> None:
    """A row per detector in order; hits, clear and not evaluable are all sessions."""
    rows = asked(lake)
    assert [row["detector"] for row in rows] == [*load().detectors]
    totals = {row["hits"] + row["clear"] + row["not_evaluable"] for row in rows}
    assert len(totals) == 1
    (storms,) = [row for row in rows if row["detector"] == "retry_storm"]
    assert storms["share"] == storms["hits"] / (storms["hits"] + storms["clear"])
    assert storms["share_low"] < storms["share"] < storms["share_high"]


def test_a_detector_that_judged_nothing_has_no_rate(lake: str) -> None:
    """No session can be judged without a baseline: no share, and the commonest reason is given."""
    (row,) = [row for row in asked(lake) if row["detector"] == "token_amplification"]
    assert (row["hits"], row["clear"], row["share"]) == (0, 0, None)
    assert row["missing"] == "no model call"


def test_hits_come_with_their_evidence(lake: str) -> None:
    """The sessions of a detector, the severest first, with value, threshold and span ids."""
    rows = asked(lake, "--detector", "duplicate_effect")
    assert [row["severity"] for row in rows] == ["critical", "high", "medium"]
    assert all((row["value"], row["threshold"]) == (2, 2) for row in rows)
    assert all(len(row["evidence_span_ids"]) == 2 for row in rows)


def test_other_verdicts_can_be_listed(lake: str) -> None:
    """Why a detector could not judge stands beside the session."""
    rows = asked(lake, "--detector", "retry_storm", "--verdict", "not_evaluable")
    assert "failed model calls of unknown usage" in {row["reason"] for row in rows}
    assert {row["severity"] for row in rows} == {None}


def test_a_condition_narrows_the_sessions(lake: str) -> None:
    """`--where` is over the columns of sessions, and `--limit` over the list."""
    where = ("--where", "session_id LIKE 'duplicate%'")
    (row,) = [row for row in asked(lake, *where) if row["detector"] == "retry_storm"]
    assert row["hits"] == 0
    assert asked(lake, "--detector", "retry_storm", *where) == []
    assert len(asked(lake, "--detector", "duplicate_effect", "--limit", "1")) == 1


def test_thresholds_are_printed_with_their_source(lake: str) -> None:
    """A number of ours is called an unvalidated default, and what is left out is named."""
    call = ["detect", "--lake", lake, "--detector", "retry_storm", "--limit", "1"]
    text = " ".join(CliRunner().invoke(main, call).stdout.split())
    assert "failures 3 calls, an unvalidated default" in text
    assert "left out: gaps shorter than Retry-After" in text
    assert "more: --limit shows them." in text


def test_mistakes_are_named(lake: str, tmp_path: Path) -> None:
    """An unknown detector, column or option without its detector is refused."""
    assert "no detector 'storm'; there are: stop_mismatch" in refused(lake, "--detector", "storm")
    assert "no column 'foo'" in refused(lake, "--where", "foo = 1")
    assert "name a --detector" in refused(lake, "--limit", "3")
    detector = ("--detector", "retry_storm")
    assert "must not be negative" in refused(lake, *detector, "--limit", "-1")
    result = CliRunner().invoke(main, ["detect", "--lake", str(tmp_path / "none")])
    assert result.exit_code == 1
