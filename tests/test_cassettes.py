"""Every stop value in recorded exchanges with real providers has a meaning."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import golden
import pytest
from cassettes import Exchange, Finding, events, exchanges, read

from tracekit.stops.values import values

if TYPE_CHECKING:
    from pathlib import Path

UNMAPPED = "UNMAPPED"


@pytest.fixture(scope="module")
def findings(shared_data: Path) -> list[Finding]:
    return [
        read(exchange)
        for exchange in exchanges(shared_data / "openllmetry-cassettes" / "originals.tar.gz")
    ]


def error_meaning(names: tuple[str, ...], status: int) -> str:
    """Return the stop code of a refused request: by its most specific name, else by its status."""
    known = (values().error(name, "inference") for name in names)
    return next(filter(None, known), values().http.get(status, UNMAPPED))


def rows(finding: Finding) -> list[tuple[str, ...]]:
    """Return (provider, api, kind, raw, meaning) for each thing a response says about its end."""
    who = (finding.provider, finding.api)
    if finding.none:
        return [(*who, "none", "", finding.none)]
    if finding.error or finding.status >= 400:
        raw = " ".join([str(finding.status), *finding.error])
        return [(*who, "error", raw, error_meaning(finding.error, finding.status))]
    return [
        (*who, "stop", raw, values().stop(finding.provider, raw) or UNMAPPED)
        for raw in finding.stops or ("",)
    ]


def test_every_recorded_stop_value_has_a_meaning(findings: list[Finding]) -> None:
    """Each recorded response has a stop class, an error code, or a reason to have neither."""
    counts = Counter(row for finding in findings for row in rows(finding))
    assert [row for row in counts if UNMAPPED in row] == []
    header = ("provider", "api", "kind", "raw", "meaning", "count")
    golden.check("cassette_stops.tsv", golden.tsv(header, [(*r, n) for r, n in counts.items()]))


def test_recorded_usage_per_api(findings: list[Finding]) -> None:
    """Which APIs report input tokens, and in how many of their responses, is as recorded."""
    answers = Counter(
        (finding.provider, finding.api, "counted" if finding.usage else "absent")
        for finding in findings
        if not finding.none and not finding.error
    )
    header = ("provider", "api", "input_tokens", "responses")
    golden.check("cassette_usage.tsv", golden.tsv(header, [(*r, n) for r, n in answers.items()]))


def exchange(body: bytes, content_type: str = "application/json") -> Exchange:
    return Exchange("POST", "api.openai.com", "/v1/chat/completions", 200, content_type, body)


def test_stream_keeps_the_last_stop_value_of_each_choice() -> None:
    """In a stream of two choices each keeps the last value that is not null, in order of choice."""
    chunk = 'data: {"choices": [{"index": %d, "finish_reason": %s}]}\r\n\r\n'
    chunks = [chunk % (1, '"length"'), chunk % (0, "null"), chunk % (0, '"stop"')]
    body = "".join([*chunks, chunk % (1, "null"), "data: [DONE]\r\n\r\n"]).encode()
    assert read(exchange(body, "text/event-stream")).stops == ("stop", "length")


def test_error_delivered_as_success_is_an_error() -> None:
    """An error object in a response of status 200 is read as an error, code before type."""
    finding = read(exchange(b'{"error": {"type": "invalid_request_error", "code": "bad"}}'))
    assert finding.error == ("bad", "invalid_request_error")


def test_body_of_unknown_form_is_refused() -> None:
    """A body that is neither JSON nor a known stream is an error, not an absent stop value."""
    with pytest.raises(ValueError, match="unknown form"):
        list(events(exchange(b"<html>")))
