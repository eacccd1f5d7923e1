"""Running SQL files again and again: their text is parsed once."""

from __future__ import annotations

from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Final

import duckdb

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXTS: Final = 256
"""Files, and statements made of them, that are remembered."""

_PARSER: Final = Lock()


def run(con: duckdb.DuckDBPyConnection, text: str) -> None:
    """Run statements, of which none takes parameters or gives rows.

    Args:
        con: Connection to run them in.
        text: The statements; there should be few different texts in a process.
    """
    for statement in _parsed(text):
        con.execute(statement)


@lru_cache(_TEXTS)
def _parsed(text: str) -> Sequence[duckdb.Statement]:
    with _PARSER, duckdb.connect() as con:
        return tuple(con.extract_statements(text))
