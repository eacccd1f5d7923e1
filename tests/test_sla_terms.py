"""Provider terms as data: what ships, what a mistake is called, what a failed call is to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledger_build import attempt, failed, ledger

from tracekit.documents import DocumentError
from tracekit.errors import UsageError
from tracekit.sla import conditions, reading
from tracekit.sla.relations import prepare
from tracekit.sla.terms import Terms

if TYPE_CHECKING:
    from pathlib import Path

CONTRACT = """
schema: tracekit/sla/v1
id: contract-1
provider: openai
source: {url: "contract 1", retrieved: 2026-11, confidence: contract}
availability:
  objective: 0.999
  method: occurrences
"""


def contract(more: str = "") -> Terms:
    """Return terms that state everything; `more` adds lines."""
    return reading.parse("contract.yaml", CONTRACT + more)


def problems(text: str) -> list[str]:
    with pytest.raises(DocumentError) as told:
        reading.parse("mine.yaml", text)
    return told.value.lines()


def test_shipped_terms_say_where_they_are_from() -> None:
    """Each of the shipped products is there with source, date and what its facts rest on."""
    found = reading.shipped()
    assert {terms.provider for terms in found.values()} == {
        "anthropic",
        "aws.bedrock",
        "azure.ai.openai",
        "gcp.gemini",
        "gcp.vertex_ai",
        "mistral_ai",
        "openai",
    }
    for terms in found.values():
        assert terms.source.url
        assert terms.source.retrieved.startswith("2026-11")
        assert terms.note or terms.rate_limit_note
        assert terms.availability is None or terms.lacks("availability")


def test_what_is_from_memory_is_told_from_what_was_read() -> None:
    """The error definition of Bedrock counts as not stated, its objective as stated."""
    bedrock = reading.shipped()["aws-bedrock-2023-10"]
    assert bedrock.confidence("availability") == "memory"
    assert bedrock.confidence("credits") == "third_party"
    assert "availability.counted_errors" in bedrock.lacks("availability")
    assert "availability.objective" not in bedrock.lacks("availability")
    assert bedrock.lacks("credits") == []


def test_the_template_is_terms_and_explains_every_field() -> None:
    """The file to start from passes the check, and names all there is."""
    text = reading.template()
    terms = reading.parse("template", text)
    assert terms.source.confidence == "contract"
    for name in Terms.model_fields:
        assert f"{'schema' if name == 'schema_' else name}:" in text


@pytest.mark.parametrize(
    ("wrong", "line", "words"),
    [
        (("0.999", "99.9"), 7, "a number above 0 and at most 1 (promised availability, a share"),
        (("occurrences", "incidents"), 8, "'incidents' is not allowed: write 'occurrences', 'tim"),
        (("  method", "  methd"), 8, "no terms have a field of this name; did you mean method?"),
        (("2026-11,", "soon,"), 5, "'soon' is not allowed (when it was read: a day 2026-11-30, o"),
        (("contract}", "hearsay}"), 5, "'hearsay' is not allowed: write 'primary', 'contract', "),
        (("contract-1", "Contract 1"), 3, "'Contract 1' is not allowed (name of the terms, with"),
        (("provider: openai\n", ""), 2, "provider: the field is missing (provider, as gen_ai.prov"),
        (("tracekit/sla/v1", "v2"), 2, "'v2' is not allowed: write 'tracekit/sla/v1'"),
        (("occurrences", "occurrences\n  slice_seconds: 90"), 9, "write whole minutes, as 60 or"),
        (
            ("occurrences", "downtime_minutes\n  slice_seconds: 300"),
            9,
            "with the method downtime_minutes a slice is a minute",
        ),
        (
            ("occurrences", "occurrences\n  counted_errors: {http: [5xx]}"),
            9,
            "counted_errors.http[1]: expected an HTTP status such as 503, or a range 500-599",
        ),
        (
            ("occurrences", "occurrences\n  period: {timezone: Berlin}"),
            9,
            "'Berlin' is no time zone such as UTC or America/Los_Angeles",
        ),
        (
            ("occurrences", "occurrences\nunknown: [availability.metod]"),
            9,
            "no field 'availability.metod'; did you mean availability.method or",
        ),
        (
            ("occurrences", "occurrences\neffective: {from: 2026-02-01, to: 2026-01-01}"),
            9,
            "effective: the terms end before they begin",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_is_allowed(
    wrong: tuple[str, str], line: int, words: str
) -> None:
    """Whoever wrote the contract down can find the line and put it right."""
    (told,) = problems(CONTRACT.replace(*wrong))
    assert told.startswith(f"mine.yaml:{line}: ")
    assert words in told


def test_all_mistakes_are_told_at_once() -> None:
    """Two wrong lines are two problems, in their order."""
    lines = problems(CONTRACT.replace("0.999", "2").replace("2026-11", "now"))
    assert [line.split(":")[1] for line in lines] == ["5", "7"]


def test_terms_are_named_by_id_or_file(tmp_path: Path) -> None:
    """A file is read; a name that is neither says which is close."""
    path = tmp_path / "mine.yaml"
    path.write_text(CONTRACT, encoding="utf-8")
    assert reading.load(path) == contract()
    assert reading.load("azure-openai-2026-11").provider == "azure.ai.openai"
    with pytest.raises(UsageError, match="did you mean azure-openai-2026-11"):
        reading.load("azure-openai")


CALLS = {
    "fine": attempt("s", 1),
    "http 500": failed("s", 2),
    "http 503": failed("s", 3, "provider.overloaded", 503),
    "http 429": failed("s", 4, "provider.rate_limited", 429),
    "our timeout": failed("s", 5, "provider.timeout", None, duration_s=60.0),
    "cut": failed("s", 6, "truncated.stream_cut", 200, error_type="RemoteProtocolError"),
    "cancelled": failed("s", 7, "cancelled.caller", None),
    "hasty": failed("s", 8, attempt=2, retry_wait_s=0.2),
    "patient": failed("s", 9, attempt=2, retry_wait_s=1.5),
    "preview": failed("s", 10, model="gpt-6-preview"),
    "slow": attempt("s", 11, duration_s=90.0),
}


def classes(terms: Terms, maintenance: conditions.Windows = ()) -> dict[str, str]:
    """Return what each of the calls is to the terms."""
    con = ledger(attempts=CALLS.values())
    prepare(con)
    found = con.execute(
        f"SELECT span_id, {conditions.in_class(terms, maintenance)} FROM sla_attempts"
    )
    by_span = dict(found.fetchall())
    return {name: by_span[call["span_id"]] for name, call in CALLS.items()}


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ("", {}),
        ("  counted_errors: {http: [500]}", {"http 503": "uncounted"}),
        ("  counted_errors: {http: [500-599], stream_cut: true}", {"cut": "counted"}),
        (
            "  counted_errors: {http: [500-599], provider_codes: [RemoteProtocolError]}",
            {"cut": "counted"},
        ),
        (
            "  counted_errors: {http: [500-599], timeout_ms: 30000}",
            {"our timeout": "counted", "slow": "counted"},
        ),
        ("  excluded: {http: [400-499]}", {"http 429": "excluded"}),
        ("  excluded: {over_quota: true}", {"http 429": "excluded"}),
        ("  excluded: {preview_models: true}", {"preview": "excluded"}),
        ("  excluded: {without_backoff: {min_s: 1, max_s: 32}}", {"hasty": "excluded"}),
        # Left out is left out, also what would count.
        (
            "  excluded: {http: [500]}",
            dict.fromkeys(["http 500", "hasty", "patient", "preview"], "excluded"),
        ),
        ("  excluded: {maintenance: true}", {}),
    ],
)
def test_what_a_call_is_to_the_terms(more: str, differs: dict[str, str]) -> None:
    """Each term moves just the calls it speaks of; by default the statuses from 500 count."""
    plain = {
        "fine": "good",
        "http 500": "counted",
        "http 503": "counted",
        "http 429": "uncounted",
        "our timeout": "uncounted",
        "cut": "uncounted",
        "cancelled": "excluded",
        "hasty": "counted",
        "patient": "counted",
        "preview": "counted",
        "slow": "good",
    }
    assert classes(contract(more)) == plain | differs


def test_announced_maintenance_is_left_out_where_the_terms_say_so() -> None:
    """Calls within it are neither good nor bad, failed or not."""
    first, second = CALLS["fine"]["start_ns"], CALLS["http 503"]["start_ns"]
    found = classes(contract("  excluded: {maintenance: true}"), [(first, second)])
    assert [name for name, what in found.items() if what == "excluded"] == [
        "fine",
        "http 500",
        "cancelled",
    ]
    assert classes(contract(), [(first, second)])["http 500"] == "counted"


def test_what_counts_is_unstated_where_the_source_does_not_say() -> None:
    """No guess is made: a failure is neither counted nor uncounted."""
    found = classes(contract("unknown: [availability.counted_errors]"))
    assert set(found.values()) == {"good", "unstated", "excluded"}
    assert found["http 500"] == "unstated"


@pytest.mark.parametrize(
    ("more", "call", "expected"),
    [
        ("", {}, True),
        ("", {"provider": "anthropic"}, False),
        ("scope: {models: [gpt-4.1, 'gpt-4.1-20*']}", {"model": "gpt-4.1-2025-04-14"}, True),
        ("scope: {models: [gpt-4.1, 'gpt-4.1-20*']}", {"model": "gpt-4.1-mini"}, False),
        ("scope: {regions: ['eu-*']}", {"region": "eu-west-1"}, True),
        ("scope: {regions: ['eu-*']}", {"region": None}, None),
        ("scope: {regions: ['eu-*']}", {"region": None, "provider": "anthropic"}, False),
        ("scope: {endpoints: [api.example.com]}", {"server_address": "other.example.com"}, False),
        ("scope: {service_tier_served: [priority]}", {"service_tier": "priority"}, True),
        (
            "scope: {service_tier_served: [priority]}",
            {"service_tier": "default", "service_tier_requested": "priority"},
            False,
        ),
        (
            "scope: {service_tier_served: [priority]}",
            {"service_tier": None, "service_tier_requested": "priority"},
            True,
        ),
        ("scope: {service_tier_served: [priority]}", {}, None),
        ("effective: {from: 2026-01-01, to: 2026-01-01}", {}, True),
        ("effective: {from: 2026-01-02}", {}, False),
        ("effective: {to: 2025-12-31}", {}, False),
    ],
)
def test_whom_the_terms_speak_of(more: str, call: dict[str, Any], expected: bool | None) -> None:
    """A call is in scope, out of it, or does not say (None)."""
    con = ledger(attempts=[attempt("s", **call)])
    prepare(con)
    found = con.execute(f"SELECT {conditions.in_scope(contract(more))} FROM sla_attempts")
    assert found.fetchone() == (expected,)


def test_names_cannot_leave_their_quotes() -> None:
    """A quote in a pattern is a character of it."""
    con = ledger(attempts=[attempt("s", model="it's")])
    prepare(con)
    scope = conditions.in_scope(contract('scope: {models: ["it\'s"]}'))
    assert con.execute(f"SELECT {scope} FROM sla_attempts").fetchone() == (True,)
