"""What the steps of a policy do to single attributes and texts: for `samplers.strip`."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tracekit.dialects.registry import load
from tracekit.otlp.varints import read_varint
from tracekit.schema import Kind, attribute_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    from samplers.policy_limits import Step
    from tracekit.otlp.rewrite import Edit

MARK: Final = "[redacted]"
"""What stands in the place of a value that was taken out."""

_OWN: Final = b"tracekit."
_MOST_KEYS: Final = 10_000
"""Keys whose edits are remembered; then all are forgotten, which a sender of fewer never sees."""

_KEY_TAG, _VALUE_TAG, _MORE = 0x0A, 0x12, 0x80


class Names(Protocol):
    """A set of attribute keys."""

    def __contains__(self, name: bytes, /) -> bool:
        """Return whether a key is in it."""


class Patterns:
    """Names, of which those that end in `*` stand for any end."""

    def __init__(self, names: Iterable[str]) -> None:
        names = tuple(names)
        self._whole = frozenset(name.encode() for name in names if not name.endswith("*"))
        self._heads = tuple(name[:-1].encode() for name in names if name.endswith("*"))
        self.any = bool(names)

    def __contains__(self, name: bytes) -> bool:
        return name in self._whole or name.startswith(self._heads)


class AttributeEdits:
    """Edits attributes; which edits a key needs is found once."""

    def __init__(self, edits: Sequence[tuple[Names, Edit]]) -> None:
        self._edits = edits
        self._known: dict[bytes, tuple[Edit, ...]] = {}

    def __call__(self, data: bytes) -> bytes | None:
        """Edit the bytes of an attribute."""
        key = _key(data)
        edits = self._known.get(key)
        if edits is None:
            if len(self._known) >= _MOST_KEYS:
                self._known.clear()
            edits = tuple(edit for keys, edit in self._edits if key in keys)
            self._known[key] = edits
        return through(edits, data) if edits else data


class _Payload:
    """Keys of which a skeleton has no attribute."""

    def __contains__(self, key: bytes) -> bool:
        return not key.startswith(_OWN) and key not in _structure()


@cache
def _structure() -> frozenset[bytes]:
    """Return keys that tell structure, tokens, stop and cost: those of columns without content.

    A key that may hold several values in one text stays where all of them are numbers.
    """
    kinds = {column.name: column.kind for column in attribute_columns()}
    content = {Kind.CONTENT, Kind.HASH}
    registry = load()
    held = {alias.key for alias in registry.aliases if kinds[alias.column] in content}
    known = {alias.key for alias in registry.aliases} - held
    numbers = {Kind.INT, Kind.DOUBLE}
    packed = {
        one.key
        for one in registry.unpacks
        if {kinds[name] for name in one.fields.values()} <= numbers
    }
    unpacked = {one.key for one in registry.unpacks} - packed
    return frozenset(key.encode() for key in (known | packed) - unpacked)


def edit_of(step: Step) -> tuple[Names, Edit] | None:
    """Return which attributes a step reaches wherever they are, and what it does to them."""
    if step.redact is not None:
        return Patterns(step.redact), _redacted
    if step.remove is not None:
        return Patterns(step.remove), nothing
    if step.truncate is not None:
        return Patterns(step.truncate.attributes), _changed(partial(_cut, step.truncate.bytes))
    if step.scrub is not None:
        return Patterns(step.scrub.attributes), _changed(_scrub(step))
    return None


def skeleton_of(step: Step) -> tuple[Names, Edit] | None:
    """Return which attributes of spans a skeleton does without, and that it leaves them out."""
    return (_Payload(), nothing) if step.skeleton else None


def nothing(_: bytes) -> None:
    """Leave a field out."""


def through(edits: Iterable[Edit], data: bytes) -> bytes | None:
    """Apply edits in order, until one leaves the field out."""
    for edit in edits:
        after = edit(data)
        if after is None:
            return None
        data = after
    return data


def _redacted(data: bytes) -> bytes:
    pair = KeyValue.FromString(data)
    pair.value.string_value = MARK
    return pair.SerializeToString()


def _changed(change: Callable[[str], str]) -> Edit:
    """Return an edit of attributes that changes the texts in their values, at any depth."""

    def edit(data: bytes) -> bytes:
        pair = KeyValue.FromString(data)
        return pair.SerializeToString() if _change_texts(pair.value, change) else data

    return edit


def _change_texts(value: AnyValue, change: Callable[[str], str]) -> bool:
    """Change the texts in a value; return whether one differs."""
    match value.WhichOneof("value"):
        case "string_value":
            text = change(value.string_value)
            if text == value.string_value:
                return False
            value.string_value = text
            return True
        case "array_value":
            found = [_change_texts(item, change) for item in value.array_value.values]
            return any(found)
        case "kvlist_value":
            found = [_change_texts(pair.value, change) for pair in value.kvlist_value.values]
            return any(found)
    return False


def _cut(most: int, text: str) -> str:
    """Return as many whole characters as fit into some bytes."""
    if len(text) * 4 <= most:
        return text
    data = text.encode()
    return text if len(data) <= most else data[:most].decode(errors="ignore")


def _scrub(step: Step) -> Callable[[str], str]:
    assert step.scrub is not None  # noqa: S101 - by those who call it
    redact = step.scrub.redaction()

    def scrubbed(text: str) -> str:
        try:
            return redact(text)
        except Exception:  # noqa: BLE001 - what cannot be redacted does not leave
            return MARK

    return scrubbed


def text_edit_of(step: Step) -> Edit:
    """Return what a step that scrubs does to a text of its own, no attribute's."""
    scrub = _scrub(step)

    def edit(data: bytes) -> bytes:
        text = data.decode()
        after = scrub(text)
        return data if after == text else after.encode()

    return edit


def _key(data: bytes) -> bytes:
    """Return the key of an attribute; of one written in another order, by the library."""
    end = len(data)
    if end > 2 and data[0] == _KEY_TAG and (size := data[1]) < _MORE:  # noqa: PLR2004 - tag, length
        at = 2 + size
        if at == end:
            return data[2:at]
        if at + 1 < end and data[at] == _VALUE_TAG:
            length, start = read_varint(data, at + 1)
            if start + length == end:
                return data[2:at]
    return KeyValue.FromString(data).key.encode()
