"""The dialects: which attribute feeds which column, as data in the `*.yaml` beside this file.

A dialect file says how one instrumentation writes spans: what gives it away (`fingerprints`), the
attributes of each column (`aliases`, best first), attributes that pack several values in one string
(`unpack`), and words for the same thing (`values`). `declaration.DialectFile` tells every field.

Precedence. The dialects are sorted by `order`. A column's aliases are ranked from 0: dialects in
order, within a dialect in the order of the file. Which dialect a span is *recognised* as goes by
`detect` instead: a vendor's own key says more than the `gen_ai.*` keys it writes beside it, while
the values of the latter are taken first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from tracekit.dialects.declaration import DialectError, DialectFile, read_dialect
from tracekit.schema import attribute_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable

    from tracekit.dialects.unpack import Form

__all__ = [
    "ANY",
    "Alias",
    "Dialect",
    "DialectError",
    "Mark",
    "NamePrefix",
    "Normaliser",
    "Registry",
    "ScopePrefix",
    "Unpack",
    "load",
    "load_folder",
]

ANY = "*"
"""Dialect of the value-map rows that hold whatever the dialect."""


class Dialect(NamedTuple):
    """A dialect; `declaration.DialectFile` tells what the fields mean."""

    name: str
    title: str
    seen: tuple[str, ...]
    order: int
    detect: int
    gateway: str | None


class Alias(NamedTuple):
    """One attribute that feeds a column.

    Attributes:
        column: Column of the span table.
        key: Attribute key.
        event: Name of the span event that carries the attribute; None for the span itself, its
            scope or its resource.
        dialect: Dialect the key belongs to.
        rank: Precedence within the column, 0 is best.
        scale: Factor from the attribute's unit to the column's (1 but for some doubles).
    """

    column: str
    key: str
    event: str | None
    dialect: str
    rank: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Unpack:
    """One attribute that packs values of several columns.

    Attributes:
        key: Attribute key, on the span, its scope or its resource.
        format: "json" or "python".
        fields: Column by path into the value; see `unpack.pick`.
        dialect: Dialect the key belongs to.
        rank: Precedence of the first field; the others follow. Smaller is better.
    """

    key: str
    format: Form
    fields: Mapping[str, str]
    dialect: str
    rank: int

    def ranked_fields(self) -> Iterator[tuple[int, str, str]]:
        """Yield rank, path and column of every field."""
        for at, (path, column) in enumerate(self.fields.items()):
            yield self.rank + at, path, column


class Mark(NamedTuple):
    """One fingerprint in a span's attribute keys.

    Attributes:
        text: The key, or its first characters.
        is_prefix: Whether `text` is only the start of a key.
        dialect: Dialect it gives away.
        order: Precedence, 0 is best; equal only within a dialect.
    """

    text: str
    is_prefix: bool
    dialect: str
    order: int


class NamePrefix(NamedTuple):
    """Start of a span name that gives away a dialect, and the operation it tells, if it does."""

    prefix: str
    dialect: str
    operation: str | None


class ScopePrefix(NamedTuple):
    """Start of an instrumentation scope name that gives away a dialect."""

    prefix: str
    dialect: str


class Normaliser(NamedTuple):
    """Layer that rewrites stop values: a dialect, or only one scope (`scope_name` is not None).

    `lossy` means that an error can come out as a clean stop. `gateway` is the dialect's gateway.
    """

    dialect: str
    scope_name: str | None
    lossy: bool
    gateway: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything the dialect files say, checked and ranked.

    Attributes:
        dialects: By `order`.
        aliases: By column in the schema's order, then by rank.
        unpacks: By rank.
        marks: By order; within a dialect as in its file.
        name_prefixes: Longest first; the longest that a span name starts with counts.
        scope_names: Longest first; the longest that a scope name starts with counts.
        values: Column -> dialect or `*` -> raw value in lower case -> canonical value. `*` is the
            union of all dialects; where they disagree the first by `order` is right.
        normalisers: By dialect.
    """

    dialects: tuple[Dialect, ...]
    aliases: tuple[Alias, ...]
    unpacks: tuple[Unpack, ...]
    marks: tuple[Mark, ...]
    name_prefixes: tuple[NamePrefix, ...]
    scope_names: tuple[ScopePrefix, ...]
    values: Mapping[str, Mapping[str, Mapping[str, str]]]
    normalisers: tuple[Normaliser, ...]

    def value_map_rows(self) -> list[tuple[str, str, str, str]]:
        """Return rows (column_name, dialect or `*`, raw in lower case, canonical)."""
        return [
            (column, dialect, raw, canonical)
            for column, by_dialect in self.values.items()
            for dialect, words in by_dialect.items()
            for raw, canonical in words.items()
        ]

    def name_prefix_rows(self) -> list[NamePrefix]:
        """Return rows (prefix, dialect, operation or None); the longest match counts."""
        return list(self.name_prefixes)

    def scope_rows(self) -> list[ScopePrefix]:
        """Return rows (prefix, dialect); the longest match counts."""
        return list(self.scope_names)

    def normaliser_rows(self) -> list[Normaliser]:
        """Return rows (dialect, scope_name or None, lossy, gateway or None, why)."""
        return list(self.normalisers)


def _aliases(files: Iterable[DialectFile]) -> tuple[Alias, ...]:
    ranks = {column.name: count() for column in attribute_columns()}
    found: dict[tuple[str, str, str | None], Alias] = {}
    for file in files:
        for column, entries in file.aliases.items():
            for entry in entries:
                identity = (column, entry.key, entry.event)
                if identity in found:
                    raise DialectError(
                        f"{file.name}.yaml: aliases.{column}: {entry.key} is listed already in "
                        f"{found[identity].dialect}.yaml; keep one of them"
                    )
                found[identity] = Alias(*identity, file.name, next(ranks[column]), entry.scale)
    place = {column: at for at, column in enumerate(ranks)}
    return tuple(sorted(found.values(), key=lambda alias: (place[alias.column], alias.rank)))


def _unpacks(files: Iterable[DialectFile]) -> tuple[Unpack, ...]:
    unpacks: list[Unpack] = []
    rank = 0
    for file in files:
        for entry in file.unpack:
            unpacks.append(Unpack(entry.key, entry.format, entry.fields, file.name, rank))
            rank += len(entry.fields)
    return tuple(unpacks)


def _marks(files: Iterable[DialectFile]) -> tuple[Mark, ...]:
    files = sorted(files, key=lambda file: file.detect)
    marks: list[Mark] = []
    for order, file in enumerate(files):
        marks += [Mark(key, False, file.name, order) for key in file.fingerprints.keys]
        marks += [Mark(text, True, file.name, order) for text in file.fingerprints.prefixes]
    for order, file in enumerate(files, len(files)):
        marks += [Mark(text, True, file.name, order) for text in file.fingerprints.weak_prefixes]
    return tuple(marks)


def _values(files: Iterable[DialectFile]) -> dict[str, dict[str, dict[str, str]]]:
    values: dict[str, dict[str, dict[str, str]]] = {}
    for file in files:
        for column, words in file.values.items():
            by_dialect = values.setdefault(column, {ANY: {}})
            by_dialect[file.name] = dict(words)
            for raw, canonical in words.items():
                by_dialect[ANY].setdefault(raw, canonical)
    return values


def _name_prefixes(files: Iterable[DialectFile]) -> tuple[NamePrefix, ...]:
    found: dict[str, NamePrefix] = {}
    for file in files:
        for prefix, operation in file.fingerprints.names.items():
            found.setdefault(prefix, NamePrefix(prefix, file.name, operation))
    return tuple(sorted(found.values(), key=lambda row: (-len(row.prefix), row.prefix)))


def _scope_names(files: Iterable[DialectFile]) -> tuple[ScopePrefix, ...]:
    found: dict[str, ScopePrefix] = {}
    for file in files:
        for prefix in file.fingerprints.scopes:
            found.setdefault(prefix, ScopePrefix(prefix, file.name))
    return tuple(sorted(found.values(), key=lambda row: (-len(row.prefix), row.prefix)))


def _check_distinct(files: Sequence[DialectFile]) -> None:
    for field in ("order", "detect"):
        names: dict[int, str] = {}
        for file in files:
            number = getattr(file, field)
            if number in names:
                raise DialectError(
                    f"{file.name}.yaml: {field}: {number} is taken by {names[number]}.yaml; "
                    "precedence must be unambiguous"
                )
            names[number] = file.name


def load_folder(folder: Traversable) -> Registry:
    """Return the registry of a folder of dialect files.

    Raises:
        DialectError: A file is no dialect, or two contradict each other.
    """
    found = (read_dialect(file) for file in folder.iterdir() if file.name.endswith(".yaml"))
    files = sorted(found, key=lambda file: (file.order, file.name))
    _check_distinct(files)
    return Registry(
        dialects=tuple(
            Dialect(file.name, file.title, file.seen, file.order, file.detect, file.gateway)
            for file in files
        ),
        aliases=_aliases(files),
        unpacks=_unpacks(files),
        marks=_marks(files),
        name_prefixes=_name_prefixes(files),
        scope_names=_scope_names(files),
        values=_values(files),
        normalisers=tuple(
            Normaliser(file.name, row.scope, row.lossy, file.gateway, row.why)
            for file in files
            for row in file.normalises_stops
        ),
    )


@cache
def load() -> Registry:
    """Return the registry of the dialects that come with tracekit."""
    return load_folder(resources.files("tracekit.dialects"))
