"""Redaction of captured content: known secrets and identities by pattern, known fields by name.

What it does not know it does not find: content capture stays a decision.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import yaml

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_KEY: Final = re.compile(r"-{0,2}\w[\w.-]{0,100}:?")
_MARK: Final = "[redacted:"

_SHORTEST_PHONE: Final = 9
_LONGEST_PHONE: Final = 15
"""Digits of a telephone number; E.164 allows 15."""
_ADDRESS_DOTS: Final = 3


class Pattern(NamedTuple):
    """What to take out of a text.

    Attributes:
        name: Stands in the place of what was taken out.
        match: Finds it.
        check: Whether a match is one.
        near: One of these is in every text that has a match; empty where there is no such text.
    """

    name: str
    match: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    near: tuple[str, ...] = ()

    def applied(self, text: str) -> str:
        """Return the text without what matches."""
        if self.near and not any(part in text for part in self.near):
            return text
        return self.match.sub(self._replaced, text)

    def _replaced(self, found: re.Match[str]) -> str:
        whole = found.group()
        return whole if self.check is not None and not self.check(whole) else _mark(self.name)


class Redaction:
    """Takes secrets and identities out of captured content before it is written.

        tracekit.configure(capture_content=True, redact=tracekit.Redaction(keys=["iban"]))

    A match becomes `[redacted:name]`. Where redaction fails, the content is not written.
    """

    def __init__(
        self,
        patterns: Mapping[str, str] | None = None,
        keys: Collection[str] = (),
        callback: Callable[[str], str] | None = None,
        *,
        without: Collection[str] = (),
    ) -> None:
        """Add to what `redaction.yaml` lists.

        Args:
            patterns: Regular expressions by name, applied before the listed ones.
            keys: Names of fields, of JSON at any depth, whose values are taken out.
            callback: Called last, with the text; what it returns is written.
            without: Names of listed patterns and keys that are not to be taken out.

        Raises:
            UsageError: A pattern is no regular expression, or a name is not listed.
        """
        listed_patterns, listed_keys = _listed().patterns, _listed().keys
        unknown = set(without) - {pattern.name for pattern in listed_patterns} - set(listed_keys)
        if unknown:
            raise UsageError(f"Redaction(without=...): nothing is called {', '.join(unknown)}")
        own = [Pattern(name, _compiled(name, match)) for name, match in (patterns or {}).items()]
        self._patterns = (*own, *(p for p in listed_patterns if p.name not in without))
        names = [*(key for key in listed_keys if key not in without), *keys]
        self._keys = frozenset(words for key in names if (words := _words(key)))
        self._longest = max(map(len, self._keys), default=0)
        self._assignment = _assignment(self._keys)
        self._callback = callback

    def __call__(self, content: str) -> str:
        """Return content as it may be written."""
        text = self._content(content)
        return text if self._callback is None else self._callback(text)

    def _content(self, text: str) -> str:
        if text.lstrip()[:1] in {"{", "["}:
            try:
                value = orjson.loads(text)
            except ValueError:
                return self._text(text)  # cut short, or only looks like JSON
            kept = self._value(value)
            return text if kept == value else orjson.dumps(kept).decode()
        return self._text(text)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._content(value)
        if isinstance(value, dict):
            return self._fields(value)
        if isinstance(value, list):
            return [self._value(value[0]), *map(self._item, value, value[1:])] if value else value
        if isinstance(value, int) and not isinstance(value, bool):
            text = str(value)
            kept = self._text(text)
            return value if kept == text else kept
        return value

    def _fields(self, value: dict[str, Any]) -> dict[str, Any]:
        kept = {key: self._field(key, item) for key, item in value.items()}
        listed = _listed()
        # {"name": "DB_PASSWORD", "value": ...} is a field as well.
        names = (item for key, item in value.items() if key.lower() in listed.names)
        secrets = (self._secret(name) for name in names if isinstance(name, str))
        if (secret := next(filter(None, secrets), None)) is not None:
            named = (key for key in value if key.lower() in listed.values)
            kept |= {key: _taken(secret, value[key]) for key in named}
        return {self._text(key): item for key, item in kept.items()}

    def _field(self, key: str, value: Any) -> Any:
        secret = self._secret(key)
        return self._value(value) if secret is None else _taken(secret, value)

    def _item(self, before: Any, value: Any) -> Any:
        """Return an item of a list: after a flag or a key, as in `--password x`, it is a field."""
        if not isinstance(before, str) or not _KEY.fullmatch(before):
            return self._value(value)
        if isinstance(value, str) and value.startswith("-"):
            return self._value(value)  # the flag before it had no value
        return self._field(before, value)

    def _secret(self, key: str) -> str | None:
        """Return the name of the secret a field holds, or None."""
        words = _words(key)
        for n in range(min(len(words), self._longest)):
            if words[-n - 1 :] in self._keys:
                return "_".join(words[-n - 1 :])
        return None

    def _text(self, text: str) -> str:
        for pattern in self._patterns:
            text = pattern.applied(text)
        return self._assignment.sub(_assigned, text)


def _taken(secret: str, value: Any) -> Any:
    """Return what stands in the place of a secret; no value, yes and no are none."""
    return value if value is None or isinstance(value, bool) else _mark(secret)


def _mark(name: str) -> str:
    return f"{_MARK}{name}]"


def _words(key: str) -> tuple[str, ...]:
    """Return the words of a name: `x-api-key`, `xApiKey` and `X_API_KEY` have the same."""
    return tuple(word.lower() for word in _WORD.findall(key))


def _assignment(keys: Iterable[tuple[str, ...]]) -> re.Pattern[str]:
    """Return what finds `password=...`, `"apiKey": "..."`, `--password ...` and such in a text."""
    names = sorted(("[ _-]?".join(map(re.escape, words)) for words in keys), key=len, reverse=True)
    if not names:
        return re.compile(r"(?!)")
    key = "|".join(names)
    return re.compile(
        rf"(?i)(?:(?P<before>(?<![a-z])(?P<key>{key})\\?[\"']?\s{{0,4}}[=:]\s{{0,4}}"
        r"(?:(?:basic|bearer|digest|token)\s{1,4})?)"
        rf"|(?P<flag>(?<![\w-])--?(?:[a-z0-9]{{1,32}}[_-]){{0,4}}(?P<name>{key})\s{{1,4}}(?!-)))"
        r"(?P<value>\\?\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z)|[^\s\"',;&}\]]+)"
    )


def _assigned(found: re.Match[str]) -> str:
    value = found["value"]
    if value.lstrip("\"'\\").startswith(_MARK.rstrip(":")):
        return found.group()
    quote = value[0] if value[0] in "\"'" else ""
    name = "_".join(_words(found["key"] or found["name"]))
    return f"{found['before'] or found['flag']}{quote}{_mark(name)}{quote}"


def _compiled(name: str, match: str) -> re.Pattern[str]:
    try:
        return re.compile(match)
    except (re.error, TypeError) as error:
        raise UsageError(f"Redaction: pattern {name!r} is no regular expression: {error}") from None


def _digits(text: str) -> list[int]:
    return [int(character) for character in text if character.isascii() and character.isdigit()]


def _luhn(text: str) -> bool:
    """Return whether a number has the check digit of a payment card, and a card's beginning."""
    digits = _digits(text)
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return digits[0] in range(2, 7) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    """Return whether an account number has its check digits."""
    plain = text.replace(" ", "")
    number = "".join(str(int(character, 36)) for character in plain[4:] + plain[:4])
    return int(number) % 97 == 1


def _phone(text: str) -> bool:
    """Return whether groups of digits are as long as a telephone number, and no network address."""
    size = len(_digits(text))
    if text[0] in "+(":
        return size <= _LONGEST_PHONE
    return text.count(".") != _ADDRESS_DOTS and _SHORTEST_PHONE <= size <= _LONGEST_PHONE


_CHECKS: Final = {"luhn": _luhn, "iban": _iban, "phone": _phone}


class _Listed(NamedTuple):
    """What `redaction.yaml` lists.

    Attributes:
        patterns: What is taken out by its form.
        keys: Names of fields whose values are taken out.
        names: Fields that hold the name of another one.
        values: Fields that hold its value.
    """

    patterns: tuple[Pattern, ...]
    keys: tuple[str, ...]
    names: frozenset[str]
    values: frozenset[str]


@cache
def _listed() -> _Listed:
    text = resources.files(__package__).joinpath("redaction.yaml").read_text()
    listed = yaml.safe_load(text)
    patterns = tuple(
        Pattern(
            name,
            re.compile(told["match"]),
            _CHECKS[told["check"]] if "check" in told else None,
            tuple(told.get("near", ())),
        )
        for name, told in listed["patterns"].items()
    )
    pairs = listed["pairs"]
    return _Listed(
        patterns, tuple(listed["keys"]), frozenset(pairs["names"]), frozenset(pairs["values"])
    )
