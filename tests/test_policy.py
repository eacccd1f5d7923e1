"""Policy files: what they may say, and what is said about those that say something else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from samplers import features, policy
from samplers.evaluate import evaluate_table
from samplers.policy_model import Policy
from samplers.predicates import checker
from samplers.terms import Matches
from tracekit.documents import MOST_BYTES, DocumentError
from tracekit.errors import InputError, UsageError
from tracekit.predicates import PredicateError, confined
from tracekit.schema import TABLES, arrow_schema, sql_type

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
CHECKER = checker()

DOCS = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def table(*rows: Mapping[str, object]) -> pa.Table:
    """Return a features table; what a row does not say is null."""
    schema = arrow_schema(features.COLUMNS)
    columns = {name: [row.get(name) for row in rows] for name in schema.names}
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in columns})


def problems(text: str) -> list[str]:
    """Return what is said of a policy, a line each."""
    with pytest.raises(DocumentError) as caught:
        policy.parse("p.yaml", text)
    return caught.value.lines()


def rule(when: str) -> str:
    return f"name: p\nrules:\n  - name: r\n    keep: all\n    when: {yaml.safe_dump(when)}"


def matches(text: str, *rows: Mapping[str, object]) -> list[Matches]:
    parsed = policy.parse("p.yaml", text)
    return [facts.matches[0] for facts in evaluate_table(table(*rows), (parsed,))]


@pytest.mark.parametrize("name", policy.PRESETS)
def test_presets_are_policies(name: str) -> None:
    """Every preset can be loaded, is called as its file, and says what it is for."""
    loaded = policy.load(name)
    assert loaded.name == name
    assert loaded.description
    assert loaded.terms().name == name


def test_presets_are_all_files() -> None:
    """The list of presets is that of the files."""
    files = (ROOT / "samplers" / "presets").glob("*.yaml")
    assert {file.stem for file in files} == set(policy.PRESETS)


FAILED = {"session_id": "a", "stop_outcome": "failure", "stop_category": "tool"}
UNKNOWN = {"session_id": "b", "stop_outcome": "undetermined", "stop_category": "unknown"}
HIT = {"session_id": "c", "hit_retry_storm": True, "hit_premature_done": None}
DEAR = {"session_id": "d", "cost_usd": 9.0, "cohort_cost_median": 2.0, "hit_retry_storm": False}
CLEAN = {"session_id": "e", "cost_usd": 9.0, "stop_outcome": "success", "agent_name": "x"}


def test_the_default_keeps_what_is_odd() -> None:
    """Failures, unknown stops, detector hits and dear sessions match; a clean one does not."""
    facts = evaluate_table(
        table(FAILED, UNKNOWN, HIT, DEAR, CLEAN),
        (policy.load("keep-anomalies"), policy.load("errors-only"), policy.load("keep-all")),
    )
    assert [[found.rules for found in fact.matches] for fact in facts] == [
        [0b00001, 0b001, 0],
        [0b00010, 0b010, 0],
        [0b00100, 0b100, 0],
        [0b10000, 0, 0],
        [0, 0, 0],
    ]
    assert facts[4].matches[0].strata == ("x/-/-",)
    assert [fact.session_id for fact in facts] == ["a", "b", "c", "d", "e"]


def test_nulls_and_failures_do_not_match() -> None:
    """A predicate that is null, or that cannot be evaluated for a value, does not match it."""
    rows: list[dict[str, object]] = [{"stop_raw": "7"}, {"stop_raw": "seven"}, {"stop_raw": None}]
    assert [found.rules for found in matches(rule("stop_raw::INTEGER > 5"), *rows)] == [1, 0, 0]


def test_drop_rules_and_tenants() -> None:
    """Drop rules have bits of their own; tenant and counts come with the facts."""
    text = "name: p\ndrop:\n  - {name: d, when: user_id = 'probe'}\nbaseline: 1"
    (fact,) = evaluate_table(
        table({"session_id": "s", "user_id": "probe", "tenant_id": "acme", "bytes": 7, "spans": 3}),
        (policy.parse("p.yaml", text),),
    )
    assert (fact.tenant, fact.spans, fact.bytes) == ("acme", 3, 7)
    assert fact.matches == (Matches(0, 1, ()),)


WRONG_PREDICATES = (
    ("stop_outcom = 'failure'", "no feature 'stop_outcom'; did you mean stop_outcome"),
    ("hit_retry_strom", "no detector 'retry_strom'; did you mean retry_storm?"),
    ("cost_usd", "it gives DOUBLE, not true or false"),
    ('stop_raw = "length"', "text goes in 'single quotes'"),
    ("weight > 2", "what the sampler decides"),
    ("spans.bytes > 2", "no feature 'spans.bytes'"),
    ("cost_usd > now()", "now() does not always give the same answer"),
    ("random() < 0.5", "random() does not always give the same answer"),
    ("sha256(session_id) > 'f'", "sha256() is not allowed"),
    ("hash(session_id) > 5", "hash() is not allowed"),
    ("lenght(stop_raw) > 2", "no function lenght(); did you mean length"),
    ("count(*) > 1", "count_star() is an aggregate"),
    ("sum(spans) > 1", "sum() is an aggregate"),
    ("row_number() OVER () > 1", "window functions are not allowed"),
    ("EXISTS (SELECT 1)", "subqueries are not allowed"),
    ("spans IN (SELECT 1 FROM read_csv('x.csv'))", "subqueries are not allowed"),
    ("getvariable('x') IS NULL", "getvariable() "),
    ("spans > ?", "parameter expressions are not allowed"),
    ("COLUMNS(*) IS NULL", "stars are not allowed"),
    ("true) OR (true", "it is no SQL expression"),
    ("true FROM features", "it is no SQL expression"),
    ("true, false", "is not allowed"),
    ("true; DROP TABLE features", "it is no SQL expression"),
    ("repeat('x', 1000000000) = 'x'", "repeat() is not allowed"),
    ("spans > > 2", "syntax error"),
)


@pytest.mark.parametrize(("when", "message"), WRONG_PREDICATES)
def test_wrong_predicates(when: str, message: str) -> None:
    """A predicate is one boolean expression over features that always gives the same answer."""
    (line,) = problems(rule(when))
    assert line.startswith("p.yaml:5: rules[1].when: ")
    assert message in line


@pytest.mark.parametrize(
    "when",
    [
        "stop_reason IN ('loop.repeat_call', 'limit.steps') -- a comment",
        "NOT root_seen AND duration_s BETWEEN 5 AND 1e6",
        "CASE WHEN tasks > 1 THEN cost_usd / tasks > 0.5 ELSE FALSE END",
        "list_contains(string_split(stop_contributing, ','), 'provider.overloaded')",
        "agent_name ILIKE 'shop%' OR regexp_matches(model, '^gpt-5')",
        "hour(make_timestamp(start_ns // 1000)) < 6",
        "coalesce(cost_usd, 0) > greatest(1, 2 * cohort_cost_median)",
        "detector_hits >= 2 AND NOT coalesce(hit_stop_mismatch, FALSE)",
        "trigger = 'age' AND bytes > 1048576",
    ],
)
def test_predicates(when: str) -> None:
    """What operators want to say can be said, and is evaluated for any values."""
    (found,) = matches(rule(when), {"session_id": "s"})
    assert found.rules in {0, 1}


@given(st.text(max_size=60))
@example("/*")
def test_any_text_is_checked(when: str) -> None:
    """No text gets past the check and then fails, and none breaks it."""
    try:
        CHECKER.check(when)
    except PredicateError as error:
        said = str(error)
    else:
        (found,) = matches(rule(when), {"session_id": "s"})
        said = str(found.rules)
    assert "\n" not in said


def test_every_problem_has_its_line() -> None:
    """All that is wrong is told at once, in order of lines, with what was perhaps meant."""
    text = """name: shop
baselin: 0.05
rules:
  - name: dear
    when: cost_usd > 5
    probabilty: 0.5
  - name: both
    when: spans > 5
    keep: all
    probability: 0.5
strata:
  - by: [agent_nam]
    flor: 3
    window: 5 fortnights
budgets:
  bytes_per_day: 20 GB
  tenants:
    acme: {spans_per_secnd: 5}
"""
    amounts = "'5 fortnights' is no amount like 30s; units are ms, s, m, h, d"
    tenant = "budgets.tenants.acme.spans_per_secnd: unknown key; did you mean spans_per_second?"
    assert problems(text) == [
        "p.yaml:2: baselin: unknown key; did you mean baseline?",
        "p.yaml:6: rules[1].probabilty: unknown key; did you mean probability?",
        "p.yaml:7: rules[2]: a rule has either `keep: all` or a `probability`",
        "p.yaml:12: strata[1].by: no feature 'agent_nam'; did you mean agent_name?",
        "p.yaml:13: strata[1].flor: unknown key; did you mean floor?",
        f"p.yaml:14: strata[1].window: {amounts}",
        f"p.yaml:18: {tenant}",
    ]


def test_lines_within_a_predicate() -> None:
    """In a block of text the line is that of the mistake, not of the block."""
    text = "name: p\nrules:\n  - name: r\n    keep: all\n    when: |\n      spans > 5\n"
    text += "      OR spanz < 1"
    (line,) = problems(text)
    assert line.startswith("p.yaml:7: rules[1].when: no feature 'spanz'; did you mean spans")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml:1: expected a mapping"),
        ("- 1", "p.yaml:1: expected a mapping"),
        ("name: [", "p.yaml:1: no YAML"),
        ("name: p\nbaseline: 1\nname: q", "p.yaml:3: name: the key is already on line 1"),
        ("name: &x p\ndescription: *x", "aliases"),
        ("name: !!python/name:os.system x", "no YAML"),
        ("name: p\nbaseline: .nan", "p.yaml:2: baseline"),
        ("name: p\nbaseline: 1.5", "p.yaml:2: baseline"),
        ("name: p\n2: 3", "p.yaml:2: "),
        ("name: p\nrules: 3", "p.yaml:2: rules"),
        ("name: p\nrules:\n  - 3", "p.yaml:3: rules[1]"),
        ("name: p\nstrata:\n  - by: [session_id]\n    floor: 1", "its own stratum"),
        ("name: p\nstrata:\n  - by: [model]", "have a `floor`, a `quota`, or both"),
        ("name: p\nstrata:\n  - {by: [model], floor: 5, quota: 2}", "the quota is below the floor"),
        (
            "name: p\nstrata:\n  - {by: [model], floor: 5}\n  - {by: [model], floor: 1}",
            "two strata",
        ),
        ("name: p\ndegrade:\n  - {name: x, above: 2, steps: [{}]}", "exactly one of redact"),
        (
            "name: p\ndegrade:\n  - {name: x, above: 2, steps: [{redact: [a], remove: [b]}]}",
            "exactly one of redact",
        ),
        (
            "name: p\nshadow:\n  - preset: keep-al",
            "p.yaml:3: shadow[1].preset: no preset 'keep-al'",
        ),
        ("name: p\nshadow:\n  - {name: p, baseline: 1}", "two policies are called 'p'"),
        (
            "name: p\nshadow:\n  - name: s\n    drop: [{name: d, when: spanz}]",
            "p.yaml:4: shadow[1].drop",
        ),
        ("name: p\nshadow: 3", "p.yaml:2: shadow"),
        ("name: p #" + "x" * MOST_BYTES, "longer than"),
    ],
)
def test_wrong_files(text: str, message: str) -> None:
    """What is no policy is refused with one line that says why."""
    assert message in "\n".join(problems(text))


@given(st.text(max_size=80))
def test_any_file_can_be_read(text: str) -> None:
    """No text is too odd to be refused in one line."""
    said = ""
    try:
        policy.parse("p.yaml", "name: p\n" + text)
    except DocumentError as error:
        said = str(error)
    assert "\n" not in said


def test_files(tmp_path: Path) -> None:
    """A policy is a preset's name or a path; what is neither is suggested."""
    file = tmp_path / "policy.yaml"
    file.write_text("name: own\nbaseline: 0.5\n", encoding="utf-8")
    assert policy.load(file).baseline == 0.5
    with pytest.raises(UsageError, match="did you mean keep-anomalies"):
        policy.load("keep-anomalie")
    file.write_bytes(b"name: \xff")
    with pytest.raises(InputError, match="UTF-8"):
        policy.load(file)
    with pytest.raises(InputError, match="cannot read"):
        policy.load(tmp_path)


def test_units() -> None:
    """Durations and sizes carry their unit, or are in base units."""
    text = """name: p
strata: [{by: [model], floor: 1, window: 90m}]
budgets: {bytes_per_day: 1.5GiB, per_tenant: {spans_per_second: 3}}
sessions: {root_delay: 500ms, idle: 60, max_bytes: 5MB, interim: 1h}
"""
    parsed = policy.parse("p.yaml", text)
    assert parsed.strata[0].window == 5400
    assert parsed.budgets.bytes_per_day == 1.5 * (1 << 30)
    settings = parsed.sessions
    assert (settings.root_delay, settings.idle, settings.interim) == (0.5, 60, 3600)
    assert settings.max_bytes == 5_000_000
    assert parsed.terms().budgets.of("any")[0][1].amount == 3


def test_shadow_policies() -> None:
    """A shadow is written out or is a preset, and is evaluated in the same statement."""
    text = (
        "name: p\nbaseline: 1\nshadow:\n  - preset: errors-only\n  - {name: tiny, baseline: 0.01}"
    )
    parsed = policy.parse("p.yaml", text)
    assert [judged.name for judged in parsed.judgements()] == ["p", "errors-only", "tiny"]
    (fact,) = evaluate_table(table(FAILED), parsed.judgements())
    assert [found.rules for found in fact.matches] == [0, 1, 0]


def test_the_connection_reaches_nothing(tmp_path: Path) -> None:
    """Where predicates run there are no files and no Python variables, and no way to allow them."""
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n", encoding="utf-8")
    frame = pa.table({"a": [1]})
    assert frame.num_rows == 1
    with confined() as con:
        for attempt in (
            f"FROM read_csv('{secret}')",
            f"COPY (SELECT 1) TO '{secret}'",
            "SET enable_external_access = true",
            "SET lock_configuration = false",
            "FROM frame",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(attempt)


def test_features_of_sessions_and_detections() -> None:
    """Verdicts become true, false or null; what was received joins in; decisions are none."""
    sessions = ", ".join(f"{column.name} {sql_type(column)}" for column in TABLES["sessions"])
    with confined() as con:
        con.execute(f"CREATE TABLE sessions ({sessions})")
        con.execute("INSERT INTO sessions (session_id, spans, kept) VALUES ('a', 3, true)")
        con.execute("CREATE TABLE received AS SELECT 'a' AS session_id, 7 AS bytes, 'idle' trigger")
        con.execute(
            "CREATE TABLE detector_cohorts AS SELECT 'a' AS session_id, "
            "2.5 AS cohort_cost_median, NULL::BIGINT AS cohort_tokens_median"
        )
        con.execute(
            "CREATE TABLE detections AS FROM (VALUES ('a', 'retry_storm', 'hit'), "
            "('a', 'premature_done', 'clear'), ('a', 'stop_mismatch', 'not_evaluable')) "
            "AS t(session_id, detector, verdict)"
        )
        features.create_table(con)
        con.execute(f"INSERT INTO features BY NAME {features.statement(received=True)}")
        found = con.execute(
            "SELECT session_id, spans, bytes, trigger, cohort_cost_median, hit_retry_storm, "
            f"hit_premature_done, hit_stop_mismatch, detector_hits FROM {features.SOURCE}"
        ).fetchall()
    assert found == [("a", 3, 7, "idle", 2.5, True, False, None, 1)]
    assert not features.DECIDED & set(features.NAMES)


def test_examples_of_the_docs() -> None:
    """Every policy in the docs is one."""
    blocks = DOCS.split("```yaml\n")[1:]
    assert blocks
    for block in blocks:
        assert isinstance(policy.parse("docs", block.split("```")[0]), Policy)
