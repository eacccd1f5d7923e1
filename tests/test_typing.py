"""Type hints survive decoration, for both type checkers people use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
API = "tests/typing_api.py"


def test_mypy() -> None:
    """Mypy sees the types that `typing_api.py` says, and the mistakes it makes on purpose."""
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", API],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert [line for line in run.stdout.splitlines() if line.startswith(API)] == []


def test_pyright() -> None:
    """So does pyright."""
    run = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, API],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    found = json.loads(run.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    assert [each["message"] for each in found["generalDiagnostics"]] == []
