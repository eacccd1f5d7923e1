"""An attribute's value becomes what its column holds, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import values

from tracekit.dialects.coerce import coerce, spread_list
from tracekit.dialects.unpack import MAX_JSON, MAX_PYTHON, Form, unpack
from tracekit.otlp.fingerprint import fingerprint
from tracekit.schema import Kind

BEYOND = 2**63


@pytest.mark.parametrize("kind", [Kind.SYMBOL, Kind.TEXT])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("stop", "stop"),
        ("", None),
        (7, "7"),
        (0.5, "0.5"),
        (True, "true"),
        (["stop", "length"], "stop,length"),
        (["a", 1, False, 2.5], "a,1,false,2.5"),
        (["a", None, ["b"], {"c": "d"}, b"e"], "a"),
        ([], None),
        ([None], None),
        ({"a": 1}, None),
        (b"bytes", None),
        (None, None),
    ],
)
def test_text_is_a_string_a_scalar_or_scalars_joined(
    kind: Kind, value: Any, expected: str | None
) -> None:
    """Texts take strings, scalars as text and arrays of them; an empty text is no value."""
    assert coerce(kind, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        (["a", "b"], "a,b"),
        ({"role": "user", "é": [1, None]}, '{"role":"user","é":[1,null]}'),
        ([{"role": "user"}, b"\x01"], '[{"role":"user"},"01"]'),
    ],
)
def test_content_keeps_structure_and_emptiness(value: Any, expected: str) -> None:
    """Captured content may be empty, and what is structured becomes JSON."""
    assert coerce(Kind.CONTENT, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, 12),
        (12.0, 12),
        ("12", 12),
        ("-9223372036854775808", -BEYOND),
        (12.5, None),
        ("12.0", None),
        (" 12", None),
        ("٣", None),
        (BEYOND, None),
        (str(BEYOND), None),
        (1e300, None),
        (float("nan"), None),
        (True, None),
        ([1], None),
    ],
)
def test_int_takes_whole_numbers_that_fit(value: Any, expected: int | None) -> None:
    """Integers are ints, whole doubles and decimal strings within 64 bits; never booleans."""
    assert coerce(Kind.INT, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.25, 0.25),
        (3, 3.0),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("nan", None),
        ("1e999", None),
        (float("inf"), None),
        (10**400, None),
        ("1" * 65, None),
        ("0x10", None),
        (False, None),
    ],
)
def test_double_takes_finite_numbers(value: Any, expected: float | None) -> None:
    """Doubles are finite numbers and numeric strings; never booleans."""
    assert coerce(Kind.DOUBLE, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("false", False), ("True", True), (1, None), ("yes", None), ("", None)],
)
def test_bool_takes_booleans_and_their_names(value: Any, expected: bool | None) -> None:
    """Booleans are booleans and the words true and false in any case."""
    assert coerce(Kind.BOOL, value) is expected


def test_hash_is_the_fingerprint_of_text_bytes_or_structure() -> None:
    """Text, bytes and the JSON of a map are hashed; an int is a fingerprint already."""
    assert coerce(Kind.HASH, "é", key=5) == fingerprint("é".encode(), 5)
    assert coerce(Kind.HASH, b"\xff", key=5) == fingerprint(b"\xff", 5)
    assert coerce(Kind.HASH, -12) == -12
    assert coerce(Kind.HASH, {"q": ["é"]}) == fingerprint('{"q":["é"]}'.encode())
    assert [coerce(Kind.HASH, value) for value in (True, 1.5, None)] == [None] * 3


def test_scale_changes_the_unit_of_a_double_only() -> None:
    """Milliseconds become seconds where the column is a double."""
    assert coerce(Kind.DOUBLE, 1500, scale=0.001) == 1.5
    assert coerce(Kind.INT, 1500, scale=0.001) == 1500


def test_half_a_surrogate_pair_is_replaced() -> None:
    """A text that JSON can spell but UTF-8 cannot hold does not break the columns."""
    text = unpack('{"a": "x\\ud800"}', "json", "a")
    assert coerce(Kind.TEXT, text) == "x?"
    assert coerce(Kind.HASH, text) == fingerprint(b"x?")


@given(values, st.sampled_from(Kind))
def test_any_value_of_the_wire_is_read_or_ignored(value: Any, kind: Kind) -> None:
    """Whatever comes, the result is None or of the column's Python type."""
    types = {Kind.INT: int, Kind.HASH: int, Kind.DOUBLE: float, Kind.BOOL: bool}
    result = coerce(kind, value)
    assert result is None or type(result) is types.get(kind, str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stop", "stop"),
        ('["stop"]', "stop"),
        ('["stop", "length"]', "stop,length"),
        ("['stop']", "stop"),
        ("[]", None),
        ("[stop]", "[stop]"),
        ("[", "["),
    ],
)
def test_array_in_a_text_is_joined(text: str, expected: str | None) -> None:
    """An array written as JSON or as a Python literal is read; what is none stays as it is."""
    assert spread_list(text) == expected


def test_packed_values_over_the_cap_are_ignored() -> None:
    """Neither a long JSON text nor a long Python literal is parsed."""
    caps: dict[Form, int] = {"json": MAX_JSON, "python": MAX_PYTHON}
    for form, cap in caps.items():
        fits = '{"a": 1, "b": "' + "x" * (cap - 17) + '"}'
        assert len(fits) == cap
        assert unpack(fits, form, "a") == 1
        assert unpack(fits.replace("x", "xx", 1), form, "a") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 1000, "{" * 1000, "nope", "__import__('os')", "1" * 5000, "{[]: 1}"]
)
def test_broken_packed_values_are_ignored(text: str) -> None:
    """Text that is not of its form gives no field, and runs nothing."""
    assert unpack(text, "json", "a") is None
    assert unpack(text, "python", "a") is None


def test_whole_packed_value_without_its_quotes_is_taken_as_written() -> None:
    """Where the whole document is wanted, a text that is no JSON is the value; null is none."""
    assert unpack('"LLM"', "json", "") == "LLM"
    assert unpack("LLM", "json", "") == "LLM"
    assert unpack("null", "json", "") is None
