"""YAML documents that know on which line each value stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from tracekit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_BYTES: Final = 1 << 20
"""Longest file."""

_ENDS: Final = "\x85\u2028\u2029"
"""Ends of lines other than the usual one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document.

    Attributes:
        line: Line, from 1.
        place: Path of keys and numbers, as `rules[2].when`; empty for the whole document.
        message: What is wrong, and what to do.
    """

    line: int
    place: str
    message: str


class DocumentError(InputError):
    """A document cannot be used; the message names the first problem with file and line.

    Attributes:
        problems: All of them, in order of lines.
    """

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.name = name
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(self.lines()[0] + more)

    def lines(self) -> list[str]:
        """Return each problem as one line."""
        return [
            ": ".join(filter(None, [f"{self.name}:{found.line}", found.place, found.message]))
            for found in self.problems
        ]


class Document:
    """A YAML mapping and the lines of its values.

    Attributes:
        name: What it is called in messages: a path, or the name of a preset.
        value: The mapping.
    """

    def __init__(self, name: str, text: str) -> None:
        """Read a document.

        Raises:
            DocumentError: It is too long, no YAML, no mapping, has a key twice or an alias.
        """
        self.name = name
        if len(text) > MOST_BYTES:
            raise self.error(1, f"the file is longer than {MOST_BYTES >> 10} KiB")
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
                raise self.error(1, "YAML aliases (*name) are not read: write the value out")
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.value: dict[str, Any] = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            raise self.error(mark.line + 1 if mark else 1, f"no YAML: {error.problem}") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self.error(1, f"no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(root, yaml.MappingNode):
            raise self.error(1, "expected a mapping of keys to values")
        self._root = root
        self._refuse_repeats(root)

    def error(self, line: int, message: str, place: str = "") -> DocumentError:
        """Return an error about one line."""
        return DocumentError(self.name, [Problem(line, place, message)])

    def line(self, path: Sequence[str | int], *, text_line: int = 0) -> int:
        """Return the line of a value, or of the nearest one above it that there is.

        Args:
            path: Keys and numbers from the top.
            text_line: Line within the value, where that is a block of text.
        """
        node: yaml.Node = self._root
        line = node.start_mark.line
        for step in path:
            child = _child(node, step)
            if child is None:
                continue  # pydantic names alternatives of a type in its paths
            line, node = child
        if isinstance(node, yaml.ScalarNode) and node.style == "|":
            return int(node.start_mark.line) + 2 + text_line
        return line + 1

    def _refuse_repeats(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._refuse_repeats(item)
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if (first := seen.setdefault(str(key.value), line)) != line:
                    raise self.error(line, f"the key is already on line {first}", str(key.value))
                self._refuse_repeats(value)


def written(*documents: object) -> str:
    """Return documents as YAML for people: keys in their order, text as it is read."""
    return str(
        yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    )


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML takes for the end of a line, which would come back as a space."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(end in text for end in _ENDS) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line, item
    return None


def place(path: Sequence[str | int]) -> str:
    """Return a path as people write it: `rules[2].when`; numbers count from 1."""
    text = ""
    for step in path:
        text += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if text else step
    return text
