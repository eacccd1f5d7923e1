"""Reading terms: the shipped ones and a user's own, with every mistake in words and its line."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from tracekit.checking import did_you_mean, known_keys, models_in
from tracekit.documents import Document, DocumentError, Problem, place
from tracekit.errors import InputError, UsageError
from tracekit.sla.terms import Availability, Latency, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    Way = tuple[str | int, ...]

TEMPLATE: Final = "template"
"""The file beside the shipped terms that explains every field; no terms of anybody."""

_MINUTE: Final = 60


@cache
def shipped() -> dict[str, Terms]:
    """Return the terms that come along, by id, in alphabetical order."""
    folder = resources.files("tracekit.sla").joinpath("terms")
    names = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir())
    found = [
        parse(name, folder.joinpath(f"{name}.yaml").read_text("utf-8"))
        for name in names
        if name != TEMPLATE
    ]
    return {terms.id: terms for terms in found}


def template() -> str:
    """Return the file to start one's own terms from, with a comment for every field."""
    folder = resources.files("tracekit.sla").joinpath("terms")
    return folder.joinpath(f"{TEMPLATE}.yaml").read_text("utf-8")


def load(source: str | Path) -> Terms:
    """Return terms.

    Args:
        source: Id of terms that come along, or the path of a file.

    Raises:
        UsageError: There is neither.
        DocumentError: The file is wrong; with every problem and its line.
    """
    if str(source) in shipped():
        return shipped()[str(source)]
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        hint = did_you_mean(str(source), [*shipped()])
        raise UsageError(f"no file and no shipped terms {str(source)!r}{hint}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the terms are not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: cannot read the terms: {error.strerror}") from error
    return parse(str(source), text)


def parse(name: str, text: str) -> Terms:
    """Return terms from the text of a file.

    Args:
        name: What the file is called in messages.
        text: Its content.

    Raises:
        DocumentError: It says something terms cannot say; with every problem and its line.
    """
    document = Document(name, text)
    try:
        terms = Terms.model_validate(document.value)
    except ValidationError as error:
        raise DocumentError(name, [_problem(document, item) for item in error.errors()]) from error
    if problems := list(_contradictions(document, terms)):
        raise DocumentError(name, problems)
    return terms


def _problem(document: Document, item: ErrorDetails) -> Problem:
    way = item["loc"]
    field = _field(way)
    meaning = f" ({field.description})" if field is not None and field.description else ""
    return Problem(document.line(way), place(_named(way)), _words(way, item) + meaning)


def _words(way: Way, item: ErrorDetails) -> str:
    """Return what is wrong, and what is allowed."""
    context: dict[str, Any] = item.get("ctx", {})
    refused = f"{item['input']!r} is not allowed"
    bounds = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
    match item["type"]:
        case "extra_forbidden":
            known = known_keys(Terms, way[:-1])
            words = f"no terms have a field of this name{did_you_mean(str(way[-1]), known)}"
        case "missing":
            words = "the field is missing"
        case "literal_error":
            words = f"{refused}: write {context['expected']}"
        case "string_pattern_mismatch":
            words = refused
        case "value_error":
            words = str(context["error"])
        case kind if kind in bounds:
            words = f"{refused}: {_bounds(way)}"
        case _:
            words = f"{item['msg']}, but it is {_short(item['input'])}"
    return words


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else "something longer"  # noqa: PLR2004  half a line


def _bounds(way: Way) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    field = _field(way)
    marks = field.metadata if field is not None else []
    parts = [
        f"{said} {getattr(mark, name):g}"
        for name, said in words.items()
        for mark in marks
        if getattr(mark, name, None) is not None
    ]
    return f"a number {' and '.join(parts)}"


def _named(way: Way) -> Way:
    return tuple("schema" if step == "schema_" else step for step in way)


def _field(way: Sequence[str | int]) -> FieldInfo | None:
    """Return the field of the model that a path leads to, or the last one on the way."""
    models: list[type[BaseModel]] = [Terms]
    found: FieldInfo | None = None
    for step in way:
        if isinstance(step, int):
            continue
        fields = [
            field
            for model in models
            for name, field in model.model_fields.items()
            if step in (name, field.alias)
        ]
        if not fields:
            return None if models else found
        found = fields[0]
        models = models_in(found.annotation)
    return found


def _contradictions(document: Document, terms: Terms) -> Iterator[Problem]:
    """Yield what each field by itself may say, and all of them together may not."""
    for key in ("unknown", "weaker"):
        names: Sequence[str] = getattr(terms, key) if key == "unknown" else [*terms.weaker]
        for number, name in enumerate(names):
            way: Way = (key, number) if key == "unknown" else (key, name)
            if _field(name.split(".")) is None:
                hint = did_you_mean(name, _all_names())
                yield Problem(document.line(way), place((key,)), f"no field {name!r}{hint}")
    if terms.availability is not None:
        yield from _slices(document, terms.availability)
    for number, latency in enumerate(terms.latency):
        way = ("latency", number, "slice_seconds")
        yield from _whole_minutes(document, way, latency)


def _slices(document: Document, terms: Availability) -> Iterator[Problem]:
    yield from _whole_minutes(document, ("availability", "slice_seconds"), terms)
    if terms.method == "downtime_minutes" and terms.slice_seconds != _MINUTE:
        way: Way = ("availability", "slice_seconds")
        message = "with the method downtime_minutes a slice is a minute: write 60"
        yield Problem(document.line(way), place(way), message)


def _whole_minutes(
    document: Document, way: Way, terms: Availability | Latency
) -> Iterator[Problem]:
    if terms.slice_seconds % _MINUTE:
        message = f"{terms.slice_seconds} is not allowed: write whole minutes, as 60 or 300"
        yield Problem(document.line(way), place(way), message)


def _all_names() -> list[str]:
    names: list[str] = []
    for name, field in Terms.model_fields.items():
        names.append(field.alias or name)
        names += [
            f"{name}.{below}"
            for model in models_in(field.annotation)
            for below in model.model_fields
        ]
    return names
