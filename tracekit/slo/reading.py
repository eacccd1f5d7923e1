"""Reading files of objectives, and OpenSLO in their place; every mistake is told with its line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracekit.checking import check
from tracekit.documents import Document, DocumentError, Problem, place
from tracekit.errors import InputError, UsageError
from tracekit.predicates import Checker, PredicateError, Subject, unknown
from tracekit.reports.columns import columns
from tracekit.slo import openslo
from tracekit.slo.objectives import Objective, Objectives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    Lines = Callable[[str, int], tuple[int, str]]

_TYPES: Final = {
    "symbol": "VARCHAR",
    "text": "VARCHAR",
    "int": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
}
_JUDGED: Final = ("good", "bad")


def load(source: str | Path) -> Objectives:
    """Return the objectives of a file: this project's form, or OpenSLO.

    Raises:
        UsageError: There is no such file.
        DocumentError: The file is wrong; with every problem and its line.
    """
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no file of objectives {str(source)!r}; docs/slo.md shows one") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the file is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: cannot read the file: {error.strerror}") from error
    return parse(str(source), text)


def parse(name: str, text: str) -> Objectives:
    """Return the objectives of a text.

    Args:
        name: What the file is called in messages.
        text: Its content.

    Raises:
        DocumentError: As in `load`.
    """
    if openslo.is_openslo(text):
        found = openslo.parse(name, text)
        problems = [
            Problem(*found.at(number, key, line), message)
            for number, objective in enumerate(found.objectives.objectives)
            for key, line, message in _wrong_predicates(objective)
        ]
        objectives = found.objectives
    else:
        document = Document(name, text)
        objectives = check(Objectives, document.value, document, lambda _: None)
        problems = []
        for number, objective in enumerate(objectives.objectives):
            for key, line, message in _wrong_predicates(objective):
                path = ("objectives", number, "indicator", key)
                problems.append(Problem(document.line(path, text_line=line), place(path), message))
    if problems:
        raise DocumentError(name, problems)
    return objectives


def _wrong_predicates(objective: Objective) -> Iterator[tuple[str, int, str]]:
    """Yield the key, the line within it and what is wrong with each predicate that is."""
    indicator = objective.indicator
    for key, predicate in indicator.predicates().items():
        try:
            names = _names(predicate)
        except PredicateError as error:
            yield key, error.line, str(error)
            continue
        if indicator.truth != "proxy" and key in _JUDGED and "outcome" not in names:
            yield (
                key,
                0,
                (
                    f"`truth: {indicator.truth}` is about `outcome`, and this asks something else: "
                    "that is `truth: proxy`"
                ),
            )


@cache
def _names(predicate: str) -> frozenset[str]:
    """Return the columns of a predicate; files say the same few again and again."""
    return _checker().check(predicate)


@cache
def _checker() -> Checker:
    kinds = {str(row["column"]): _TYPES[str(row["kind"])] for row in columns("tasks").rows}

    def create(con: duckdb.DuckDBPyConnection) -> None:
        declared = ", ".join(f'"{name}" {kind}' for name, kind in kinds.items())
        con.execute(f"CREATE TABLE tasks ({declared})")

    def said(name: str) -> str:
        close = unknown(name, kinds) or "; `tracekit schema tasks` lists the columns"
        return f"no column {name!r}{close}"

    return Checker(Subject("task", create, "tasks", frozenset(kinds), said))
