"""Redaction of captured content: what is taken out, what stays, and that it fails closed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traced import recorded

import tracekit
from tracekit.errors import UsageError
from tracekit.instrumentation.runtime import counts, reset_counts

redact = tracekit.Redaction()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail bob.smith@example.co.uk now", "mail [redacted:email] now"),
        ("use sk-ant-api03-abcdefghijklmnop1234", "use [redacted:anthropic_key]"),
        ("use sk-proj-abcdefghijklmnopqrstuvwx", "use [redacted:openai_key]"),
        ("AIza" + "a" * 35, "[redacted:google_key]"),
        ("AKIAABCDEFGHIJKLMNOP", "[redacted:aws_key]"),
        ("ghp_" + "a" * 36, "[redacted:github_token]"),
        ("glpat-" + "a" * 20, "[redacted:gitlab_token]"),
        ("xoxb-1234567890-abc", "[redacted:slack_token]"),
        ("sk_live_" + "a" * 24, "[redacted:stripe_key]"),
        ("hf_" + "a" * 34, "[redacted:huggingface_token]"),
        ("gsk_" + "a" * 40, "[redacted:provider_key]"),
        ("Authorization: Bearer abc123def456", "Authorization: [redacted:bearer_token]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted:authorization]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc", "[redacted:jwt]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nx",
            "[redacted:private_key]\nx",
        ),
        ("-----BEGIN PRIVATE KEY-----\ncut", "[redacted:private_key]"),
        ("postgres://app:pw@db/x", "postgres://[redacted:url_password]@db/x"),
        ("card 4111 1111 1111 1111.", "card [redacted:credit_card]."),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [redacted:iban]"),
        ("call +49 170 1234567", "call [redacted:phone]"),
        ("call (555) 123-4567", "call [redacted:phone]"),
        ("SSN 123-45-6789", "SSN [redacted:ssn]"),
        ("password=hunter2; next", "password=[redacted:password]; next"),
        ("DB_PASSWORD: 'a b'", "DB_PASSWORD: '[redacted:password]'"),
        ("psql --db-password hunter2 -h db", "psql --db-password [redacted:password] -h db"),
        ("x -token 'a b' y", "x -token '[redacted:token]' y"),
        ('["--password=hunter2"]', '["--password=[redacted:password]"]'),
        ('["--password","hunter2","-v"]', '["--password","[redacted:password]","-v"]'),
        ('["user","bob","PIN",1234]', '["user","bob","PIN","[redacted:pin]"]'),
        ('[["Authorization","x"]]', '[["Authorization","[redacted:authorization]"]]'),
        ('{"password": "cut sho', '{"password": "[redacted:password]"'),
    ],
)
def test_taken_out(text: str, expected: str) -> None:
    """Keys, tokens, identities and named secrets are replaced by what they are."""
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a basic understanding of bearer securities",
        "4111 1111 1111 1112",  # no check digit
        "order 1234567890123",
        "2026-11-20 10:00:00",
        "192.168.100.200",
        "version 10.20.30",
        "max_tokens: 5, input tokens: 7",
        "shipping: fast",
        "use --token-count 5 or --token -v",
        "a non-secret thing",
        '["--token", "-v", "x"]',
        '["My password", "is long"]',
        '{"name": "max_tokens", "value": 5}',
        '{"name": "password", "value": null, "content": "x"}',
        "DE00 3704 0044 0532 0130 00",
        "1767225600000000000",
        '{"max_tokens": 5, "a": 1.50, "b": [true, null]}',
    ],
)
def test_left_alone(text: str) -> None:
    """What only looks alike stays as it is written."""
    assert redact(text) == text


def test_fields_of_json() -> None:
    """Values of secret fields go at any depth, whatever the spelling, also in JSON within JSON."""
    content = {
        "dbPassword": "x",
        "deep": [{"x-api-key": {"a": 1}}, {"Access_Token": 5}],
        "arguments": json.dumps({"client_secret": "y", "q": "a@b.de"}),
        "token": None,
        "secret": True,
        "card": 4111111111111111,
        "a@b.de": 1,
        "text": "fine",
    }

    assert json.loads(redact(json.dumps(content))) == {
        "dbPassword": "[redacted:password]",
        "deep": [
            {"x-api-key": "[redacted:api_key]"},
            {"Access_Token": "[redacted:token]"},
        ],
        "arguments": '{"client_secret":"[redacted:secret]","q":"[redacted:email]"}',
        "token": None,
        "secret": True,
        "card": "[redacted:credit_card]",
        "[redacted:email]": 1,
        "text": "fine",
    }


@pytest.mark.parametrize("name", ["name", "Key", "header"])
@pytest.mark.parametrize("secret", ["hunter2", 5, ["hunter2"], {"a": "hunter2"}])
def test_pairs_of_name_and_value(name: str, secret: object) -> None:
    """A field that is told by its name and value is taken out as any other."""
    content = [{name: "DB_PASSWORD", "value": secret}, {name: "shell", "value": "sh"}]
    assert json.loads(redact(json.dumps(content))) == [
        {name: "DB_PASSWORD", "value": "[redacted:password]"},
        {name: "shell", "value": "sh"},
    ]


def test_own_patterns_keys_and_callback() -> None:
    """An application adds its own patterns and fields; its callback has the last word."""
    own = tracekit.Redaction(
        {"order": r"\bO-\d+"}, keys=["patient name"], callback=lambda text: text.upper()
    )

    assert own("order O-77 of a@b.de") == "ORDER [REDACTED:ORDER] OF [REDACTED:EMAIL]"
    assert "[REDACTED:PATIENT_NAME]" in own('{"patientName": "Bob"}')


def test_leaving_out() -> None:
    """What is listed can be left out."""
    less = tracekit.Redaction(without=["email", "token"])

    assert less('{"token": "a@b.de"}') == '{"token": "a@b.de"}'


def test_mistakes() -> None:
    """A pattern that is none, and a name that is not listed, are told in one line."""
    with pytest.raises(UsageError, match="'broken' is no regular expression"):
        tracekit.Redaction({"broken": "("})
    with pytest.raises(UsageError, match="e-mail"):
        tracekit.Redaction(without=["e-mail"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 1000) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.lists(st.sampled_from(["a", "b"]), max_size=5),
)
def test_never_left_in(value: object, path: list[str]) -> None:
    """However deep it stands, and whatever stands beside it, a password is not written."""
    content: object = {"password": "hunter2!", "beside": value}
    for key in path:
        content = {key: content, "beside": [value]}

    assert "hunter2!" not in redact(json.dumps(content))
    assert "hunter2!" not in redact(json.dumps(json.dumps(content)))


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text can be redacted, and what was redacted stays so."""
    once = redact(text)
    assert redact(once) == once


def test_applied_to_what_is_written() -> None:
    """Arguments, results and messages are redacted before they are on a span."""
    with recorded(capture_content=True, redact=redact) as spans:

        @tracekit.tool
        def lookup(mail: str, password: str) -> str:
            return f"{mail} found" if password else ""

        lookup("a@b.de", password="hunter2")  # noqa: S106 - it is to be redacted
        with tracekit.llm("m") as call:
            call.input([{"role": "user", "content": "I am a@b.de"}])
            call.output("Hello a@b.de")

    written = str([dict(span.attributes or {}) for span in spans.all()])
    assert "a@b.de" not in written
    assert "hunter2" not in written
    assert spans.values("execute_tool lookup", "gen_ai.tool.call.result") == [
        "[redacted:email] found"
    ]


CIRCLE: dict[str, object] = {"text": "\ud800"}
CIRCLE |= {"a": CIRCLE, "b": CIRCLE}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (b"password=hunter2", "password=[redacted:password]"),
        ({"file": b"mail a@b.de"}, '{"file":"mail [redacted:email]"}'),
        ({"file": bytearray(b"\xff\x00")}, '{"file":"[bytes:2]"}'),
        ([{"by": "bob", "at": object()}], '[{"at":"[object:object]","by":"bob"}]'),
        (object(), '"[object:object]"'),
        ({("a", 1): 2**80, b"k": "x"}, '{"[\\"a\\",1]":"1208925819614629174706176","k":"x"}'),
        ({"cut": "a\ud800"}, '{"cut":"a?"}'),
    ],
)
def test_written_as_text(result: object, expected: str) -> None:
    """Bytes are written as the text they are, and what is no data is named: nothing is hidden."""
    with (
        recorded(capture_content=True, redact=redact) as spans,
        tracekit.tool("lookup") as step,
    ):
        step.result(result)
    assert spans.values("execute_tool lookup", "gen_ai.tool.call.result") == [expected]


def test_values_that_hold_themselves() -> None:
    """A value that holds itself is written to some depth, however often it does."""
    with recorded(capture_content=True) as spans, tracekit.tool("lookup") as step:
        step.result(CIRCLE)
    (written,) = spans.values("execute_tool lookup", "gen_ai.tool.call.result")
    assert written is None
    assert counts() == {"tracekit.drop.content_too_large": 1}
    reset_counts()


def test_fails_closed() -> None:
    """Content that cannot be redacted is not written; the span and the host are as they were."""

    def broken(_: str) -> str:
        raise KeyError("x")

    with recorded(capture_content=True, redact=tracekit.Redaction(callback=broken)) as spans:
        for _ in range(12):
            with tracekit.tool("lookup", arguments={"a": 1}) as step:
                step.result("b")
        lost = counts()
        spans_written = spans.named("execute_tool lookup")
        assert lost.pop("tracekit.drop.internal_error") == 10
        assert lost == {"tracekit.drop.content_not_redacted": 14}
        reset_counts()

    assert len(spans_written) == 12
    assert spans.values("execute_tool lookup", "gen_ai.tool.call.arguments") == [None] * 12
    assert None not in spans.values("execute_tool lookup", "tracekit.tool.arguments_hash")
