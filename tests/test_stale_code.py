"""Compiled code is used only while all sources it was made of are as they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tracekit.otlp.stale import forget_stale_code

if TYPE_CHECKING:
    from pathlib import Path


def test_code_older_than_any_source_is_forgotten(tmp_path: Path) -> None:
    """A changed helper module makes what was inlined from it stale, and nothing else is touched."""
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for name, moment in (("kernel.py", 10), ("wire.py", 30)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (moment, moment))
    for name, moment in (("kernel.scan-1.py311.nbi", 20), ("wire.sip-1.py311.nbi", 40)):
        (cache / name).touch()
        os.utime(cache / name, (moment, moment))
    assert forget_stale_code(tmp_path) == 1
    assert [path.name for path in cache.iterdir()] == ["wire.sip-1.py311.nbi"]
    assert forget_stale_code(tmp_path) == 0


def test_a_folder_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    """A missing folder is no error: there is nothing to forget."""
    assert forget_stale_code(tmp_path / "absent") == 0
