"""Dotted paths into parsed JSON: `choices.finish_reason`, `usage.input_tokens | usage.tokens`.

Lists are walked element by element; the place of an element is its `index` where it has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str, ...]

Paths = tuple[Path, ...]
"""Alternatives, best first."""


def compiled(text: str) -> Paths:
    """Return the alternatives written in a data file, `a.b | c`."""
    return tuple(tuple(path.strip().split(".")) for path in text.split("|"))


def walk(node: Any, path: Path, place: int = 0) -> Iterator[tuple[int, Any]]:
    """Yield (place, value) for what is not null at a path; place is that in the outermost list."""
    for depth, key in enumerate(path):
        if isinstance(node, list):
            yield from _elements(node, path[depth:])
            return
        if not isinstance(node, dict):
            return
        node = node.get(key)
        if node is None:
            return
    yield place, node


def _elements(items: list[Any], path: Path) -> Iterator[tuple[int, Any]]:
    for position, item in enumerate(items):
        index = item.get("index") if isinstance(item, dict) else None
        place = index if isinstance(index, int) else position
        for _, value in walk(item, path):
            yield place, value


def first(node: Any, paths: Paths) -> Any:
    """Return the first value that is there, or None."""
    for path in paths:
        for _, value in walk(node, path):
            return value
    return None


def placed(node: Any, paths: Paths) -> dict[int, Any]:
    """Return the values of the first alternative that has any, by place."""
    for path in paths:
        if found := dict(walk(node, path)):
            return found
    return {}
