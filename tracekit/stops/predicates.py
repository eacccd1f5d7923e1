"""The SQL predicates of the rules, in plain Python.

A parser of the part of SQL that predicates are written in: AND, OR, NOT, comparisons, IN, IS NULL,
coalesce, columns and literals. Every predicate becomes two Python expressions, one that says
whether it is true and one that says whether it is false; where neither holds it is null. So the
logic of three values costs nothing when it runs.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign><>|<=|>=|[=<>(),])|(?P<end>$))"
)
_COMPARISONS: Final = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_OPPOSITES: Final = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_LITERALS: Final = {"TRUE": "True", "FALSE": "False", "NULL": "None"}
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT", "IN", "IS", *_LITERALS})
_KINDS: Final = {"int": "number", "double": "number", "hash": "number", "bool": "bool"}
_ANY: Final = "null"


class PredicateError(ValueError):
    """A predicate that is not in the part of SQL this module knows."""


class Term(NamedTuple):
    """A value.

    Attributes:
        source: Python expression.
        nullable: It may be None.
        kind: text, number, bool, or null for the literal.
    """

    source: str
    nullable: bool
    kind: str


class Truth(NamedTuple):
    """A predicate.

    Attributes:
        true: Python expression for "it is true".
        false: Python expression for "it is false".
    """

    true: str
    false: str


def compiled(
    predicates: Sequence[str], columns: Mapping[str, str]
) -> Callable[..., tuple[bool, ...]]:
    """Return a function of the columns' values, in order, that says which predicates are true.

    Args:
        predicates: SQL predicates; null counts as not true.
        columns: Columns and their kinds, as in `tracekit/schema.yaml`.

    Raises:
        PredicateError: A predicate is not in the part of SQL this module knows.
    """
    items = "".join(f"({parse(predicate, columns).true})," for predicate in predicates)
    source = f"lambda {', '.join(columns)}: ({items})"
    # Made of columns, literals and operators by the parser below: nothing else gets through it.
    function: Callable[..., tuple[bool, ...]] = eval(  # noqa: S307
        compile(source, "<stop rules>", "eval"), {"__builtins__": {}}
    )
    return function


def parse(predicate: str, columns: Mapping[str, str]) -> Truth:
    """Return what a predicate is in Python.

    Raises:
        PredicateError: It is not in the part of SQL this module knows; says what and where.
    """
    return _Parser(predicate, columns).whole()


class _Parser:
    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self._columns = columns
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        position = 0
        while not self._tokens or self._tokens[-1][0] != "end":
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise PredicateError(f"cannot read {text[position:].strip()[:20]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def whole(self) -> Truth:
        result = self._any()
        kind, text = self._tokens[self._at]
        if kind != "end":
            raise PredicateError(f"cannot read {text!r} here")
        return _truth(result)

    def _is(self, *words: str) -> bool:
        """Pass over the words if they come next."""
        ahead = self._tokens[self._at : self._at + len(words)]
        fits = [(kind, text.upper()) for kind, text in ahead] == [
            ("word" if word.isalpha() else "sign", word) for word in words
        ]
        self._at += len(words) * fits
        return fits

    def _need(self, word: str) -> None:
        if not self._is(word):
            found = self._tokens[self._at][1] or "the end"
            raise PredicateError(f"expected {word} instead of {found}")

    def _any(self) -> Term | Truth:
        parts = [self._all()]
        while self._is("OR"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else _joined(parts, " or ", " and ")

    def _all(self) -> Term | Truth:
        parts = [self._one()]
        while self._is("AND"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _joined(parts, " and ", " or ")

    def _one(self) -> Term | Truth:
        if self._is("NOT"):
            inner = _truth(self._one())
            return Truth(inner.false, inner.true)
        left = self._operand()
        sign = self._tokens[self._at][1]
        if sign in _COMPARISONS:
            self._at += 1
            return _comparison(left, _COMPARISONS[sign], self._operand())
        return self._tested(left) or left

    def _tested(self, left: Term | Truth) -> Truth | None:
        if self._is("IS", "NOT", "NULL"):
            return _null_check(left, absent=False)
        if self._is("IS", "NULL"):
            return _null_check(left, absent=True)
        if self._is("NOT", "IN"):
            found = _among(left, self._list())
            return Truth(found.false, found.true)
        return _among(left, self._list()) if self._is("IN") else None

    def _list(self) -> list[Term]:
        self._need("(")
        items = [_term(self._operand())]
        while self._is(","):
            items.append(_term(self._operand()))
        self._need(")")
        return items

    def _operand(self) -> Term | Truth:
        if self._is("("):
            inner = self._any()
            self._need(")")
            return inner
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return Term(repr(text[1:-1].replace("''", "'")), nullable=False, kind="text")
        if kind == "number":
            return Term(text, nullable=False, kind="number")
        if kind == "word":
            return self._named(text)
        raise PredicateError(f"expected a value instead of {text or 'the end'}")

    def _named(self, word: str) -> Term:
        if word.upper() in _LITERALS:
            kind = _ANY if word.upper() == "NULL" else "bool"
            return Term(_LITERALS[word.upper()], nullable=kind == _ANY, kind=kind)
        if word.lower() == "coalesce":
            return _coalesced(self._list())
        if word.upper() in _KEYWORDS or word not in self._columns:
            raise PredicateError(f"no column or function {word}")
        return Term(word, nullable=True, kind=_KINDS.get(self._columns[word], "text"))


def _term(operand: Term | Truth) -> Term:
    if isinstance(operand, Truth):
        raise PredicateError("a predicate where a value is expected")
    return operand


def _truth(operand: Term | Truth) -> Truth:
    if isinstance(operand, Truth):
        return operand
    if operand.kind not in {"bool", _ANY}:
        raise PredicateError(f"{operand.source} is not true or false")
    return Truth(f"{operand.source} is True", f"{operand.source} is False")


def _joined(parts: list[Term | Truth], true: str, false: str) -> Truth:
    found = [_truth(part) for part in parts]
    return Truth(
        true.join(f"({part.true})" for part in found),
        false.join(f"({part.false})" for part in found),
    )


def _same_kind(*terms: Term) -> None:
    kinds = {term.kind for term in terms} - {_ANY}
    if len(kinds) > 1:
        raise PredicateError(f"{terms[0].source} and {terms[1].source} cannot be compared")


def _known(*terms: Term) -> str:
    """Return the check that values are not null, as the beginning of a conjunction."""
    return "".join(f"{term.source} is not None and " for term in terms if term.nullable)


def _null_check(left: Term | Truth, *, absent: bool) -> Truth:
    term = _term(left)
    checks = ["True", "False"]
    if term.nullable:
        checks = [f"{term.source} is not None", f"{term.source} is None"]
    return Truth(*(reversed(checks) if absent else checks))


def _comparison(left: Term | Truth, sign: str, right: Term | Truth) -> Truth:
    one, other = _term(left), _term(right)
    _same_kind(one, other)
    known = _known(one, other)
    if _ANY in {one.kind, other.kind}:
        return Truth("False", "False")
    return Truth(
        f"{known}{one.source} {sign} {other.source}",
        f"{known}{one.source} {_OPPOSITES[sign]} {other.source}",
    )


def _among(left: Term | Truth, items: list[Term]) -> Truth:
    one = _term(left)
    for item in items:
        _same_kind(one, item)
    listed = "".join(f"{item.source}, " for item in items)
    # A null in the list leaves open whether the value is in it.
    return Truth(
        f"{_known(one)}{one.source} in ({listed})",
        f"{_known(one, *items)}{one.source} not in ({listed})",
    )


def _coalesced(items: list[Term]) -> Term:
    _same_kind(*chain(items, items[:1]))
    kind = next((item.kind for item in items if item.kind != _ANY), _ANY)
    # What stands behind a value that is never null is never reached.
    last = next((n for n, item in enumerate(items) if not item.nullable), len(items) - 1)
    source = items[last].source
    for item in reversed(items[:last]):
        source = f"({item.source} if {item.source} is not None else {source})"
    return Term(source, nullable=all(item.nullable for item in items), kind=kind)
