"""Fingerprints of arguments: the same for equal ones, in every process, whatever is among them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from traced import recorded

import tracekit
from tracekit.instrumentation.fingerprints import LIMIT, canonical, value_fingerprint
from tracekit.instrumentation.runtime import counts

KEY = 7
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=4), inside),
    max_leaves=12,
)


class Connection:
    """Something of the host's, with its address in its text."""


class Point(NamedTuple):
    """A tuple with names."""

    x: int


@dataclass
class Query:
    """Plain data that holds something of the host's."""

    text: str
    connection: Connection


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.50"), "1.50"),
        (PurePosixPath("a/b"), "a/b"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(seconds=1), "0:00:01"),
        (Point(1), [1]),
        (deque([1]), [1]),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (int, "builtins.int"),
    ],
)
def test_values_with_a_text_form(value: object, text: object) -> None:
    """Decimals, paths, times, ids and containers of every kind are compared by what they hold."""
    assert orjson.loads(canonical({"a": [value]}) or b"") == {"a": [text]}
    mixed = canonical({"a": [value], "c": Connection()})
    assert orjson.loads(mixed or b"")["a"] == [text]


def test_objects_among_them() -> None:
    """Of an object of the host's own the type is compared, without its address, and all else is."""
    first, again, other = (
        value_fingerprint({"c": Connection(), "q": Query(text, Connection()), "s": {text}}, KEY)
        for text in ("a", "a", "b")
    )
    assert first == again != other
    assert b"0x" not in (canonical({"c": Connection(), "n": 1}) or b"")


@pytest.mark.parametrize("odd", [2**70, "\ud800", {(1, 2): 3}, {"\ud800": 1}, {Connection(): 1}])
def test_what_json_cannot_write(odd: object) -> None:
    """Large numbers, lone surrogates and odd keys do not take the rest with them."""
    one, two = (value_fingerprint({"odd": odd, "n": n}, KEY) for n in (1, 2))
    assert None not in {one, two}
    assert one != two


def test_a_value_within_itself() -> None:
    """A value that holds itself has a fingerprint too."""
    value: list[Any] = [1]
    value.extend([value, value])
    assert value_fingerprint({"a": value}, KEY) is not None


@given(JSON)
def test_beside_an_object_values_stay_what_they_are(value: object) -> None:
    """What is plain is written beside an object just as it is without one."""
    written = orjson.loads(canonical({"a": [value], "c": Connection(), "n": 1}) or b"")
    assert written["a"] == [value]


def test_counted_where_nothing_can_be_compared() -> None:
    """A call with nothing but such objects has no fingerprint, and is counted; others are not."""

    @tracekit.tool
    def use(connection: Connection, limit: int | None = None) -> int:
        del connection
        return limit or 0

    with recorded() as spans:
        use(Connection())
        assert counts() == {"tracekit.drop.arguments_not_fingerprinted": 1}
        use(Connection(), 3)
        use(Connection(), limit=3)
    assert counts() == {"tracekit.drop.arguments_not_fingerprinted": 1}
    none, first, again = spans.values("execute_tool use", "tracekit.tool.arguments_hash")
    assert none is None
    assert first == again is not None


@pytest.mark.parametrize("place", [lambda text: text, lambda text: {"m": [{"content": text}]}])
@pytest.mark.parametrize("kind", [str, bytes])
def test_large_values(place: Any, kind: Any) -> None:
    """Of more than a megabyte the beginning and the length are compared."""

    def of(text: str) -> int | None:
        value = text if kind is str else text.encode()
        return value_fingerprint(place(value), KEY)

    long = "a" * (2 * LIMIT)
    assert of(long) == of(long) is not None
    assert of(long) != of(long + "a")
    assert of(long) != of("b" + long[1:])
    assert of(long) == of(long[:-1] + "b")


def test_large_values_in_any_order() -> None:
    """Of large arguments in another order the same is compared."""
    texts = {name: name * LIMIT for name in "ab"}
    turned = dict(reversed(texts.items()))
    assert value_fingerprint(texts, KEY) == value_fingerprint(turned, KEY) is not None


@pytest.mark.parametrize("value", [[0.5] * 2_000_000, {"a": ["abcd" * 250] * 2_000}])
def test_large_containers(value: Any) -> None:
    """Many small values are cut like one that is large."""
    before = value_fingerprint(value, KEY)
    inside = value if isinstance(value, list) else value["a"]
    inside.append("a")
    assert before != value_fingerprint(value, KEY) is not None
