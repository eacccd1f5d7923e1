"""Golden files: tables a domain reader can judge, compared as text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FOLDER = Path(__file__).resolve().parent / "golden"
UPDATE = "TRACEKIT_UPDATE_GOLDENS"


def tsv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as tab-separated text with a header, one row per line, sorted."""
    lines = sorted("\t".join(str(value) for value in row) for row in rows)
    return "\n".join(["\t".join(header), *lines, ""])


def check(name: str, text: str) -> None:
    """Compare text with a golden file; with TRACEKIT_UPDATE_GOLDENS=1 write it instead."""
    path = FOLDER / name
    if os.environ.get(UPDATE):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; {UPDATE}=1 writes it anew"
