"""Whether a text ends inside something: a code fence, brackets, a JSON document.

Conservative throughout: prose is always complete, and so is code in which a quote or bracket does
not pair up, because there a bracket counter has misread the language.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

_LIST_ITEM: Final = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+")
_CONTAINERS: Final = re.compile(r"[ \t]*(?:(?:(?:[-*+]|\d{1,9}[.)])[ \t]+|>[ \t]?)[ \t]*)*")
_FENCE: Final = re.compile(r"(`{3,}|~{3,})[ \t]*(.*)")
_MAX_INDENT: Final = 3
_JSON_START: Final = re.compile(r'\{\s*"|\[\s*[{"]')
_TOKEN: Final = re.compile(
    r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*[\s\S]*?\*/|[][(){}"\']'
)
_JSON_TOKEN: Final = re.compile(r'"(?:\\[\s\S]|[^"\\])*"|[][{}"]')
_CLOSES: Final = {")": "(", "]": "[", "}": "{"}


@dataclass(slots=True)
class Block:
    """A fenced block.

    Attributes:
        marker: Opening run of backticks or tildes.
        language: First word of the info string, in lower case.
        lines: Lines inside.
        quoted: It stands in a block quote.
        closed: A closing fence was seen.
        nested: A line inside looks like the opening of another block.
        last: Nothing but white space or other blocks follows.
    """

    marker: str
    language: str
    lines: list[str]
    quoted: bool
    closed: bool = False
    nested: bool = False
    last: bool = True

    @property
    def body(self) -> str:
        """Text inside the fence."""
        return "\n".join(self.lines)


def fences(text: str) -> list[Block]:
    """Return the fenced code blocks of a Markdown text, by the rules of CommonMark.

    Looser in two ways, both towards closing: a closing fence may be indented at will, and a block
    inside a block quote ends with the quote.
    """
    blocks: list[Block] = []
    block: Block | None = None
    in_list = False
    for line in text.splitlines():
        if block is not None:
            block = _continue(block, line)
            continue
        if "```" in line or "~~~" in line:
            block = _opened(line, in_list=in_list)
        in_list = in_list or bool(_LIST_ITEM.match(line))
        if block is not None:
            blocks.append(block)
        elif blocks and line.strip():
            blocks[-1].last = False
    return blocks


def _opened(line: str, *, in_list: bool) -> Block | None:
    prefix = _CONTAINERS.match(line)
    start = prefix.end() if prefix else 0
    found = _FENCE.fullmatch(line, start)
    if not found or (found[1][0] == "`" and "`" in found[2]):
        return None
    plain = not line[:start].strip()
    if plain and len(line[:start].expandtabs(4)) > _MAX_INDENT and not in_list:
        return None
    return Block(
        found[1], found[2].partition(" ")[0].strip().lower(), [], quoted=">" in line[:start]
    )


def _continue(block: Block, line: str) -> Block | None:
    if block.quoted and not line.lstrip().startswith(">"):
        block.closed = True
        return None
    if block.marker[:3] not in line:
        block.lines.append(line)
        return block
    text = line.lstrip("> \t") if block.quoted else line.strip()
    found = _FENCE.fullmatch(text.strip())
    if found and found[1][0] == block.marker[0] and len(found[1]) >= len(block.marker):
        if not found[2].strip():
            block.closed = True
            return None
        block.nested = True
    block.lines.append(line)
    return block


def unclosed_fence(blocks: list[Block]) -> bool:
    """Return whether the text ends inside a fence.

    A Markdown file in a fence of its own that holds fences of the same length leaves a bare last
    fence over, which opens nothing.
    """
    if not blocks or blocks[-1].closed:
        return False
    last = blocks[-1]
    bare = not last.language and not last.body.strip()
    return not (bare and any(block.nested for block in blocks))


def unclosed_code(code: str, comments: list[str]) -> bool:
    """Return whether code ends inside brackets; never where a quote or bracket does not pair up."""
    for mark in comments:
        code = re.sub(rf"(?m)(?:^|(?<=\s)){re.escape(mark)}.*$", "", code)
    depth: list[str] = []
    for part in _TOKEN.findall(code):
        if part in _CLOSES:
            if not depth or depth.pop() != _CLOSES[part]:
                return False
        elif part in "([{":
            depth.append(part)
        elif len(part) == 1:
            return False
    return bool(depth)


def starts_as_json(text: str) -> bool:
    """Return whether a text begins as a JSON object or array does and prose does not."""
    return bool(_JSON_START.match(text.lstrip()))


def json_fault(text: str) -> str | None:
    """Return what is wrong with a JSON text: unclosed (it stops midway), invalid, or None.

    JSON that is followed by something else is fine.
    """
    text = text.strip()
    try:
        json.JSONDecoder(strict=False).raw_decode(text)
    except ValueError:
        return "unclosed" if _json_open(text) else "invalid"
    except RecursionError:
        return None
    return None


def _json_open(text: str) -> bool:
    depth = 0
    for part in _JSON_TOKEN.findall(text):
        if part in ("{", "["):
            depth += 1
        elif part in ("}", "]"):
            depth -= 1
            if depth == 0:
                return False
        elif part == '"':
            return True
    return depth > 0
