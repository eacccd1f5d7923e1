"""`tracekit report`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table as RichTable
from rich.text import Text

from tracekit.cli import options, terminal
from tracekit.cli.output import emit
from tracekit.reports import stops, success
from tracekit.reports.figures import MISSING, percent, usd
from tracekit.reports.table import Table, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.reports.table import Row

_TOP = 8
"""Stop codes below the figures."""


@click.command("report")
@options.by_option("Group by a column of `tasks`, or day, week, month; repeatable.")
@options.selecting_question
def command(question: options.Question, by: tuple[str, ...]) -> None:
    """Task success with its interval, cost per success and waste.

    Success is successes / (successes + failures); tasks nobody can vouch for are undetermined and
    stand beside it.

    \b
    tracekit report
    tracekit report --by agent_name --by model
    tracekit report --by week --where "environment = 'production'"
    """
    table = question.ask(lambda con: success.report(con, by, question.selection))
    if question.output_format != "table" or by:
        emit(table, question.output_format)
    elif _is_estimated(table.rows[0]):
        show(table)  # stop codes are counted, and counts of kept tasks are no shares of all
    else:
        show(table, question.ask(lambda con: stops.codes(con, question.selection)))


def show(table: Table, codes: Table | None = None) -> None:
    """Print the figures over all selected tasks, and the most frequent stops."""
    out = terminal.console()
    terminal.title(out, table.title)
    (row,) = table.rows
    if not row["tasks"]:
        out.print("no tasks selected", style="dim")
        return
    out.print(_card(row))
    out.print()
    notes = table.notes
    if codes is not None:
        shown = Table(codes.title, codes.columns, codes.rows[:_TOP], notes=_more(codes))
        out.print(terminal.grid(shown, out.width))
        notes = (*shown.notes, *notes)
    for note in notes:
        out.print(Text(note, style="dim"))


def _is_estimated(row: Row) -> bool:
    return "stands_for_tasks" in row


def _more(codes: Table) -> tuple[str, ...]:
    more = len(codes.rows) - _TOP
    return (f"{more} more codes: `tracekit stops` lists them.",) if more > 0 else ()


def _card(row: Row) -> RichTable:
    card = RichTable.grid(padding=(0, 2, 0, 0))
    for style, justify in (("dim", "left"), ("bold", "right"), ("", "left")):
        card.add_column(style=style, justify=justify, no_wrap=style != "")  # type: ignore[arg-type]
    for label, value, remark in _lines(row):
        card.add_row(label, value, remark)
    return card


def _lines(row: Row) -> Iterator[tuple[str, str, str]]:
    bound = bool(row["unpriced_calls"])
    yield ("success", percent(row["success_rate"]), _success(row))
    yield ("undetermined", _count(row, "undetermined"), _undetermined(row))
    yield ("decided by", "", _evidence(row))
    yield ("cost", usd(row["cost_usd"], bound=bound), _cost(row))
    yield ("per success", usd(row["cost_per_success_usd"], bound=bound), _per_success(row))
    yield ("wasted", percent(row["wasted_share"]), _wasted(row))
    first, last = str(row["first_start"])[:10], str(row["last_start"])[:10]
    days = first if first == last else f"{first} to {last}"
    yield ("sessions", _count(row, "sessions"), f"{days}{_stand_for(row)}")


def _success(row: Row) -> str:
    interval = f"95 % interval {_range(row, 'success_low', 'success_high')}"
    counted = f"{_count(row, 'successes')} of {_decided(row)} decided tasks"
    note = f"; {row['success_note']}" if row.get("success_note") else ""
    return f"{interval}; {counted}{note}"


def _undetermined(row: Row) -> str:
    low, high = row["success_if_rest_failed"], row["success_if_rest_succeeded"]
    tasks = _count(row, "stands_for_tasks" if _is_estimated(row) else "tasks")
    return (
        f"of {tasks} tasks; success is {percent(low)} if all of them failed, "
        f"{percent(high)} if all succeeded"
    )


def _decided(row: Row) -> str:
    decided = sum(row[name] or 0 for name in ("successes", "failures"))  # type: ignore[misc]
    return _counted(decided)


def _count(row: Row, name: str) -> str:
    return _counted(row[name])


def _counted(value: Value) -> str:
    """Return a count, or an estimate of one, which is a float and said to be some."""
    return f"some {value:,.0f}" if isinstance(value, float) else f"{value:,}"


def _range(row: Row, low: str, high: str) -> str:
    return f"{_number(row[low])}{MISSING}{_number(row[high])} %"


def _number(share: Value) -> str:
    return f"{share:.1%}".removesuffix("%") if isinstance(share, float) else "?"


def _evidence(row: Row) -> str:
    words = ("verified", "declared", "inferred")
    return ", ".join(f"{_count(row, word)} {word}" for word in words if row[word]) or "nothing"


def _cost(row: Row) -> str:
    parts = [
        *([_interval_usd(row, "cost_low_usd", "cost_high_usd")] if _is_estimated(row) else []),
        *(
            [f"{_count(row, 'unpriced_calls')} calls have no price"]
            if row["unpriced_calls"]
            else []
        ),
    ]
    return "; ".join(part for part in parts if part)


def _interval_usd(row: Row, low: str, high: str) -> str:
    if row[low] is None or not row[high]:
        return ""
    return f"95 % interval {usd(row[low]).removesuffix(' USD')}{MISSING}{usd(row[high])}"


def _wasted(row: Row) -> str:
    amount = f"of the cost: {usd(row['wasted_cost_usd'])}"
    if row.get("wasted_high") is None:
        return amount
    return f"{amount}; 95 % interval {_range(row, 'wasted_low', 'wasted_high')}"


def _stand_for(row: Row) -> str:
    if not _is_estimated(row):
        return ""
    known = _counted(int(row["tasks"] or 0) - int(row["unknown_weight_tasks"] or 0))  # type: ignore[arg-type]
    return f"; {known} tasks kept stand for {_count(row, 'stands_for_tasks')}"


def _per_success(row: Row) -> str:
    if row["cost_per_success_usd"] is None:
        return ""
    interval = _interval_usd(row, "cost_per_success_low_usd", "cost_per_success_high_usd")
    if not row["undetermined"]:
        return interval
    rest = usd(row["cost_per_success_if_rest_succeeded_usd"])
    return f"{interval}; {rest} if all undetermined succeeded".removeprefix("; ")
