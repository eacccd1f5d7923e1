"""Values packed into one string attribute: JSON, or a Python literal. Pure functions."""

from __future__ import annotations

import ast
import json
from typing import Any, Final, Literal

MAX_JSON: Final = 64 * 1024
"""Longest JSON text that is parsed, in bytes of UTF-8. Longer ones are ignored."""

MAX_PYTHON: Final = 4 * 1024
"""Longest Python literal that is parsed, in bytes of UTF-8: `ast` uses much memory per byte."""


Form = Literal["json", "python"]


def parse(text: str, form: Form) -> Any:
    """Return what a text packs.

    Args:
        text: Value of the attribute.
        form: "json", or "python" for a literal as `repr` writes it.

    Raises:
        ValueError: The text is too long or not of its form.
    """
    limit = MAX_JSON if form == "json" else MAX_PYTHON
    if len(text.encode()) > limit:
        raise ValueError(f"longer than {limit} bytes")
    try:
        return json.loads(text) if form == "json" else ast.literal_eval(text)
    except (SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"not {form}: {error}") from error


def pick(document: Any, path: str) -> Any:
    """Return the value at a path, or None.

    Args:
        document: What was parsed.
        path: Keys and positions in lists, separated by slashes; "" is the document.
    """
    for key in path.split("/") if path else ():
        if isinstance(document, list):
            document = document[int(key)] if key.isdecimal() and int(key) < len(document) else None
        else:
            document = document.get(key) if isinstance(document, dict) else None
    return document


def unpack(value: Any, form: Form, path: str) -> Any:
    """Return the field at a path of a packed attribute, or None.

    A value that is no string needs no parsing and is taken as the document itself. Where the whole
    document is wanted (path "") and the text cannot be parsed, the text itself is the value: some
    exporters leave the JSON quotes out.
    """
    if not isinstance(value, str):
        return pick(value, path)
    try:
        return pick(parse(value, form), path)
    except ValueError:
        return None if path else value
