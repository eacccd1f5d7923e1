"""Final-state inspection: what a captured output says about how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracekit import schema
from tracekit.stops import inspect, inspect_table
from tracekit.stops.inspection import MAX_CONTENT
from tracekit.stops.taxonomy import data

MESSAGES: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "stops" / "messages.yaml").read_text("utf-8")
)


@pytest.mark.parametrize(
    "text",
    [
        "It's fine :) see you (maybe",
        "Use `x` and don't forget [the note",
        "```py\nprint('it')\n```\nDone.",
        "~~~\ncode\n~~~",
        "````md\n```py\nx\n```\n````",
        "1. First:\n   ```sh\n   ls\n   ```\n2. Second",
        "- ```sh\n  ls\n  ```",
        "> ```sh\n> ls\n> ```",
        "> ```sh\n> ls\n\nand prose",
        "```markdown\n# Read me\n```sh\nls\n```\n```",
        "    ```\nan indented code block opens no fence",
        "A row of ``` in a line",
        '{"a": [1, 2, "x}"]}',
        '{"a": 1} and a remark',
        "[1] Smith et al. showed that",
        "{name} is a placeholder",
        "```js\nconst r = /[(]/;\n```",
        '{"ok": true}\n{"ok": false}',
    ],
)
def test_complete_outputs_are_complete(text: str) -> None:
    """Prose, closed fences and whole JSON are complete, however odd."""
    assert inspect(text).state == "complete"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Here:\n```yaml\nserver:\n  port:", "unclosed_fence"),
        ("```\na\n``", "unclosed_fence"),
        ("~~~\na\n```", "unclosed_fence"),
        ("````\na\n```", "unclosed_fence"),
        ('{"a": [1, 2', "unclosed_bracket"),
        ('{"a": "b', "unclosed_bracket"),
        ('[{"a": 1}, {"a": 2', "unclosed_bracket"),
        ("```python\nf(a,\n  b\n```", "unclosed_bracket"),
        ('{"a": 1,}', "invalid_json"),
        ("", "empty"),
        (" \n\t", "empty"),
    ],
)
def test_cut_outputs_are_recognised(text: str, state: str) -> None:
    """An output that ends inside something says inside what."""
    assert inspect(text).state == state


@pytest.mark.parametrize("message", MESSAGES, ids=[message["shape"] for message in MESSAGES])
def test_message_shapes_are_understood(message: dict[str, Any]) -> None:
    """Messages of the providers and frameworks say the same things in different shapes."""
    found = inspect(json.dumps(message["document"]))
    assert (found.state, found.pending_calls) == (message["state"], message["pending"])


def test_plain_text_does_not_say_which_calls_are_pending() -> None:
    """The calls of a plain text are recorded elsewhere: unknown, not none."""
    assert inspect("Hello.").pending_calls is None


@pytest.mark.parametrize(
    "content",
    [
        '[{"role": "assistant", "parts": [{"type": "text", "con',
        '{"choices": [{"message": {"role": "assist',
        "Some text ...[truncated]",
        "x" * (MAX_CONTENT + 1),
    ],
)
def test_what_an_exporter_cut_is_not_judged(content: str) -> None:
    """Message JSON that breaks off, a truncation mark, or too much text: nothing can be said."""
    assert inspect(content) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("Your order has been cancelled.", True),
        ("I've fixed the bug.", True),
        ("All 42 tests pass.", True),
        ("I successfully updated the address.", True),
        ("The reservation is now complete!", True),
        ("Done.", True),
        ("Your order has not been cancelled.", False),
        ("I could not fix the bug.", False),
        ("Once your order has been cancelled, you get a refund.", False),
        ("Has your order been cancelled?", False),
        ("If all tests pass, merge it.", False),
        ("Unfortunately the refund failed.", False),
        ("What is your user id?", False),
    ],
)
def test_a_claim_of_success_is_read_conservatively(text: str, claims: bool) -> None:
    """A sentence claims success unless it negates, asks, conditions or intends."""
    assert inspect(text).claims_success is claims


CODE = st.characters(codec="ascii", exclude_characters="`~>", categories=["L", "N", "P", "Zs"])
LINES = st.lists(st.text(CODE, max_size=20), max_size=6)


@given(
    before=st.sampled_from(["", "Here you are:\n", "It's (nearly) done :-(\n\n"]),
    marker=st.integers(3, 6).flatmap(lambda n: st.sampled_from(["`" * n, "~" * n])),
    language=st.sampled_from(["yaml", "text", "sh"]),
    lines=LINES,
    data=st.data(),
)
def test_a_fenced_artefact_is_complete_and_its_prefixes_are_not(
    before: str, marker: str, language: str, lines: list[str], data: st.DataObject
) -> None:
    """A closed fence is complete; cut anywhere inside, it is not."""
    opening = f"{before}{marker}{language}\n"
    body = "".join(f"{line}\n" for line in lines)
    assert inspect(f"{opening}{body}{marker}").state == "complete"
    cut = data.draw(st.integers(0, len(body)))
    assert inspect(opening + body[:cut]).state == "unclosed_fence"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text(max_size=5), JSON, min_size=1), st.data())
def test_json_is_complete_and_its_prefixes_are_not(
    document: dict[str, Any], data: st.DataObject
) -> None:
    """JSON text is complete; a proper prefix that begins it is not."""
    text = json.dumps({"a": document})
    assert inspect(text).state == "complete"
    cut = data.draw(st.integers(len('{"a'), len(text) - 1))
    assert inspect(text[:cut]).state == "unclosed_bracket"


@given(st.text(max_size=300))
def test_any_text_is_inspected(text: str) -> None:
    """Inspection answers for every text."""
    inspect(text)


def scanned(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema.arrow_schema(schema.scanned_columns()))


def test_every_output_of_a_model_call_is_inspected() -> None:
    """Calls get a state, unless they have one; tools and spans of no model do not; content goes."""
    call = {"trace_id": "a", "request_model": "gpt-4o", "output_content": "Hello."}
    rows: list[dict[str, Any]] = [
        *({**call, "span_id": str(n), "start_ns": n, "end_ns": n + 1} for n in range(4)),
        {**call, "span_id": "4", "start_ns": 4, "output_state": "empty"},
        {**call, "span_id": "5", "start_ns": 5, "tool_name": "f"},
        {**call, "span_id": "6", "start_ns": 6, "request_model": None},
    ]
    table = inspect_table(scanned(rows))
    assert table["output_state"].to_pylist() == [*["complete"] * 4, "empty", None, None]
    assert {"output_content", "tool_schema"}.isdisjoint(table.column_names)
    assert table.schema.field("output_state").type == pa.dictionary(pa.int32(), pa.string())


def test_inspection_does_not_depend_on_how_spans_are_grouped() -> None:
    """A span is filled the same whether its trace comes at once, in parts or backwards."""
    texts = ["```yaml\na:", "Done.", '{"a": [', "", "Hello."]
    rows: list[dict[str, Any]] = [
        {
            "trace_id": "a",
            "span_id": str(n),
            "start_ns": n,
            "request_model": "m",
            "output_content": text,
        }
        for n, text in enumerate(texts)
    ]
    filled = ["span_id", "output_state", "pending_calls", "claims_success"]
    at_once = inspect_table(scanned(rows)).select(filled).to_pylist()
    backwards = inspect_table(scanned(rows[::-1])).select(filled).to_pylist()
    one_by_one = [inspect_table(scanned([row])).select(filled).to_pylist()[0] for row in rows]
    assert at_once == backwards[::-1] == one_by_one
    assert at_once[0]["output_state"] == "unclosed_fence"


@given(st.sampled_from(data("claims.yaml")["claims"]).flatmap(st.from_regex))
def test_no_claim_is_lost_to_the_check_that_comes_first(text: str) -> None:
    """Whatever matches a claim holds one of the words without which nothing is searched."""
    assert any(word in text.lower() for word in data("claims.yaml")["words"])


def test_a_table_without_content_only_loses_the_content_columns() -> None:
    """Nothing captured, nothing inspected."""
    table = inspect_table(scanned([{"trace_id": "a", "span_id": "1", "start_ns": 1}]))
    assert table["output_state"].to_pylist() == [None]
    assert inspect_table(scanned([])).num_rows == 0
