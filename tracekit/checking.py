"""Values checked against a model: every error names the line, or the variable, it comes from."""

from __future__ import annotations

import difflib
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar, Union

from pydantic import BaseModel, ValidationError

from tracekit.documents import Document, DocumentError, Problem, place
from tracekit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    Path = tuple[str | int, ...]

Model = TypeVar("Model", bound=BaseModel)


def check(
    model: type[Model],
    value: Mapping[str, Any],
    document: Document,
    origin: Callable[[Path], str | None],
) -> Model:
    """Return settings as a model.

    Args:
        model: What they must be.
        value: The settings.
        document: The file most of them come from.
        origin: Names where a value comes from that is not of the file; None for one that is.

    Raises:
        InputError: Something of another origin is wrong.
        DocumentError: Something of the file is wrong.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [(tuple(item["loc"]), item) for item in error.errors()]
    for path, item in found:
        if (source := origin(path)) is not None:
            raise InputError(f"{source}: {_message(model, path, item)}")
    raise DocumentError(
        document.name,
        [
            Problem(document.line(path), place(path), _message(model, path, item))
            for path, item in found
        ],
    )


def _message(model: type[BaseModel], path: Path, item: Mapping[str, Any]) -> str:
    match item["type"]:
        case "extra_forbidden":
            return f"unknown setting{did_you_mean(str(path[-1]), known_keys(model, path[:-1]))}"
        case "missing":
            return "this setting is required"
        case "union_tag_invalid":
            return f"{item['ctx']['tag']!r} is none of {item['ctx']['expected_tags']}"
    return str(item["msg"]).removeprefix("Value error, ")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean ...?" for a word nobody knows, or else what is known."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def known_keys(model: type[BaseModel], path: Iterable[Hashable]) -> list[str]:
    """Return the keys a model knows at a path that pydantic reported."""
    found: list[type[BaseModel]] = [model]
    for part in path:
        found = [below for item in found for below in _below(item, part)] or found
    return sorted({name for item in found for name in item.model_fields})


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models an annotation names: itself, or those of its union, list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = typing.get_origin(annotation)
    inside = typing.get_args(annotation)
    if origin in (Union, types.UnionType, list, tuple, dict):
        return [model for part in inside for model in models_in(part)]
    return models_in(inside[0]) if origin is typing.Annotated else []


def _below(model: type[BaseModel], part: Hashable) -> list[type[BaseModel]]:
    for name, field in model.model_fields.items():
        if part == name:
            return models_in(field.annotation)
        if part in typing.get_args(field.annotation):
            return [model]  # the tag of a union: of its members, this one
    return []
