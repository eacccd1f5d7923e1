"""What a dialect file may say, and the reading of one."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tracekit.dialects.unpack import Form  # noqa: TC001  pydantic reads the annotation
from tracekit.errors import TracekitError
from tracekit.schema import Kind, attribute_columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

SHORTEST_PREFIX = 4
"""Bytes of the shortest key prefix: the scanner looks at the first four bytes of a key."""


class DialectError(TracekitError):
    """A dialect file says something impossible; the message names file, place and remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AliasEntry(_Strict):
    """One attribute key of a column; see `registry.Alias`."""

    key: str = Field(min_length=1)
    event: str | None = None
    scale: float = Field(default=1.0, gt=0)


def _entry(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


class UnpackEntry(_Strict):
    """One attribute that packs values; see `registry.Unpack`."""

    key: str = Field(min_length=1)
    format: Form
    fields: dict[str, str] = Field(min_length=1)


class Fingerprints(_Strict):
    """What gives a dialect away.

    Attributes:
        keys: Attribute keys of the span.
        prefixes: Starts of attribute keys of the span.
        weak_prefixes: The same, but they count after the fingerprints of all other dialects.
        names: Starts of span names, each with the operation it tells, or null.
        scopes: Starts of instrumentation scope names.
    """

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    weak_prefixes: tuple[str, ...] = ()
    names: dict[str, str | None] = {}
    scopes: tuple[str, ...] = ()


class NormaliserEntry(_Strict):
    """A layer that rewrites stop values: the whole dialect, or one scope of it."""

    scope: str | None = None
    lossy: bool = False
    why: str


class DialectFile(_Strict):
    """One dialect file.

    Attributes:
        name: Name of the dialect, as in the column `dialect`; the file is called after it.
        title: What it is, for people.
        seen: Versions its keys were read from.
        order: Precedence of its aliases; the smallest is best.
        detect: Precedence of its fingerprints; the smallest is best.
        gateway: Name of the gateway, where the dialect is spoken by one.
        fingerprints: What gives it away.
        aliases: Attribute keys by column, best first.
        unpack: Attributes that pack values: JSON or Python text, and the column of each path.
        values: Canonical value by raw value (lower case), by column.
        normalises_stops: Layers that rewrite the provider's stop value; lossy where an error can
            come out as a clean stop.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    seen: tuple[str, ...]
    order: int
    detect: int
    gateway: str | None = None
    fingerprints: Fingerprints = Fingerprints()
    aliases: dict[str, tuple[Annotated[AliasEntry, BeforeValidator(_entry)], ...]] = {}
    unpack: tuple[UnpackEntry, ...] = ()
    values: dict[str, dict[str, str]] = {}
    normalises_stops: tuple[NormaliserEntry, ...] = ()


def _columns_named(dialect: DialectFile) -> Iterator[tuple[str, str]]:
    for column in dialect.aliases:
        yield f"aliases.{column}", column
    for entry in dialect.unpack:
        for path, column in entry.fields.items():
            yield f"unpack.{entry.key}.{path or '(whole)'}", column


def _column_problems(dialect: DialectFile) -> Iterator[str]:
    kinds = {column.name: column.kind for column in attribute_columns()}
    for place, column in _columns_named(dialect):
        if column not in kinds:
            yield f"{place}: no attribute column {column!r}; allowed are {', '.join(kinds)}"
    for column, entries in dialect.aliases.items():
        for entry in entries:
            if entry.scale != 1.0 and kinds.get(column) is not Kind.DOUBLE:
                yield f"aliases.{column}.{entry.key}: only a column of kind double can be scaled"


def _text_problems(dialect: DialectFile) -> Iterator[str]:
    for prefix in dialect.fingerprints.prefixes + dialect.fingerprints.weak_prefixes:
        if len(prefix.encode()) < SHORTEST_PREFIX:
            yield f"fingerprints: prefix {prefix!r} is shorter than {SHORTEST_PREFIX} bytes"
    for column, words in dialect.values.items():
        for raw in words:
            if raw != raw.lower():
                yield f"values.{column}.{raw}: raw values are compared in lower case; write it so"


def read_dialect(file: Traversable) -> DialectFile:
    """Return a dialect file, checked on its own.

    Raises:
        DialectError: The file is no YAML, has fields it may not have, or names no column.
    """
    try:
        document = yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        dialect = DialectFile.model_validate(document)
    except yaml.YAMLError as error:
        raise DialectError(f"{file.name}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "top level"
        hint = ""
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            hint = f"; allowed are {', '.join(DialectFile.model_fields)}"
        raise DialectError(f"{file.name}: {place}: {first['msg']}{hint}") from error
    if f"{dialect.name}.yaml" != file.name:
        raise DialectError(f"{file.name}: name: {dialect.name!r} must be called as its file")
    for problem in chain(_column_problems(dialect), _text_problems(dialect)):
        raise DialectError(f"{file.name}: {problem}")
    return dialect
