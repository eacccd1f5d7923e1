"""Task success where the lake has kept sessions only, each of which stands for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_build import ledger, task

from tracekit.reports.cost import cost
from tracekit.reports.query import Selection
from tracekit.reports.stops import categories, codes, matrix, stops
from tracekit.reports.success import report
from tracekit.stats.intervals import wilson
from tracekit.stats.samples import hajek, sums, total
from tracekit.stats.weighted import ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from tracekit.reports.table import Row, Table


def kept(*groups: tuple[int, str | None, float]) -> list[dict[str, object]]:
    """Return one task per session from (sessions, outcome, weight), each of 0.5 USD."""
    return [
        task(f"{outcome}-{weight}-{n}", outcome=outcome, weight=weight, cost_usd=0.5 + n % 3)
        for count, outcome, weight in groups
        for n in range(count)
    ]


def only_row(con: duckdb.DuckDBPyConnection) -> Row:
    (row,) = report(con).rows
    return row


SAMPLE = kept((40, "failure", 1.0), (3, "failure", 20.0), (57, "success", 20.0), (10, None, 20.0))


def test_kept_sessions_speak_for_the_dropped_ones() -> None:
    """Detected failures all kept, others 1 in 20: 1,140 of 1,240 succeed, not 57 of 100."""
    row = only_row(ledger(SAMPLE))
    assert row["success_rate"] == pytest.approx(1140 / 1240)
    assert (row["tasks"], row["stands_for_tasks"]) == (110, 1440)
    assert (row["undetermined"], row["covered_share"]) == (200, 1)
    assert row["success_if_rest_failed"] == pytest.approx(1140 / 1440)


def test_figures_are_those_of_the_library() -> None:
    """The query's sums give what the rows themselves give: rate, cost per success, total cost."""
    row = only_row(ledger(SAMPLE))
    decided = [one for one in SAMPLE if one["outcome_given"]]
    good = [one["outcome_given"] == "success" for one in decided]
    expected = hajek(good, [1 / float(str(one["weight"])) for one in decided])
    assert [row["success_low"], row["success_high"]] == pytest.approx([expected.low, expected.high])

    p = [1 / float(str(one["weight"])) for one in SAMPLE]
    cost = [float(str(one["cost_usd"])) for one in SAMPLE]
    success = [one["outcome_given"] == "success" for one in SAMPLE]
    per_success = ratio(sums(cost, success, p))
    assert row["cost_per_success_usd"] == pytest.approx(per_success.value)
    assert row["cost_per_success_high_usd"] == pytest.approx(per_success.high)
    assert row["cost_usd"] == pytest.approx(total(cost, p).value)
    assert row["cost_low_usd"] == pytest.approx(total(cost, p).low, rel=0.05)
    assert row["cost_high_usd"] == pytest.approx(total(cost, p).high, rel=0.05)


def test_unknown_weights_are_counted_apart() -> None:
    """A session kept with a probability nobody knows is in no estimate; a note says how many."""
    unknown = kept((7, "failure", 1.0))
    rows = [
        *SAMPLE,
        *({**one, "session_id": f"u{n}", "weight": None} for n, one in enumerate(unknown)),
    ]
    table = report(ledger(rows))
    (row,) = table.rows
    assert row["success_rate"] == pytest.approx(1140 / 1240)
    assert row["unknown_weight_tasks"] == 7
    assert row["covered_share"] == pytest.approx(110 / 117)
    assert any("7 of 117 tasks are left out" in note for note in table.notes)


def test_nothing_but_unknown_weights_gives_no_rate() -> None:
    """Without a single weight there is no estimate, and the interval excludes nothing."""
    row = only_row(ledger([task("a", outcome="success", weight=None)]))
    assert (row["success_rate"], row["success_low"], row["success_high"]) == (None, 0, 1)
    assert (row["cost_usd"], row["cost_per_success_usd"]) == (None, None)


def test_where_the_dropped_sessions_are_there_each_counts_once() -> None:
    """A ledger with every session needs no weights."""
    rows = [task("a", outcome="success", weight=20.0), task("b", outcome="failure", kept=False)]
    row = only_row(ledger(rows))
    assert row["success_rate"] == 0.5
    assert "stands_for_tasks" not in row


@pytest.mark.parametrize("table", [stops, codes, categories, cost])
def test_figures_that_are_not_weighted_say_so(
    table: Callable[[duckdb.DuckDBPyConnection], Table],
) -> None:
    """Counts of kept sessions are not taken for counts of all; a whole ledger needs no word."""
    assert "kept sessions only" in " ".join(table(ledger(SAMPLE)).notes)
    assert "kept sessions only" not in " ".join(table(ledger([task("a")])).notes)


def test_the_matrix_of_stops_says_so_however_narrow() -> None:
    """The note stays where there is no room for faults."""
    assert "kept sessions only" in " ".join(matrix(stops(ledger(SAMPLE)), width=60).notes)


def test_a_selection_of_weight_1_has_its_plain_interval() -> None:
    """Selected sessions that stand for themselves alone give Wilson's interval."""
    con = ledger(SAMPLE)
    where = "session_id IN (SELECT session_id FROM sessions WHERE weight = 1)"
    (row,) = report(con, selection=Selection(where)).rows
    expected = wilson(0, 40)
    assert (row["success_low"], row["success_high"]) == (expected.low, expected.high)


def test_tasks_of_a_session_are_one_observation() -> None:
    """Ten tasks of one session weigh as one: the interval is that of 20 sessions, not 200 tasks."""
    rows = [
        task(f"s{n}", task_id=str(k), outcome="success" if n % 2 else "failure", weight=20.0)
        for n in range(20)
        for k in range(10)
    ]
    sessions = [task(f"s{n}", weight=20.0, tasks=10) for n in range(20)]
    row = only_row(ledger(rows, sessions))
    single = hajek([n % 2 for n in range(20)], 0.05)
    low, high = row["success_low"], row["success_high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert high - low == pytest.approx(single.high - single.low, rel=0.05)


def test_groups_are_estimated_each_by_itself() -> None:
    """`--by` gives the weighted rate of each value, the largest by weight first."""
    light = [{**one, "agent_name": "light"} for one in kept((30, "failure", 1.0))]
    heavy = [
        {**one, "agent_name": "heavy"} for one in kept((9, "success", 20.0), (1, "failure", 20.0))
    ]
    table = report(ledger([*light, *heavy]), ["agent"])
    assert [(row["agent_name"], row["success_rate"]) for row in table.rows] == [
        ("heavy", pytest.approx(0.9)),
        ("light", 0.0),
    ]


def test_waste_that_was_not_seen_has_no_upper_end() -> None:
    """No waste in the sample: the share is 0 there, and nothing bounds that of the others."""
    rows = [{**one, "wasted_cost_usd": 0.0} for one in SAMPLE]
    row = only_row(ledger(rows))
    assert (row["wasted_share"], row["wasted_low"], row["wasted_high"]) == (0, 0, None)


@pytest.mark.parametrize("sampled", [True, False])
def test_every_column_has_its_value(*, sampled: bool) -> None:
    """Each row has what the columns name, and nothing else."""
    table = report(ledger(SAMPLE if sampled else [task("a")]))
    assert {column.name for column in table.columns} == set(table.rows[0])
