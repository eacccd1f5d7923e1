"""What the SLA questions have in common: their SQL files, the relations they read, intervals."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from tracekit.reports import query
from tracekit.sla.causes import causes
from tracekit.stats.intervals import Estimate, clopper_pearson
from tracekit.stats.weighted import RatioSums
from tracekit.stats.weighted import rate as weighted_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from tracekit.reports.query import Grouping

Basis = Literal["ledger", "estimate"]
"""ledger: every session counts once; estimate: only sampled sessions are there, with weights."""


class Ledger(NamedTuple):
    """What the lake holds of the sessions there were.

    Attributes:
        basis: Whether all of them.
        largest: How many sessions the one of the largest weight stands for.
    """

    basis: Basis
    largest: float = 1.0


FAR_NS = 2**62
"""Later than any attempt: a bound that bounds nothing."""


@cache
def sql(name: str) -> str:
    """Return an SQL file of this package, without its comments: they name what is filled in."""
    text = resources.files("tracekit.sla").joinpath(f"{name}.sql").read_text("utf-8")
    return re.sub(r"^\s*--.*\n", "", text, flags=re.MULTILINE)


def prepare(con: duckdb.DuckDBPyConnection) -> Ledger:
    """Make the views the questions read, and say whether they hold every session.

    Args:
        con: Connection with the lake's views.
    """
    (sampled,) = query.fetch(con, sql("sampled"))
    ledger = Ledger("estimate", sampled["largest"]) if sampled["it"] else Ledger("ledger")
    if query.fetch(con, sql("is_prepared")):
        return ledger
    join = "JOIN sessions AS s ON s.session_id = a.session_id" if sampled["it"] else ""
    weight = "s.weight" if sampled["it"] else "1"
    con.execute(sql("relations").format(weight=weight, sessions=join))
    rows = causes().codes
    con.register("sla_causes_import", pa.table({"code": [*rows], "cause": [*rows.values()]}))
    con.execute("CREATE OR REPLACE TEMP TABLE sla_causes AS FROM sla_causes_import")
    con.unregister("sla_causes_import")
    con.execute(sql("failed"))
    return ledger


def grouping(
    con: duckdb.DuckDBPyConnection, by: Sequence[str], where: str | None
) -> tuple[Grouping, str]:
    """Return what to group by, and the condition, both over the columns of tasks.

    Raises:
        UsageError: A word or the condition names what is no column.
    """
    query.check_where(con, "tasks", where)
    keys = query.grouping(con, "tasks", by)
    con.execute(sql("calls_of_tasks" if by or where else "calls"))
    return keys, f"(\n{where}\n)" if where else "TRUE"


def rate(bad: tuple[float, float], total: tuple[float, float], ledger: Ledger) -> Estimate:
    """Return the share that was good, with its 95 % interval.

    Clopper and Pearson's where every session is there, as for any statement about a contract; for
    a sample the interval of weighted observations.

    Args:
        bad: How many were bad, and the sum of their squared weights.
        total: The same of all.
        ledger: What the numbers are of.
    """
    good = total[0] - bad[0], total[1] - bad[1]
    if ledger.basis == "ledger":
        return clopper_pearson(good[0], total[0])
    sums = RatioSums(
        n=round(total[0]),
        y=good[0],
        x=total[0],
        yy=good[1],
        xy=good[1],
        xx=total[1],
        largest=ledger.largest,
    )
    return weighted_rate(sums)


def number(value: Any) -> float:
    """Return a sum as a number; that of nothing is 0."""
    return float(value or 0)


def whole(value: float) -> float | int:
    """Return a number of things as an int where it is one; sums of weights need not be."""
    return int(value) if float(value).is_integer() else value
