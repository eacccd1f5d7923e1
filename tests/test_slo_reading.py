"""Files of objectives: what they may say, and what is said about those that say something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.documents import DocumentError, written
from tracekit.errors import InputError, UsageError
from tracekit.slo import openslo
from tracekit.slo.durations import SECONDS, parsed, shorthand
from tracekit.slo.objectives import Objective, Objectives
from tracekit.slo.reading import load, parse

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "objectives:\n  - {name: a, service: s, target: 99%, time_window: 28d"


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        parse("o.yaml", text)
    return caught.value.lines()


def test_the_documented_file_is_fine() -> None:
    """The example of docs/slo.md is read as it stands, and is the file that ships."""
    text = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
    shipped = (ROOT / "examples" / "slo.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{shipped}```" in text
    assert [one.name for one in parse("slo.yaml", shipped).objectives]


def test_every_mistake_has_its_line() -> None:
    """All that is wrong with the keys is told at once, with what was perhaps meant."""
    text = """objectives:
  - name: Support
    service: support
    targt: 0.99
    target: 99
    time_window: 1M
    indicator:
      where: agent_name = 'a'
      sources: [x]
  - name: b
    service: s
    target: 0.9
    time_window: 28d
    budgeting_method: Timeslices
"""
    found = problems(text)
    assert [line.split(": ")[:2] for line in found] == [
        ["o.yaml:2", "objectives[1].name"],
        ["o.yaml:4", "objectives[1].targt"],
        ["o.yaml:5", "objectives[1].target"],
        ["o.yaml:6", "objectives[1].time_window"],
        ["o.yaml:7", "objectives[1].indicator"],
        ["o.yaml:10", "objectives[2]"],
    ]
    assert "did you mean target?" in found[1]
    assert "99 is no share between 0 and 1: write 0.99 or 99%" in found[2]
    assert "write days, or month" in found[3]
    assert "needs a `time_slice_window`" in found[5]


def test_predicates_are_checked_with_their_line() -> None:
    """Within a block of text the line is that of the mistake."""
    text = (
        GOOD.replace("{", "").replace(", ", "\n    ")
        + """
    indicator:
      where: |
        duration_s > 5
        AND agent_nam = 'a'
      good: outcome
"""
    )
    found = problems(text)
    assert found[0].startswith("o.yaml:9: objectives[1].indicator.where: no column 'agent_nam'")
    assert "did you mean agent_name" in found[0]
    assert found[1] == (
        "o.yaml:10: objectives[1].indicator.good: it gives VARCHAR, not true or false: compare it"
    )


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (", time_zone: Europe/Berlin}", "a rolling window has none"),
        (", time_zone: Mars/Base}", "no time zone 'Mars/Base'"),
        (", time_slice_window: 5d}", "no multiple of `time_slice_window`"),
        (", time_slice_target: 0.9}", "is for Timeslices"),
        (", gate: [missing]}", "Input should be 'missed'"),
        (", indicator: {truth: human}}", "names the people"),
        (", indicator: {where: now() > started_at}}", "does not always give the same answer"),
        (
            ", indicator: {where: (SELECT true)}}",
            "subqueries are not allowed: it is about one task",
        ),
        (", indicator: {truth: verified, good: stop_category = 'completed'}}", "`truth: proxy`"),
        (", alerts: [{severity: page, budget: 0.1, long: 1h, short: 2h}]}", "`short` is shorter"),
        (", alerts: [{severity: page, budget: 0.1, long: 1 h, short: 5m}]}", "no duration like 5m"),
        ("}\n  - {name: a, service: s, target: 0.9, time_window: 1d}", "two objectives are called"),
    ],
)
def test_what_cannot_be_meant_is_refused(rest: str, message: str) -> None:
    """Each is told in words of the file."""
    (line,) = problems(GOOD + rest)
    assert message in line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file is a wrong call; one that is no text fails."""
    with pytest.raises(UsageError, match=r"no file of objectives '.*nowhere\.yaml'"):
        load(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "binary.yaml")
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path)


@given(st.integers(1, 400 * 86_400))
def test_durations_come_back(seconds: int) -> None:
    """A duration is read as it was written."""
    if seconds < 10**6 or seconds % 60 == 0:
        assert parsed(shorthand(seconds)) == seconds


MINUTES = st.sampled_from([300, 600, 1800, 3600])
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
SHARES = st.floats(0.01, 0.9999).map(lambda share: round(share, 6))
ALERTS = st.lists(
    st.fixed_dictionaries(
        {
            "severity": st.sampled_from(["page", "ticket"]),
            "budget": st.floats(0.01, 1).map(lambda share: round(share, 4)),
            "long": st.integers(2, 48).map(lambda hours: hours * 3600),
            "short": MINUTES,
        }
    ),
    max_size=3,
)
INDICATORS = st.fixed_dictionaries(
    {},
    optional={
        "where": st.sampled_from(["agent_name = 'a'", "model LIKE 'g%'\nAND tool_calls > 2 -- x"]),
        "bad": st.just("outcome = 'failure' AND stop_fault <> 'U'"),
        "not_counted": st.just("stop_fault = 'U'"),
        "undetermined": st.sampled_from(["excluded", "bad"]),
        "label_lag": st.integers(0, 3 * SECONDS["d"]),
        "truth": st.sampled_from(["proxy", "verified"]),
    },
) | st.fixed_dictionaries(
    {"truth": st.just("human"), "sources": st.lists(st.text(min_size=1, max_size=8), min_size=1)}
)


@st.composite
def objectives(draw: st.DrawFn) -> Objectives:
    """Return any file of objectives."""
    made = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        method = draw(st.sampled_from(["Occurrences", "Timeslices", "RatioTimeslices"]))
        month = draw(st.booleans())
        fields = {
            "name": name,
            "service": draw(NAMES),
            "description": draw(st.text(max_size=20)).strip(),
            "target": draw(SHARES),
            "time_window": "month" if month else draw(st.integers(1, 90)) * SECONDS["d"],
            "time_zone": draw(st.sampled_from(["UTC", "Europe/Berlin"])) if month else "UTC",
            "budgeting_method": method,
            "indicator": draw(INDICATORS),
            "gate": draw(st.lists(st.sampled_from(["missed", "spent", "page"]), unique=True)),
            "alerts": draw(st.none() | ALERTS),
            "min_coverage": draw(SHARES),
            "min_events": draw(st.integers(1, 50)),
        }
        if method != "Occurrences" or draw(st.booleans()):
            fields["time_slice_window"] = draw(MINUTES)
        if method == "Timeslices":
            fields["time_slice_target"] = draw(SHARES)
        if draw(st.booleans()):
            fields["counters"] = {"bad": 'a{b="c"}', "total": "d"}
        made.append(Objective.model_validate(fields))
    return Objectives(objectives=tuple(made))


def test_every_end_of_a_line_comes_back() -> None:
    """Characters that YAML takes for the end of a line are none in a text."""
    said = {"description": "a\x85b\u2028c\u2029d\ne"}
    assert yaml.safe_load(written(said)) == said


@settings(max_examples=40)
@given(objectives())
def test_openslo_round_trip(before: Objectives) -> None:
    """What is exported is read back as it was, and exported again letter by letter."""
    text = openslo.dump(before)
    after = parse("o.yaml", text)
    assert after == before
    assert openslo.dump(after) == text


@settings(max_examples=20)
@given(objectives())
def test_the_own_form_comes_back(before: Objectives) -> None:
    """What `tracekit slo import` prints is the same objectives."""
    said = before.model_dump(mode="json", exclude_defaults=True)
    assert parse("o.yaml", yaml.safe_dump(said)) == before


@given(objectives())
@settings(max_examples=20)
def test_exports_keep_to_openslo(before: Objectives) -> None:
    """Documents have the fields the specification requires, good and total, and text in sources."""
    for document in yaml.safe_load_all(openslo.dump(before)):
        assert (document["apiVersion"], set(document)) == (
            "openslo/v1",
            {"apiVersion", "kind", "metadata", "spec"},
        )
        if document["kind"] == "SLI":
            ratio = document["spec"]["ratioMetric"]
            assert set(ratio) == {"counter", "good", "total"}
            for side in ("good", "total"):
                source = ratio[side]["metricSource"]
                assert all(isinstance(value, str) for value in source["spec"].values())
        if document["kind"] == "SLO":
            assert len(document["spec"]["timeWindow"]) == len(document["spec"]["objectives"]) == 1


FOREIGN = """apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout, labels: {team: shop}, annotations: {example.com/x: y}}
spec:
  service: shop
  indicator:
    metadata: {name: inline}
    spec:
      ratioMetric:
        counter: false
        good: {metricSource: {type: tracekit, spec: {view: tasks, where: outcome = 'success'}}}
        total: {metricSource: {type: tracekit, spec: {view: tasks, where: agent_name = 'a'}}}
  timeWindow:
    - duration: 4w
      isRolling: true
  budgetingMethod: Timeslices
  objectives:
    - targetPercent: 99.5
      timeSliceTarget: 0.9
      timeSliceWindow: 5
"""


def test_openslo_written_by_others() -> None:
    """Inline indicators, percentages, minutes as numbers and weeks are read; labels passed by."""
    (one,) = parse("o.yaml", FOREIGN).objectives
    assert (one.name, one.target, one.period_s, one.slice_s) == (
        "checkout",
        0.995,
        28 * 86_400,
        300,
    )
    assert one.indicator.where == "agent_name = 'a'"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  service: shop", "  service: shop\n  alertPolicies: [p]", ":6: spec.alertPolicies: "),
        ("openslo/v1", "openslo/v1alpha", ":1: apiVersion: openslo/v1alpha is not read"),
        ("kind: SLO", "kind: AlertPolicy", ":2: kind: kind AlertPolicy is not read: alerts are"),
        ("kind: SLO", "kind: Slo", ":2: kind: kind Slo is not read: known are"),
        ("type: tracekit, spec: {view: tasks, where: outcome", "type: X, spec: {q: outcome",
         "metric sources of type X are not read"),
        ("view: tasks, where: agent", "view: spans, where: agent", "what is counted are tasks"),
        ("        good:", "        bad:", "bad in place of good is not read"),
        ("        counter: false", "        raw: {metricSource: {}}", "stored as a metric"),
        ("4w", "1Q", ":14: spec.timeWindow[1].duration: '1Q' has no fixed length"),
        ("99.5", "120", ":18: spec.objectives[1]"),
        ("isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}", "month"),
        ("outcome = 'success'", "outcom = 'success'", ":11: spec.indicator.spec.ratioMetric.good."),
        ("    - targetPercent: 99.5", "    - target: 0.9\n    - targetPercent: 99.5", "one SLO"),
        ("example.com/x: y", "tracekit/gat: y", "no annotation of tracekit"),
        ("example.com/x: y", "tracekit/gate: '[x'", "is not JSON"),
    ],
)  # fmt: skip
def test_what_of_openslo_is_not_supported_is_named(old: str, new: str, message: str) -> None:
    """The feature, its line and what to write instead."""
    assert old in FOREIGN
    assert any(message in line for line in problems(FOREIGN.replace(old, new)))


def test_an_indicator_of_another_document() -> None:
    """`indicatorRef` finds the SLI of the file, and says which there are."""
    lines = FOREIGN.splitlines()
    ref = "\n".join([*lines[:5], "  indicatorRef: other", *lines[12:]])
    (found,) = problems(ref)
    assert "o.yaml:6: spec.indicatorRef: no SLI 'other' in this file; there are: none" in found
    sli = "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: other}\nspec:\n"
    sli += "\n".join(line[4:] for line in lines[8:12])
    assert parse("o.yaml", f"{sli}\n---\n{ref}").objectives[0].name == "checkout"
    # The lines of a second document are those of the file.
    (wrong,) = problems(f"{ref}\n---\n{sli.replace('agent_name', 'agentname')}")
    assert wrong.startswith("o.yaml:23: spec.ratioMetric.total.metricSource.spec.where: no column")
