"""The collector's process killed under load: nothing acknowledged is lost or decided otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from killing import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_killed_under_load_it_loses_nothing(tmp_path: Path) -> None:
    """Twice in a row; `make kill-test KILLS=20` does it more often."""
    report = run(tmp_path, kills=2, seed=7)
    assert report.is_clean, str(report)
    assert report.sessions > 10
    assert report.kept > 10
