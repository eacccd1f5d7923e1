"""Options that several commands share, gathered into one `Question`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracekit.cli.output import FORMATS
from tracekit.lake.lake import Lake
from tracekit.reports.query import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

T = TypeVar("T")

EVERYTHING = Selection()
_ONLY_DATE = len("2026-01-01")


class Moment(click.ParamType[datetime]):
    """A date, or a date and time, in ISO 8601; UTC where it names no zone."""

    name = "date"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(  # noqa: D102 - click calls it
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date like 2026-01-31 or 2026-01-31T12:00", param, ctx)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        # A day that something ends with is over when it is over.
        return moment + timedelta(days=1) if self._end and len(value) <= _ONLY_DATE else moment


@dataclass(frozen=True, slots=True)
class Question:
    """What every command that prints data is told.

    Attributes:
        lake: Folder of the lake.
        output_format: One of `output.FORMATS`.
        selection: Rows to speak of.
        as_of: Moment whose outcomes count; None is now.
    """

    lake: Path
    output_format: str
    selection: Selection = EVERYTHING
    as_of: datetime | None = None

    def opened(self) -> Lake:
        """Return the lake; what is to be told about its inbox goes to standard error, once.

        Raises:
            LakeError: If there is no lake, or none that can be read.
        """
        return Lake.open(self.lake, tell=_once)

    def ask(self, about: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Return the answer of a function that is given a connection with the lake's views.

        Raises:
            LakeError: If there is no lake, or none that can be read.
        """
        as_of_ns = None if self.as_of is None else int(self.as_of.timestamp()) * 1_000_000_000
        return self.opened().read(about, as_of_ns)


@cache
def _once(line: str) -> None:
    """Print a note; several questions of one command may all have it to tell."""
    click.echo(f"Note: {line}", err=True)


lake_option = click.option(
    "--lake",
    type=click.Path(path_type=Path),
    envvar="TRACEKIT_LAKE",
    default=Path(".tracekit"),
    show_default="./.tracekit",
    help="Folder of the lake; also TRACEKIT_LAKE.",
)
format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="For people, or for programs: every column, numbers not rounded.",
)
_SELECTION = (
    click.option("--where", metavar="SQL", help="Only rows for which this expression holds."),
    click.option("--since", type=Moment(), help="Only what started then or later."),
    click.option(
        "--until", type=Moment(end=True), help="Only what started before; a date is included."
    ),
    click.option(
        "--as-of", type=Moment(end=True), help="With the outcomes known then; a date is included."
    ),
)


def question(function: Callable[..., None]) -> Callable[..., None]:
    """Add `--lake` and `--format`, and hand them over as the first argument, a `Question`."""

    @wraps(function)
    def asked(lake: Path, output_format: str, **others: Any) -> None:
        function(Question(lake, output_format), **others)

    return lake_option(format_option(asked))


def selecting_question(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `question`, and `--where`, `--since`, `--until` and `--as-of`."""

    @wraps(function)
    def asked(lake: Path, output_format: str, as_of: datetime | None, **others: Any) -> None:
        chosen = Selection(**{name: others.pop(name) for name in ("where", "since", "until")})
        function(Question(lake, output_format, chosen, as_of), **others)

    command: Callable[..., None] = asked
    for option in reversed((*_SELECTION, lake_option, format_option)):
        command = option(command)
    return command


def by_option(help_text: str, default: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Return the option `--by`, which may be repeated or take a comma list."""
    return click.option(
        "--by",
        multiple=True,
        default=default,
        callback=lambda _ctx, _param, values: tuple(
            word.strip() for value in values for word in value.split(",") if word.strip()
        ),
        metavar="COLUMN",
        help=help_text,
    )
