"""The list of sessions: words of the address to a condition, sessions to a page."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from tracekit import detectors
from tracekit.errors import UsageError
from tracekit.pages.listing import listing
from tracekit.pages.render import page
from tracekit.reports import query
from tracekit.reports.browse import Found, Wanted, browse
from tracekit.reports.sessions import Order

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from tracekit.pages.ui.state import State

PER_PAGE: Final = 50
SORTS: Final = {
    "started_at": "started",
    "cost_usd": "cost",
    "wasted_cost_usd": "wasted",
    "duration_s": "duration",
    "llm_calls": "LLM calls",
    "tool_errors": "tool errors",
    "stop_reason": "stop",
}
"""Columns the list can be sorted by, and their words."""
OUTCOMES: Final = ("success", "failure", "undetermined")


@dataclass(frozen=True, slots=True)
class Filters:
    """What the form asks for; every field as it was typed.

    Attributes:
        stop: Beginning of a stop code.
        outcome: One of `OUTCOMES`.
        detector: Name of a detector that hits.
        least: Least cost, USD.
        most: Highest cost, USD.
        where: SQL expression over `sessions`.
        sort: One of `SORTS`.
        order: desc or asc.
        page: Number of the page, from 1.
    """

    stop: str = ""
    outcome: str = ""
    detector: str = ""
    least: str = ""
    most: str = ""
    where: str = ""
    sort: str = "started_at"
    order: str = "desc"
    page: str = "1"

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Filters:
        """Return the filters of an address' query; unknown words are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: text.strip() for name, text in words.items() if name in known})

    def address(self, **changed: str) -> str:
        """Return the address of the list with some filters changed."""
        other = replace(self, **changed)
        default = Filters()
        words = {
            field.name: getattr(other, field.name)
            for field in fields(self)
            if getattr(other, field.name) != getattr(default, field.name)
        }
        return f"/?{urlencode(words)}" if words else "/"

    def wanted(self) -> Wanted:
        """Return the sessions that are meant.

        Raises:
            UsageError: If a field cannot be read.
        """
        number = _number(self.page, "page")
        stored = [
            *([f"starts_with(stop_reason, {query.literal(self.stop)})"] if self.stop else []),
            *([f"cost_usd >= {_number(self.least, 'cost from')}"] if self.least else []),
            *([f"cost_usd <= {_number(self.most, 'cost to')}"] if self.most else []),
        ]
        if self.sort not in SORTS:
            raise UsageError(f"cannot sort by {self.sort!r}; there are: {', '.join(SORTS)}")
        return Wanted(
            stored=tuple(stored),
            outcome=self.outcome or None,
            detector=self.detector or None,
            where=self.where or None,
            order=Order(self.sort, descending=self.order != "asc", limit=PER_PAGE),
            offset=(max(1, int(number)) - 1) * PER_PAGE,
        )


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{what}: {text!r} is no number") from None
    if not 0 <= number < 1e12:  # noqa: PLR2004 - neither NaN nor infinity is SQL
        raise UsageError(f"{what}: {text} is out of range")
    return number


def show(state: State, words: Mapping[str, str]) -> tuple[int, str]:
    """Return the status and the page of the list.

    A mistake in the filters is told on the page, above the form that has it.

    Args:
        state: The lake.
        words: The address' query.
    """
    filters = Filters.of(words)
    try:
        wanted = filters.wanted()
    except UsageError as error:
        return 400, _page(state, filters, state.ask(stop_codes), None, str(error))
    baselines = state.baselines() if wanted.detector else None

    def ask(con: duckdb.DuckDBPyConnection) -> tuple[list[str], Found | UsageError]:
        codes = stop_codes(con)
        try:
            return codes, browse(con, wanted, baselines)
        except UsageError as error:
            return codes, error

    codes, found = state.ask(ask)
    if isinstance(found, UsageError):
        return 400, _page(state, filters, codes, None, str(found).removeprefix("--where: "))
    return 200, _page(state, filters, codes, found, "")


def session_address(session_id: str) -> str:
    """Return the address of a session's page."""
    return f"/session/{quote(session_id, safe='')}"


def _page(
    state: State, filters: Filters, codes: list[str], found: Found | None, mistake: str
) -> str:
    number = int(float(filters.page)) if filters.page.isdecimal() else 1
    table = None
    if found is not None:
        table = listing(
            found.table,
            link=lambda row: session_address(str(row["session_id"])),
            without=("outcome_source", "tool_calls"),
            title="",
        )
    return page(
        "sessions.html",
        lake=str(state.lake.path),
        filters=filters,
        mistake=mistake,
        found=found,
        count=_count(found),
        listing=table,
        stops=codes,
        detectors=list(detectors.load().detectors),
        outcomes=OUTCOMES,
        sorts=SORTS,
        before=filters.address(page=str(number - 1)) if number > 1 else "",
        after=filters.address(page=str(number + 1)) if found and found.more else "",
        number=number,
    )


def _count(found: Found | None) -> str:
    if found is None:
        return ""
    if found.total is not None:
        return f"{found.total:,} session{'s' if found.total != 1 else ''}"
    return ""


def stop_codes(con: duckdb.DuckDBPyConnection) -> list[str]:
    """Return the stop codes that occur, and their categories, in order."""
    rows = query.fetch(con, "SELECT DISTINCT stop_reason AS code FROM files.sessions")
    codes = {str(row["code"]) for row in rows if row["code"]}
    return sorted(codes | {f"{code.partition('.')[0]}." for code in codes})
