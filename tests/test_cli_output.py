"""How tables are printed: for people, as JSON, as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tracekit.cli import output, terminal
from tracekit.cli.waterfall import waterfall
from tracekit.reports import figures
from tracekit.reports.table import ColumnSpec, Kind, Table

if TYPE_CHECKING:
    from tracekit.reports.table import Row, Value

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
COLUMNS = (
    ColumnSpec("name"),
    ColumnSpec("cost_usd", Kind.USD, bound="unpriced"),
    ColumnSpec("unpriced", Kind.COUNT, hidden=True),
    ColumnSpec("rate", Kind.SHARE, ends=("low", "high")),
    ColumnSpec("low", Kind.SHARE, hidden=True),
    ColumnSpec("high", Kind.SHARE, hidden=True),
    ColumnSpec("extra", Kind.COUNT, rank=1),
)


def row(name: str = "a", cost: float | None = 0.5, unpriced: int = 0) -> dict[str, Value]:
    return {
        "name": name,
        "cost_usd": cost,
        "unpriced": unpriced,
        "rate": 0.985,
        "low": 0.9754,
        "high": 0.9909,
        "extra": 123_456,
    }


def printed(table: Table, width: int) -> list[str]:
    out = Console(width=width, file=io.StringIO(), color_system=None)
    out.print(terminal.grid(table, width))
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_a_table_shows_units_intervals_and_bounds() -> None:
    """Shares are percent with their interval beside them, and ≥ marks a lower bound."""
    text = "\n".join(printed(Table("t", COLUMNS, (row(unpriced=2),)), 80))
    assert "≥ 0.5000" in text
    assert f"98.5  97.5{figures.MISSING}99.1" in text
    assert "USD" in text
    assert "unpriced" not in text


@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(48, 120))
def test_a_table_fits_its_width(names: list[str], width: int) -> None:
    """No line is longer than the terminal, whatever characters the values hold."""
    lines = printed(Table("t", COLUMNS, tuple(row(name) for name in names)), width)
    assert max(cell_len(line) for line in lines) <= width


def test_a_terminal_does_not_obey_what_is_in_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and reversed text in telemetry neither colour, move nor rewrite a thing."""
    evil = "a\x1b[2J\x1b]0;title\x07\x9b31m\u202eb"
    terminal.show(Table("Session " + evil, COLUMNS, (row(evil),), notes=(evil,)))
    printed = capsys.readouterr().out
    assert "a[2J]0;title31mb" in printed
    assert {c for c in printed if not c.isprintable()} == {"\n"}


def test_a_narrow_terminal_leaves_out_the_least_column_first() -> None:
    """Columns with a rank go before texts are shortened; the others stay."""
    table = Table("t", COLUMNS, (row("x" * 30),))
    assert "123,456" in "\n".join(printed(table, 80))
    narrow = "\n".join(printed(table, 50))
    assert "123,456" not in narrow
    assert "98.5" in narrow
    assert "…" in narrow


def test_unknown_is_a_dash_and_nothing_is_zero() -> None:
    """An unknown cost is never shown as 0."""
    assert figures.figure(None, Kind.USD, 2) == figures.MISSING
    assert figures.figure(0.0, Kind.USD, 2) == "0"
    assert figures.usd(None) == "unknown"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0004, "0 ms"), (0.85, "850 ms"), (12.34, "12.3 s"), (250, "4.2 min"), (9000, "2.5 h")],
)
def test_durations_have_the_unit_that_reads_best(seconds: float, expected: str) -> None:
    """A duration alone is short."""
    assert figures.duration(seconds) == expected


@given(
    st.lists(
        st.fixed_dictionaries(
            {"a": TEXT | st.none(), "b": st.integers() | st.floats() | st.booleans() | st.none()}
        ),
        max_size=4,
    )
)
def test_json_parses_back(rows: list[Row]) -> None:
    """JSON is an array of objects with stable keys; what JSON cannot say is null."""
    table = Table("t", (ColumnSpec("a"), ColumnSpec("b")), tuple(rows))
    parsed = json.loads("".join(output.json_lines(table)))
    assert [list(record) for record in parsed] == [["a", "b"]] * len(rows)
    for record, given_row in zip(parsed, rows, strict=True):
        value = given_row["b"]
        finite = not isinstance(value, float) or abs(value) < float("inf")
        assert record["a"] == given_row["a"]
        assert record["b"] == (value if finite else None)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=4))
def test_csv_parses_back(values: list[str]) -> None:
    """CSV survives quotes, commas and line ends in values, and ends lines with CRLF."""
    columns = (ColumnSpec("a"), ColumnSpec("b"))
    table = Table("t", columns, tuple({"a": value, "b": 1} for value in values))
    text = "".join(output.csv_lines(table))
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["a", "b"],
        *([value, "1"] for value in values),
    ]
    assert text.endswith("\r\n")


def step(branch: str = "", at: float = 0.0, duration: float | None = 1.0) -> dict[str, Value]:
    names = ("subject", "input_tokens", "output_tokens", "cost_usd", "error_type", "http_status")
    others = ("stop_raw", "stop_framework_raw", "approval_status", "waste_reason", "status")
    return dict.fromkeys([*names, *others]) | {
        "branch": branch,
        "name": "a step",
        "operation": "llm",
        "billable": True,
        "at_s": at,
        "duration_s": duration,
    }


@given(
    st.lists(
        st.builds(
            step,
            st.text("│├└ ", max_size=30),
            st.floats(0, 1e4),
            st.none() | st.floats(0, 1e4),
        ),
        max_size=8,
    ),
    st.integers(70, 160),
)
def test_a_waterfall_fits_its_width(steps: list[Row], width: int) -> None:
    """However deep and long, lines end at the edge and bars stay on the axis."""
    assert all(cell_len(line.plain) <= width for line in waterfall(steps, width))


def test_a_step_without_end_has_an_open_bar() -> None:
    """A span that never ended runs to the edge as a dotted line, and has no duration."""
    line = list(waterfall([step(duration=4.0), step(at=1.0, duration=None)], 80))[-1].plain
    assert "┄" in line
    assert figures.MISSING in line


def test_a_step_without_price_has_a_question_mark() -> None:
    """A billable step whose cost is unknown shows ?, not 0."""
    assert " ? " in list(waterfall([step(), step() | {"stop_raw": "stop"}], 80))[-1].plain
